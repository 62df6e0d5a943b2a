"""Fetching a file from the web: gone on with where it stopped, checked, and told in words.

``pooch`` looks after the file's name and its checksum. The bytes come through ``ResumingDownloader``, because a data set of
tens of gigabytes does not arrive in one piece: what has come is beside the target as ``<name>.part``, and
``<name>.part.json`` remembers which version of the file that is, so that the rest of another version is never appended to it
(``If-Range``, RFC 9110, section 13.1.5).
"""

import hashlib
import logging
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import pooch
import requests

from glioflow.console import Console, UserError, clock
from glioflow.disk import amount, disk_full_told, require_space
from glioflow.files import read_json, write_json

CHUNK_BYTES = 1 << 16  # what a broken connection can lose of the bytes already sent
PASSING_STATUS = (408, 425, 429, 500, 502, 503, 504)  # answers of a server that may answer otherwise a little later
LONGEST_PAUSE_S = 120.0
HEADERS = {"User-Agent": "glioflow", "Accept-Encoding": "identity"}  # identity: the sizes told are those of the file


@dataclass(frozen=True)
class Patience:
    """How long a download waits and how often it tries again."""

    attempts: int = 6  # in a row, none of which brought a further byte
    connect_s: float = 20.0
    stall_s: float = 60.0  # without a byte
    pause_s: float = 2.0  # before the second attempt; doubled before each further one
    say_every_s: float = 10.0


PATIENCE = Patience()


def download(
    url: str,
    target: Path,
    console: Console,
    checksum: str | None = None,
    size: int | None = None,
    advice: str = "",
    patience: Patience = PATIENCE,
) -> None:
    """Fetch ``url`` into the file ``target``; at once where it is there already with that checksum.

    ``checksum`` is ``sha256:…`` or ``md5:…``, ``size`` the bytes to come as far as they are known before the server tells.
    ``advice`` ends the message where no further attempt can help. Raises UserError.
    """
    pooch.get_logger().setLevel(logging.WARNING)
    target.parent.mkdir(parents=True, exist_ok=True)
    downloader = ResumingDownloader(target, console, advice, patience)
    require_space(target.parent, (size or 0) - downloader.received(), url)
    try:
        with disk_full_told(target.parent, url):
            pooch.retrieve(url, checksum, fname=target.name, path=target.parent, downloader=downloader)
    except ValueError as error:  # pooch's way to say that the checksum is another
        if not downloader.finished:
            raise
        raise UserError(
            f"{url}: {str(error).split('. ')[0]}. It was deleted, and the next run fetches it again. If it comes out the same, "
            f"the file has changed at its source: compare with its publisher's checksum.{advice}"
        ) from None
    finally:
        if downloader.finished:
            downloader.forget()


