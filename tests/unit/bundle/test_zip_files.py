"""Zips of bundles: the same bytes always, and nothing unpacked of what could do harm."""

import stat
import struct
import zipfile
from pathlib import Path

import pytest

from glioflow.bundle.zip_files import CHECKSUMS, check_entries, checksum_problems, checksum_text, unpack_bundle, write_zip
from glioflow.console import Console, UserError
from glioflow.files import sha256_file


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n" * 500)
    (tmp_path / "b.png").write_bytes(bytes(range(256)))
    found = {"t/a.csv": tmp_path / "a.csv", "b.png": tmp_path / "b.png"}
    (tmp_path / "sums").write_text(checksum_text({name: sha256_file(path) for name, path in found.items()}))
    return {**found, CHECKSUMS: tmp_path / "sums"}


def make(path: Path, *entries: tuple[str, bytes], mode: int = 0, flag: int = 0) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            opened.writestr(info, content)
    if flag:  # in the local header and in the directory
        data = bytearray(path.read_bytes())
        for signature, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
            at = data.index(signature) + place
            struct.pack_into("<H", data, at, flag)
        path.write_bytes(data)
    return path


def test_the_same_files_give_the_same_bytes_whatever_their_times_and_order(files, tmp_path):
    write_zip(tmp_path / "one.zip", files, Console())
    for path in files.values():
        path.touch()
    write_zip(tmp_path / "two.zip", dict(reversed(files.items())), Console())
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as opened:
        assert {info.date_time for info in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert opened.namelist() == sorted(files)


def test_what_was_packed_is_unpacked_and_has_no_problem(files, tmp_path):
    write_zip(tmp_path / "one.zip", files, Console())
    assert checksum_problems(tmp_path / "one.zip", Console()) == []
    unpack_bundle(tmp_path / "one.zip", tmp_path / "out", Console())
    assert (tmp_path / "out/t/a.csv").read_bytes() == files["t/a.csv"].read_bytes()


def test_space_is_asked_for_before_a_byte_is_written(files, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("usage", (), {"free": 100}))
    with pytest.raises(UserError, match=r"the bundle one\.zip: .* are still to come"):
        write_zip(tmp_path / "one.zip", files, Console())
    assert not (tmp_path / "one.zip").exists()


BAD = {
    "climbs": ([("../x", b"")], {}, "outside"),
    "absolute": ([("/etc/x", b"")], {}, "outside"),
    "drive": ([("C:/x", b"")], {}, "outside"),
    "backslash": ([("a\\..\\x", b"")], {}, "outside"),
    "dots": ([("a/./x", b"")], {}, "no plain path"),
    "link": ([("x", b"/etc/passwd")], {"mode": stat.S_IFLNK | 0o777}, "link"),
    "device": ([("x", b"")], {"mode": stat.S_IFCHR | 0o644}, "device"),
    "encrypted": ([("x", b"1")], {"flag": 1}, "encrypted"),
    "case": ([("a/X", b""), ("A/x", b"")], {}, "differs from it in case alone"),
    "below": ([("a", b""), ("a/x", b"")], {}, "is a file, and can hold none"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_could_do_harm_is_refused_before_anything_is_unpacked(kind, tmp_path):
    entries, options, words = BAD[kind]
    path = make(tmp_path / "bad.zip", *entries, **options)
    with pytest.raises(UserError, match=words):
        unpack_bundle(path, tmp_path / "out", Console())
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(tmp_path):
    with pytest.raises(UserError, match="another file has this name already"):
        check_entries(make(tmp_path / "bad.zip", ("a", b"1"), ("a", b"2")))


def test_a_bomb_is_refused_by_what_it_announces(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as opened, opened.open("zeros", "w") as stream:
        for _ in range(300):
            stream.write(bytes(1_000_000))
    with pytest.raises(UserError, match="bytes announce 300000000"):
        check_entries(path)


def test_no_zip_and_a_zip_that_is_no_bundle_are_refused(tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        check_entries(tmp_path / "x.zip")
    (tmp_path / "x.zip").write_text("no zip")
    with pytest.raises(UserError, match="no zip file"):
        check_entries(tmp_path / "x.zip")
    with pytest.raises(UserError, match=f"has no {CHECKSUMS}"):
        checksum_problems(make(tmp_path / "y.zip", ("a", b"")), Console())


def test_missing_and_surplus_files_are_named(tmp_path):
    listed = checksum_text({"gone": "0" * 64}).encode()
    path = make(tmp_path / "x.zip", ("extra", b"1"), (CHECKSUMS, listed))
    assert checksum_problems(path, Console()) == [
        "gone: is listed, and not in the bundle",
        "extra: is in the bundle, and not listed",
    ]
