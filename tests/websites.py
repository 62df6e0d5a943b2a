"""A web site on 127.0.0.1 for tests of fetching: its files can change, break off, stall and move while a test runs."""

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Page:
    """One file of the site, and what its server does wrong. ``cuts`` and ``statuses`` are used up, one a request."""

    body: bytes = b""
    etag: str | None = '"v1"'
    ranges: bool = True
    told_length: bool = True
    content_type: str = "application/octet-stream"
    moved_to: str | None = None
    statuses: list[int] = field(default_factory=list)
    largest_piece: int | None = None  # of what is asked for by range, the server sends so many bytes at most
    cuts: list[int] = field(default_factory=list)  # bytes sent before the connection is closed
    stall_after: int | None = None  # bytes sent before the server falls silent
    answer: Callable[[dict[str, Any]], tuple[int, dict[str, Any]]] | None = None  # for a service: JSON in, status and JSON out


@dataclass
class Hit:
    """One request that came."""

    path: str
    range: str | None
    sent: int = 0


class Site(ThreadingHTTPServer):
    """The site: ``pages`` by path, ``hits`` as they came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pages: dict[str, Page] = {}
        self.hits: list[Hit] = []
        self.silence = threading.Event()  # set to let stalled answers end
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def close(self) -> None:
        self.silence.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def log_message(self, *args: Any) -> None:
        """Keep the test's output clean."""

    def do_GET(self) -> None:
        hit = Hit(self.path, self.headers.get("Range"))
        self.server.hits.append(hit)
        page = self.server.pages.get(self.path.partition("?")[0])
        if page is None:
            return self.send_error(404)
        if page.answer:
            return self._answer(page, {})
        if page.statuses:
            return self.send_error(page.statuses.pop(0))
        if page.moved_to:
            self.send_response(302)
            self.send_header("Location", page.moved_to)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        return self._send(page, hit)

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        self.server.hits.append(Hit(self.path, None))
        page = self.server.pages.get(self.path.partition("?")[0])
        return self._answer(page, sent) if page else self.send_error(404)

    def _answer(self, page: Page, sent: dict[str, Any]) -> None:
        status, answer = page.answer({**sent, "token": self.headers.get("Authorization", "")})
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send(self, page: Page, hit: Hit) -> None:
        start, end, total = 0, len(page.body), len(page.body)
        asked = re.fullmatch(r"bytes=(\d+)-", hit.range or "")
        if asked and page.ranges and self.headers.get("If-Range") in (None, page.etag):
            start = int(asked[1])
        if start and start >= total:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{total}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            end = min(total, start + (page.largest_piece or total))
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{total}")
        if page.told_length:
            self.send_header("Content-Length", str(end - start))
        if page.etag:
            self.send_header("ETag", page.etag)
        self.send_header("Content-Type", page.content_type)
        self.end_headers()
        rest = page.body[start:end]
        if page.cuts:
            rest = rest[: page.cuts.pop(0)]
        if page.stall_after is not None:
            self._write(rest[: page.stall_after], hit)
            self.server.silence.wait(30)
            rest = rest[page.stall_after :]
        self._write(rest, hit)
        self.close_connection = True
        return None

    def _write(self, data: bytes, hit: Hit) -> None:
        try:
            for at in range(0, len(data), 1 << 16):
                self.wfile.write(data[at : at + (1 << 16)])
                hit.sent += len(data[at : at + (1 << 16)])
            self.wfile.flush()
        except OSError:
            self.close_connection = True


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    """Wait until ``condition()`` holds, or fail."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
