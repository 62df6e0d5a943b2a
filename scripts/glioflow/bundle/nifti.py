"""NIfTI files without their free text: what scanners and programs write there may name a patient.

Cleared are ``descrip``, ``aux_file``, ``intent_name``, ``db_name``, ``data_type`` and every extension (nifti1.h, nifti2.h);
voxels and geometry stay as they are, byte for byte.
"""

import gzip
import shutil
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import IO, cast

from glioflow.console import UserError
from glioflow.files import replacing

# Size of the header: fields (begin, length) of free text, and where vox_offset is, with its struct code.
FREE_TEXT = {
    348: (((4, 10), (14, 18), (148, 80), (228, 24), (328, 16)), 108, "f"),
    540: (((240, 80), (320, 24), (508, 16)), 168, "q"),
}
NO_EXTENSION = bytes(4)
BLOCK_BYTES = 1 << 20


def clean_copy(source: Path, target: Path) -> None:
    """Write the NIfTI file ``source`` as ``target``, without free text. The same voxels and geometry give the same bytes.

    Raises UserError where it is no NIfTI file of one part.
    """
    packed = source.name.endswith(".gz")
    with ExitStack() as open_, replacing(target) as temporary:
        read = cast(IO[bytes], open_.enter_context(gzip.GzipFile(source, "rb") if packed else source.open("rb")))
        header, offset = clean_header(source, read)
        written = open_.enter_context(temporary.open("wb"))
        if packed:  # gzip would keep the file's name and the time
            written = cast(IO[bytes], open_.enter_context(gzip.GzipFile("", "wb", 6, written, mtime=0)))  # type: ignore[assignment]
        written.write(header)
        read.seek(offset)
        shutil.copyfileobj(read, written, BLOCK_BYTES)


def clean_header(source: Path, stream: IO[bytes]) -> tuple[bytes, int]:
    """Return the header of a NIfTI file without free text, and where its voxels begin."""
    start = stream.read(4)
    order, size = next(((o, s) for o in "<>" for s in FREE_TEXT if start == struct.pack(f"{o}i", s)), ("", 0))
    if not size:
        raise UserError(f"{source}: is no NIfTI file, and may not go into a bundle")
    header = bytearray(start + stream.read(size - 4))
    magic = bytes(header[344:347] if size == 348 else header[4:7])
    if len(header) != size or magic not in (b"n+1", b"n+2"):
        raise UserError(f"{source}: is no NIfTI file of one part (.nii or .nii.gz), and may not go into a bundle")
    fields, place, code = FREE_TEXT[size]
    for begin, length in fields:
        header[begin : begin + length] = bytes(length)
    (offset,) = struct.unpack_from(f"{order}{code}", header, place)
    struct.pack_into(f"{order}{code}", header, place, size + len(NO_EXTENSION))
    return bytes(header) + NO_EXTENSION, int(offset)
