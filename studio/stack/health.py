"""Asking a process over HTTP how it is. Only the loopback address, only short answers, never an exception."""

import http.client
from collections.abc import Mapping
from dataclasses import dataclass

from studio.stack.ports import LOOPBACK

MAX_ANSWER = 4 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """`status` 0 means that nothing answered; `body` then says why."""

    status: int
    body: str

    @property
    def ok(self) -> bool:
        return self.status == 200


def ask(port: int, path: str, timeout: float = 2.0, headers: Mapping[str, str] | None = None) -> Answer:
    """GET http://127.0.0.1:PORT/path."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        return Answer(response.status, response.read(MAX_ANSWER).decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, str(error) or type(error).__name__)
    finally:
        connection.close()
