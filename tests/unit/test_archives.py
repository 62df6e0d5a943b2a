"""Archives as they are meant to be, and as nobody should unpack them."""

import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from glioflow import archives
from glioflow.archives import building, is_archive, unpack
from glioflow.console import Console, UserError

LIMIT = 10_000_000
FILES = {"case_1/case_1_t1.nii.gz": b"one", "case_1/case_1_seg.nii.gz": b"two", "read me.txt": b""}


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return Console(tmp_path / "log.txt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    return folder


def write_zip(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in members:
            opened.writestr(name, data, zipfile.ZIP_DEFLATED)
    return path


def write_tar(path: Path, *members: tuple[str | tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as opened:
        for member, data in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            if info.isreg():
                info.size = len(data)
            opened.addfile(info, io.BytesIO(data))
    return path


def write(path: Path, *members: tuple[str, bytes]) -> Path:
    return write_zip(path, *members) if path.suffix == ".zip" else write_tar(path, *members)


def found(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


KINDS = ["a.zip", "a.tar", "a.tar.gz", "a.TGZ"]


@pytest.mark.parametrize("name", KINDS)
def test_every_file_comes_out_as_it_went_in(tmp_path: Path, folder: Path, console: Console, name: str) -> None:
    assert is_archive(name)
    archive = write(tmp_path / name, *FILES.items())
    assert unpack(archive, folder, LIMIT, console) == 3
    assert found(folder) == FILES


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_what_macos_adds_is_left_out(tmp_path: Path, folder: Path, console: Console, name: str) -> None:
    junk = ("__MACOSX/case_1/._x.nii", "case_1/._case_1_t1.nii.gz", ".DS_Store")
    archive = write(tmp_path / name, *[(path, b"junk") for path in junk], *FILES.items())
    assert unpack(archive, folder, LIMIT, console) == 3
    assert found(folder) == FILES


def test_empty_folders_and_dots_are_no_trouble(tmp_path: Path, folder: Path, console: Console) -> None:
    sub = tarfile.TarInfo("./empty")
    sub.type = tarfile.DIRTYPE
    archive = write_tar(tmp_path / "a.tar", (sub, b""), ("./x", b"1"))
    assert unpack(archive, folder, LIMIT, console) == 1
    assert (folder / "empty").is_dir()


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
@pytest.mark.parametrize("member", ["/etc/evil", "../evil", "case/../../evil", "..\\evil", "C:\\evil"])
def test_a_member_outside_the_folder_is_refused(tmp_path: Path, folder: Path, console: Console, name: str, member: str) -> None:
    archive = write(tmp_path / name, ("good", b"1"), (member, b"2"))
    with pytest.raises(UserError, match="would land outside") as caught:
        unpack(archive, folder, LIMIT, console)
    assert str(archive) in str(caught.value)
    assert "evil" in str(caught.value)
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_link_or_device_in_a_tar_is_refused(tmp_path: Path, folder: Path, console: Console, kind: bytes) -> None:
    info = tarfile.TarInfo("odd")
    info.type, info.linkname = kind, "/etc/passwd"
    archive = write_tar(tmp_path / "a.tar", (info, b""))
    with pytest.raises(UserError, match=r"a.tar: odd: it is a link or a device"):
        unpack(archive, folder, LIMIT, console)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_a_link_or_device_in_a_zip_is_refused(tmp_path: Path, folder: Path, console: Console, kind: int) -> None:
    info = zipfile.ZipInfo("odd")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    archive = write_zip(tmp_path / "a.zip", (info, b"/etc/passwd"))
    with pytest.raises(UserError, match=r"a.zip: odd: it is a link or a device"):
        unpack(archive, folder, LIMIT, console)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_more_than_the_archive_may_hold_is_refused_while_it_is_written(
    tmp_path: Path, folder: Path, console: Console, name: str
) -> None:
    archive = write(tmp_path / name, ("a", os.urandom(3_000_000)), ("b", os.urandom(3_000_000)))
    with pytest.raises(UserError, match=f"{name}: b: the archive unpacks to more than the 5000000 bytes"):
        unpack(archive, folder, 5_000_000, console)
    assert sum(map(len, found(folder).values())) <= 5_000_000


def test_a_zip_that_understates_its_size_is_refused(tmp_path: Path, folder: Path, console: Console) -> None:
    archive = write_zip(tmp_path / "a.zip", ("a", b"\0" * 2_000_000))
    told = archive.read_bytes().replace((2_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    archive.write_bytes(told)
    with pytest.raises(UserError, match=r"a\.zip: a: "):
        unpack(archive, folder, 1_000_000, console)
    assert sum(map(len, found(folder).values())) <= 1_000_000


def test_a_bomb_is_refused_long_before_the_limit(
    tmp_path: Path, folder: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 1_000_000)
    archive = write_zip(tmp_path / "a.zip", ("a", b"\0" * 20_000_000))  # shrinks by about 1000:1
    with pytest.raises(UserError, match=r"a.zip: a: the archive unpacks to more than 500 times its own size"):
        unpack(archive, folder, 10**11, console)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
@pytest.mark.parametrize("second", ["x/a", "x/./a", "x/a/b"])
def test_a_name_that_comes_twice_is_refused(tmp_path: Path, folder: Path, console: Console, name: str, second: str) -> None:
    archive = write(tmp_path / name, ("x/a", b"first"), (second, b"second"))
    with pytest.raises(UserError, match=f"{name}: {second}: another member has this name already"):
        unpack(archive, folder, LIMIT, console)
    assert (folder / "x" / "a").read_bytes() == b"first"


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_a_truncated_archive_is_told(tmp_path: Path, folder: Path, console: Console, name: str) -> None:
    archive = write(tmp_path / name, ("a", os.urandom(100_000)), ("b", os.urandom(100_000)))
    archive.write_bytes(archive.read_bytes()[:150_000])
    with pytest.raises(UserError, match=f"{name}: .*cannot be read"):
        unpack(archive, folder, LIMIT, console)


def test_a_flipped_bit_is_told(tmp_path: Path, folder: Path, console: Console) -> None:
    archive = write_zip(tmp_path / "a.zip", ("a", os.urandom(100_000)))
    data = bytearray(archive.read_bytes())
    data[50_000] ^= 1
    archive.write_bytes(data)
    with pytest.raises(UserError, match=r"a.zip: a: it cannot be read"):
        unpack(archive, folder, LIMIT, console)


def test_an_encrypted_member_is_told(tmp_path: Path, folder: Path, console: Console) -> None:
    archive = write_zip(tmp_path / "a.zip", ("a", b"secret"))
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1  # bit 0 of the flags in the central directory (APPNOTE 4.4.4)
    archive.write_bytes(data)
    with pytest.raises(UserError, match=r"a.zip: a: it is encrypted"):
        unpack(archive, folder, LIMIT, console)


def test_something_else_under_an_archives_name_is_told(tmp_path: Path, folder: Path, console: Console) -> None:
    for name in KINDS:
        (tmp_path / name).write_bytes(b"<html>not an archive</html>" * 100)
        with pytest.raises(UserError, match=f"{name}: its list of members: it cannot be"):
            unpack(tmp_path / name, folder, LIMIT, console)


def test_a_built_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "data"
    target.mkdir()
    with pytest.raises(RuntimeError), building(target) as folder:
        (folder / "half").write_text("")
        raise RuntimeError
    assert list(tmp_path.rglob("*")) == [target]
    (tmp_path / ".data.unpacking").mkdir()
    (tmp_path / ".data.unpacking" / "of a killed process").write_text("")
    with building(target) as folder:
        (folder / "whole").write_text("")
        assert list(target.iterdir()) == []
    assert sorted(tmp_path.rglob("*")) == [target, target / "whole"]
