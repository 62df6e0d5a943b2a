"""Downloads from a server that breaks off, stalls, changes its files and forgets what it was asked."""

import hashlib
import os
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from websites import Page, Site

from glioflow.cohorts.downloads import Patience, checksums, disk_full_told, download
from glioflow.console import Console, UserError

BODY = random.Random(1).randbytes(1_000_000)
SHA = f"sha256:{hashlib.sha256(BODY).hexdigest()}"
MD5 = f"md5:{hashlib.md5(BODY).hexdigest()}"
HASTY = Patience(attempts=3, connect_s=0.5, stall_s=0.3, pause_s=0.01)


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return Console(tmp_path / "log.txt")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "a.zip"


def left_over(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if path != target)


@pytest.mark.parametrize("checksum", [SHA, MD5, None])
def test_a_file_arrives_under_its_name_and_nothing_else_stays(
    site: Site, target: Path, console: Console, checksum: str | None
) -> None:
    site.pages["/a.zip"] = Page(BODY)
    download(site.url("/a.zip"), target, console, checksum, size=len(BODY))
    assert target.read_bytes() == BODY
    assert left_over(target) == []


def test_a_file_that_is_there_is_not_asked_for_again(site: Site, target: Path, console: Console) -> None:
    site.pages["/a.zip"] = Page(BODY)
    for _ in range(2):
        download(site.url("/a.zip"), target, console, SHA)
    assert len(site.hits) == 1


def test_a_broken_download_goes_on_where_it_stopped(site: Site, target: Path, console: Console) -> None:
    site.pages["/a.zip"] = Page(BODY, cuts=[600_000])
    download(site.url("/a.zip"), target, console, SHA, patience=HASTY)
    assert target.read_bytes() == BODY
    first, second = site.hits
    assert first.sent == 600_000
    got = int(second.range.removeprefix("bytes=").removesuffix("-"))
    assert 500_000 < got <= 600_000
    assert second.sent == len(BODY) - got


def test_a_download_that_gets_on_is_tried_more_often_than_one_that_does_not(site: Site, target: Path, console: Console) -> None:
    site.pages["/a.zip"] = Page(BODY, cuts=[150_000] * 5)
    download(site.url("/a.zip"), target, console, SHA, patience=HASTY)
    assert len(site.hits) == 6 > HASTY.attempts
    assert target.read_bytes() == BODY


def test_a_server_that_sends_less_than_the_rest_is_asked_for_what_is_left(site: Site, target: Path, console: Console) -> None:
    site.pages["/a.zip"] = Page(BODY, cuts=[600_000], largest_piece=250_000)
    download(site.url("/a.zip"), target, console, SHA, patience=HASTY)
    assert target.read_bytes() == BODY
    assert [hit.sent for hit in site.hits[1:-1]] == [250_000]


def test_a_server_that_ignores_ranges_sends_all_of_it_again(site: Site, target: Path, console: Console) -> None:
    site.pages["/a.zip"] = Page(BODY, cuts=[600_000], ranges=False)
    download(site.url("/a.zip"), target, console, SHA, patience=HASTY)
    assert target.read_bytes() == BODY
    assert [hit.sent for hit in site.hits] == [600_000, len(BODY)]


def test_a_server_that_ignores_ranges_and_always_breaks_off_is_given_up(site: Site, target: Path, console: Console) -> None:
    site.pages["/a.zip"] = Page(BODY, cuts=[600_000] * 9, ranges=False)
    with pytest.raises(UserError, match="3 attempts in a row brought nothing"):
        download(site.url("/a.zip"), target, console, SHA, patience=HASTY)
    assert not target.exists()


def test_a_file_without_an_etag_or_date_starts_over(site: Site, target: Path, console: Console) -> None:
    site.pages["/a.zip"] = Page(BODY, cuts=[600_000], etag=None)
    download(site.url("/a.zip"), target, console, SHA, patience=HASTY)
    assert [hit.range for hit in site.hits] == [None, None]
    assert target.read_bytes() == BODY