class ResumingDownloader:
    """A downloader for ``pooch`` that goes on where an earlier attempt, or an earlier process, stopped."""

    def __init__(self, target: Path, console: Console, advice: str = "", patience: Patience = PATIENCE) -> None:
        self.part = target.with_name(f"{target.name}.part")
        self.notes = target.with_name(f"{target.name}.part.json")
        self.name = target.name
        self.console = console
        self.advice = advice
        self.patience = patience
        self.finished = False

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        """Fetch ``url`` and leave it as ``output_file``. Raises UserError when no further attempt can help."""
        failures, best = 0, self.received()
        while not self.finished:
            pause = None
            try:
                self.finished = self._attempt(url)
            except (requests.RequestException, _ChangedError) as error:
                if isinstance(error, ValueError):  # requests' way to refuse an address
                    raise UserError(f"{url}: not an address that can be fetched ({error}).{self.advice}") from None
                have = self.received()
                failures = 1 if have > best else failures + 1
                best = max(best, have)
                if failures >= self.patience.attempts:
                    raise UserError(self._gave_up(url, error)) from None
                pause = _pause(error, self.patience.pause_s * 2 ** (failures - 1))
                again = f"goes on after {amount(have)}" if have else "starts over"
                self.console.say(f"{self.name}: {_why(error)}; {again} in {pause:.0f} s")
                time.sleep(pause)
        self._hand_over(Path(output_file))

    def received(self) -> int:
        """Return how many bytes of the file are in the part."""
        return self.part.stat().st_size if self.part.exists() else 0

    def forget(self) -> None:
        """Delete what has come so far."""
        self.part.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)

    def _attempt(self, url: str) -> bool:
        """Ask for what is missing and add what comes to the part. Returns whether the file is complete."""
        known = self._known(url)
        have = self.received() if known else 0
        if known and known["size"] == have:
            return True
        headers = dict(HEADERS)
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": known["validator"]}
        timeout = (self.patience.connect_s, self.patience.stall_s)
        with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
            self._check_answer(url, response)
            size = self._size(response, have)
            if response.status_code != 206:
                have = 0
                self.forget()
                if validator := _validator(response):
                    write_json(self.notes, {"url": url, "validator": validator, "size": size})
            elif known["size"] not in (None, size):
                self.forget()
                raise _ChangedError(f"the file at its source has changed, from {known['size']} to {size} bytes")
            if size is not None:
                require_space(self.part.parent, size - have, url)
            with open(self.part, "ab" if have else "wb") as stream:
                self._receive(response, stream, have, size)
        if size is not None and self.received() != size:
            raise requests.ConnectionError(f"the connection ended after {self.received()} of {size} bytes")
        return True

    def _known(self, url: str) -> dict[str, Any]:
        """Return what is known of the version that the part belongs to; nothing where it cannot be gone on with."""
        if not (self.part.exists() and self.notes.exists()):
            return {}
        notes: dict[str, Any] = read_json(self.notes)
        return notes if notes["url"] == url else {}

    def _check_answer(self, url: str, response: requests.Response) -> None:
        """Raise UserError where the answer is final, HTTPError where a later one may be better."""
        status, said = response.status_code, f"{response.status_code} {response.reason}"
        if status in PASSING_STATUS:
            raise requests.HTTPError(f"the server answered {said}", response=response)
        if status == 416:
            self.forget()
            raise _ChangedError("the file at its source has become shorter")
        if status in (401, 403):
            raise UserError(f"{url}: the server refuses it ({said}); it may ask for registration first.{self.advice}")
        if status in (404, 410):
            raise UserError(f"{url}: there is no such file (any more) ({said}).{self.advice}")
        if status not in (200, 206):
            raise UserError(f"{url}: the server answered {said}.{self.advice}")
        if response.headers.get("Content-Type", "").startswith("text/html") and not self.name.endswith((".html", ".htm")):
            raise UserError(
                f"{url}: the server sent a web page instead of {self.name}; it may ask for registration first.{self.advice}"
            )

    def _size(self, response: requests.Response, have: int) -> int | None:
        """Return the size of the whole file in bytes, as the answer tells it. Raises where it holds another part than asked."""
        if response.status_code != 206:
            length = response.headers.get("Content-Length")
            return int(length) if length else None
        told = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if told is None or int(told[1]) != have:
            self.forget()
            raise _ChangedError(f"the server sent {response.headers.get('Content-Range')!r} for the bytes from {have} on")
        return int(told[2])

    def _receive(self, response: requests.Response, stream: IO[bytes], have: int, size: int | None) -> None:
        """Write the answer's bytes after those that the part has, saying from time to time how far it is."""
        start = last = time.monotonic()
        done = have
        for chunk in response.iter_content(CHUNK_BYTES):
            stream.write(chunk)
            done += len(chunk)
            now = time.monotonic()
            if now - last >= self.patience.say_every_s:
                last = now
                rate = (done - have) / (now - start)
                share = f"{100 * done // size} % of {amount(size)}" if size else amount(done)
                left = f", {clock((size - done) / rate)} left" if size and rate else ""
                self.console.say(f"{self.name}: {share}, {rate / 1e6:.1f} MB/s{left}")

    def _hand_over(self, output: Path) -> None:
        """Give pooch the file under its name, keeping the part until the checksum is found to be right."""
        output.unlink(missing_ok=True)
        try:
            os.link(self.part, output)
        except OSError:  # a file system without hard links
            os.replace(self.part, output)

    def _gave_up(self, url: str, error: Exception) -> str:
        have, host = self.received(), urlsplit(url).hostname
        if isinstance(error, requests.ConnectionError) and not have:
            return (
                f"{host} could not be reached in {self.patience.attempts} attempts ({_why(error)}). A cluster's compute nodes "
                f"often have no network: run this step where there is one; behind a proxy, set $HTTPS_PROXY.{self.advice}"
            )
        kept = f"; {amount(have)} are kept in {self.part}, and the next run goes on there" if have else ""
        return f"{url}: {self.patience.attempts} attempts in a row brought nothing ({_why(error)}){kept}.{self.advice}"


class _ChangedError(Exception):
    """What the server has is not what the part is a part of."""


def _validator(response: requests.Response) -> str | None:
    """Return what tells this version of the file from others: its strong ETag, or the time of its last change."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _pause(error: Exception, pause_s: float) -> float:
    """Return how many seconds to wait before the next attempt: what the server asks for, or ``pause_s``."""
    response = getattr(error, "response", None)
    asked = response.headers.get("Retry-After", "") if response is not None else ""
    return min(float(asked) if asked.isdigit() else pause_s, LONGEST_PAUSE_S)


def _why(error: BaseException) -> str:
    """Return the innermost reason of a network error."""
    while error.args and isinstance(error.args[-1], BaseException):
        error = error.args[-1]
    reason = getattr(error, "reason", None)
    return _why(reason) if isinstance(reason, BaseException) else str(error) or type(error).__name__


def checksums(path: Path) -> dict[str, str]:
    """Return the SHA-256 and the MD5 of a file, in hexadecimal, read once."""
    found = {"sha256": hashlib.sha256(), "md5": hashlib.md5(usedforsecurity=False)}
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            for digest in found.values():
                digest.update(block)
    return {name: digest.hexdigest() for name, digest in found.items()}
