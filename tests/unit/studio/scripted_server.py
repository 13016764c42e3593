"""An HTTP server that answers each request with the next reply of a script, and remembers what was asked.

For what a client must survive on the wire; what the API means is tested against the real gateway.
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Reply:
    """`cut`: the connection breaks off where the body would go on, after `silent_s` seconds of silence."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    silent_s: float = 0.0


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


def answer(value: Any, status: int = 200) -> Reply:
    return Reply(json.dumps(value).encode(), status, {"Content-Type": "application/json"})


def problem(
    status: int, name: str, detail: str = "", *, headers: Mapping[str, str] | None = None, **more: Any
) -> Reply:
    document = {
        "type": f"urn:agentops-studio:problem:{name}",
        "title": name,
        "status": status,
        "detail": detail,
    }
    body = json.dumps(document | more).encode()
    return Reply(body, status, {"Content-Type": "application/problem+json", **(headers or {})})


def stream(*frames: str, cut: bool = False, silent_s: float = 0.0) -> Reply:
    headers = {"Content-Type": "text/event-stream; charset=utf-8"}
    return Reply("".join(frames).encode(), 200, headers, cut, silent_s)


class ScriptedServer:
    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.asked: list[Asked] = []
        self._released = threading.Event()
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                script.serve(self)

            def do_POST(self) -> None:
                script.serve(self)

            def do_PUT(self) -> None:
                script.serve(self)

            def do_DELETE(self) -> None:
                script.serve(self)

            def log_message(self, *_: object) -> None:
                """Nothing is written to stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        size = int(handler.headers.get("Content-Length") or 0)
        body = _parsed(handler.rfile.read(size), handler.headers["Content-Type"]) if size else None
        self.asked.append(Asked(handler.command, handler.path, dict(handler.headers.items()), body))
        reply = self.replies.pop(0) if self.replies else problem(404, "not-found", "the script is over")
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(reply.body) + (1 if reply.cut else 0)))
        handler.end_headers()
        handler.wfile.write(reply.body)
        self._released.wait(reply.silent_s)
        handler.close_connection = reply.cut

    def let_go(self) -> None:
        """End every silence."""
        self._released.set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()


def _parsed(body: bytes, media_type: str) -> Any:
    if media_type == "application/x-ndjson":
        return [json.loads(line) for line in body.splitlines()]
    return json.loads(body)