@pytest.mark.parametrize("changed", [BODY[::-1], BODY[:400_000], BODY + b"more"], ids=["same size", "shorter", "longer"])
def test_a_file_that_changed_between_two_runs_starts_over(site: Site, target: Path, console: Console, changed: bytes) -> None:
    site.pages["/a.zip"] = Page(BODY, cuts=[600_000, 0, 0, 0])
    with pytest.raises(UserError):
        download(site.url("/a.zip"), target, console, patience=HASTY)
    site.pages["/a.zip"] = Page(changed, etag='"v2"')
    download(site.url("/a.zip"), target, console, patience=HASTY)
    assert target.read_bytes() == changed


@pytest.mark.parametrize("changed", [BODY[:400_000], BODY[::-1] + b"more"], ids=["shorter", "longer"])
def test_a_size_that_changed_under_the_same_etag_starts_over(
    site: Site, target: Path, console: Console, changed: bytes
) -> None:
    site.pages["/a.zip"] = Page(BODY, cuts=[600_000, 0, 0, 0])
    with pytest.raises(UserError):
        download(site.url("/a.zip"), target, console, patience=HASTY)
    site.pages["/a.zip"] = Page(changed)
    download(site.url("/a.zip"), target, console, patience=HASTY)
    assert target.read_bytes() == changed


def test_what_came_from_another_address_is_not_gone_on_with(site: Site, target: Path, console: Console) -> None:
    site.pages["/a.zip"] = Page(BODY, cuts=[600_000, 0, 0, 0])
    with pytest.raises(UserError):
        download(site.url("/a.zip"), target, console, patience=HASTY)
    site.pages["/b.zip"] = Page(BODY[::-1])
    download(site.url("/b.zip"), target, console, patience=HASTY)
    assert target.read_bytes() == BODY[::-1]


def test_a_wrong_checksum_says_both_and_the_next_run_starts_anew(site: Site, target: Path, console: Console) -> None:
    site.pages["/a.zip"] = Page(BODY[:-1] + b"?")
    found = hashlib.sha256(BODY[:-1] + b"?").hexdigest()
    with pytest.raises(UserError, match=f"expected {SHA} but got {found}"):
        download(site.url("/a.zip"), target, console, SHA)
    assert list(target.parent.iterdir()) == []
    site.pages["/a.zip"] = Page(BODY)
    download(site.url("/a.zip"), target, console, SHA)
    assert target.read_bytes() == BODY
    assert site.hits[-1].range is None


def test_redirects_are_followed_when_going_on_too(site: Site, target: Path, console: Console) -> None:
    site.pages["/a.zip"] = Page(moved_to="/elsewhere")
    site.pages["/elsewhere"] = Page(BODY, cuts=[600_000])
    download(site.url("/a.zip"), target, console, SHA, patience=HASTY)
    assert target.read_bytes() == BODY
    assert [hit.path for hit in site.hits] == ["/a.zip", "/elsewhere"] * 2
    assert site.hits[-1].sent < 500_000


@pytest.mark.parametrize(
    ("status", "said"),
    [(404, "there is no such file"), (410, "there is no such file"), (403, "may ask for registration"), (401, "registration"),
     (400, "the server answered 400")],
)  # fmt: skip
def test_a_final_answer_is_not_asked_for_twice(site: Site, target: Path, console: Console, status: int, said: str) -> None:
    site.pages["/a.zip"] = Page(BODY, statuses=[status])
    with pytest.raises(UserError, match=f"/a.zip.*{said}.* See the page.") as caught:
        download(site.url("/a.zip"), target, console, SHA, advice=" See the page.", patience=HASTY)
    assert str(status) in str(caught.value)
    assert len(site.hits) == 1


def test_a_busy_server_is_asked_again(site: Site, target: Path, console: Console) -> None:
    site.pages["/a.zip"] = Page(BODY, statuses=[503, 429])
    download(site.url("/a.zip"), target, console, SHA, patience=HASTY)
    assert target.read_bytes() == BODY
    assert "the server answered 503" in console.log.read_text()


