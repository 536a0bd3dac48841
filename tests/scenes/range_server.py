"""A web server of its own process for files in a folder: GDAL holds Python's lock while it waits for an answer.

A name may be followed by a signature (`?…`). `/stop` drops every connection from then on until `/start`,
`/busy/NAME` answers 503 to two of three requests, `/cut/NAME` breaks off whatever lies beyond the first 64 KiB, and
`/log` gives what was asked for since, as lines of JSON.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """Whole files and ranges of them."""

    protocol_version = "HTTP/1.1"
    folder = Path()
    asked: list[dict[str, Any]] = []  # noqa: RUF012 (of the process)
    turns = itertools.count(1)
    stopped = False

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        """Only the headers."""
        self._answer(body=False)

    def do_GET(self) -> None:
        """A file, or a range of it."""
        if self.path == "/log":
            lines = json.dumps(self.asked).encode()
            self.asked.clear()
            self._send(200, lines, body=True)
        elif self.path in {"/stop", "/start"}:
            Handler.stopped = self.path == "/stop"
            self._send(200, b"", body=True)
        else:
            self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        if self.stopped:
            self.close_connection = True
            return
        file = self.folder / Path(self.path.partition("?")[0]).name
        wanted = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        content = file.read_bytes() if file.is_file() else b""
        first, last = (int(wanted[1]), int(wanted[2] or len(content) - 1)) if wanted else (0, len(content) - 1)
        part = content[first : last + 1]
        self.asked.append({"method": self.command, "path": self.path, "bytes": len(part) if body else 0})
        if not file.is_file():
            self._send(404, b"", body=body)
        elif self.path.startswith("/busy/") and next(self.turns) % 3:
            self._send(503, b"", body=body)
        else:
            headers = {"Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(content)}"} if wanted else {}
            cut = max(2**16 - first, 0) if self.path.startswith("/cut/") else len(part)
            self._send(206 if wanted else 200, part, body=body, most=cut, **headers)

    def _send(self, status: int, content: bytes, *, body: bool, most: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Accept-Ranges": "bytes", "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content[:most])
            self.close_connection = most is not None and most < len(content)


if __name__ == "__main__":
    Handler.folder = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)  # noqa: T201 (where it listens)
    server.serve_forever()
