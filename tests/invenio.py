"""A local server that answers as InvenioRDM's API documents: drafts, files in three steps, reserved DOIs, publishing.

inveniordm.docs.cern.ch/reference/rest_api_drafts_records (read 2026-11). It keeps every request's path, and can cut
an upload off.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Server:
    """What the server holds, and what it was asked."""

    def __init__(self) -> None:
        self.token = "a-very-secret-token"
        self.drafts: dict[str, dict[str, Any]] = {}
        self.files: dict[str, dict[str, dict[str, Any]]] = {}
        self.asked: list[str] = []
        self.cut_off = 0  # uploads to cut off
        self.spoil = False  # keep other bytes than those that came
        self.address = ""

    def answer(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
        """Return status and JSON."""
        self.asked.append(f"{method} {path}")
        if headers.get("Authorization") != f"Bearer {self.token}":
            return 403, {"message": f"Permission denied for {headers.get('Authorization')}"}
        path, _, _ = path.partition("?")
        parts = path.removeprefix("/api/").split("/")
        if parts == ["user", "records"]:
            return 200, {"hits": {"hits": list(self.drafts.values())}}
        if parts == ["records"] and method == "POST":
            record = f"rec{len(self.drafts)}"
            self.drafts[record] = {**json.loads(body), "id": record, "is_published": False, "pids": {}}
            self.files[record] = {}
            return 201, self.drafts[record]
        record, rest = parts[1], "/".join(parts[3:])
        draft, files = self.drafts[record], self.files[record]
        if (method, rest) == ("PUT", ""):
            draft |= json.loads(body)
            return 200, draft
        if rest == "pids/doi":
            draft["pids"] = {"doi": {"identifier": f"10.5072/{record}"}}
            return 201, draft
        if rest == "actions/publish":
            draft["is_published"] = True
            return 202, draft
        if rest == "files":
            if method == "POST":
                files |= {entry["key"]: {"key": entry["key"], "status": "pending"} for entry in json.loads(body)}
            return 200, {"entries": list(files.values())}
        name = parts[4]
        if method == "DELETE":
            del files[name]
            return 204, None
        if parts[-1] == "content":
            files[name]["content"] = body + b"!" if self.spoil else body
            return 200, {}
        content = files[name].pop("content")
        files[name] |= {"status": "completed", "checksum": f"md5:{hashlib.md5(content).hexdigest()}", "size": len(content)}
        return 200, files[name]


@contextmanager
def running() -> Iterator[Server]:
    """Yield a server that listens on this machine."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path.endswith("/content") and server.cut_off:
                server.cut_off -= 1
                self.connection.close()
                return
            status, answer = server.answer(self.command, self.path, self.headers, body)
            content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    server.address = f"http://127.0.0.1:{listening.server_port}"
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