def test_a_web_page_in_place_of_the_file_is_refused(site: Site, target: Path, console: Console) -> None:
    site.pages["/a.zip"] = Page(b"<html>Sign in</html>", content_type="text/html; charset=utf-8")
    with pytest.raises(UserError, match=r"sent a web page instead of a.zip"):
        download(site.url("/a.zip"), target, console)
    assert not target.exists()


def test_a_server_that_falls_silent_is_left_and_asked_again(site: Site, target: Path, console: Console) -> None:
    site.pages["/a.zip"] = Page(BODY, stall_after=600_000)
    download(site.url("/a.zip"), target, console, SHA, patience=HASTY)
    assert target.read_bytes() == BODY
    assert "timed out" in console.log.read_text()


def test_a_server_that_stays_silent_is_given_up(site: Site, target: Path, console: Console) -> None:
    site.pages["/a.zip"] = Page(BODY, stall_after=0)
    with pytest.raises(UserError, match=r"3 attempts.*timed out"):
        download(site.url("/a.zip"), target, console, SHA, patience=HASTY)
    assert len(site.hits) == 3


def test_a_host_that_is_not_there_is_named(target: Path, console: Console) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/a.zip"
        with pytest.raises(UserError, match=r"127\.0\.0\.1 could not be reached in 3 attempts .*refused.*HTTPS_PROXY"):
            download(url, target, console, patience=HASTY)


def test_an_address_of_no_known_kind_is_refused_at_once(target: Path, console: Console) -> None:
    with pytest.raises(UserError, match="not an address that can be fetched"):
        download("nowhere://x/a.zip", target, console, patience=Patience())


def test_a_file_larger_than_the_disk_is_not_begun(site: Site, target: Path, console: Console) -> None:
    site.pages["/a.zip"] = Page(BODY)
    with pytest.raises(UserError, match=r"still to come, but the disk of .* has"):
        download(site.url("/a.zip"), target, console, SHA, size=10**18)
    assert site.hits == []


def test_a_disk_that_fills_up_is_told_in_words(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    with (
        pytest.raises(UserError, match=r"the disk of .* is full"),
        disk_full_told(tmp_path, "a.zip"),
        open("/dev/full", "wb") as f,
    ):
        f.write(b"x" * 100_000)


def test_progress_tells_share_rate_and_time_left(site: Site, target: Path, console: Console) -> None:
    site.pages["/a.zip"] = Page(BODY)
    download(site.url("/a.zip"), target, console, SHA, patience=Patience(say_every_s=0))
    lines = console.log.read_text().splitlines()
    assert any(line.startswith("a.zip: 52 % of 1.0 MB, ") for line in lines)  # after 8 pieces of 65,536 bytes
    assert all("MB/s, " in line and line.endswith(" left") for line in lines)


def test_a_file_of_untold_size_arrives_too(site: Site, target: Path, console: Console) -> None:
    site.pages["/a.zip"] = Page(BODY, told_length=False)
    download(site.url("/a.zip"), target, console, SHA)
    assert target.read_bytes() == BODY


def test_a_complete_part_of_a_killed_process_is_only_checked(site: Site, target: Path, console: Console) -> None:
    site.pages["/a.zip"] = Page(BODY, cuts=[999_999, 0, 0, 0])
    with pytest.raises(UserError):
        download(site.url("/a.zip"), target, console, patience=HASTY)
    target.with_name("a.zip.part").write_bytes(BODY)
    before = len(site.hits)
    download(site.url("/a.zip"), target, console, SHA)
    assert len(site.hits) == before
    assert target.read_bytes() == BODY


def test_without_hard_links_the_file_arrives_all_the_same(
    site: Site, target: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(os, "link", no_links)
    site.pages["/a.zip"] = Page(BODY)
    download(site.url("/a.zip"), target, console, SHA)
    assert target.read_bytes() == BODY
    assert left_over(target) == []


def test_checksums_are_those_of_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "abc"
    file.write_bytes(b"abc")  # the test vectors of FIPS 180-2 and RFC 1321
    assert checksums(file) == {
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "md5": "900150983cd24fb0d6963f7d28e17f72",
    }
    if tool := shutil.which("sha256sum"):
        assert subprocess.run([tool, file], capture_output=True, text=True).stdout.split()[0] == checksums(file)["sha256"]
