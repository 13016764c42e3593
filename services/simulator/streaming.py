"""Putting a completion on the wire: whole as JSON, or as server-sent events at the model's pace.

In: bodies, frames, waiting, dropping the connection. Out: what is said.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.simulator.completions import Choice, Completion
from services.simulator.pace import Pace
from services.simulator.tokens import count_tokens

WORDS_PER_CHUNK = 3
DONE = b"data: [DONE]\n\n"
_PIECE = re.compile(rf"\s*(?:\S+\s*){{1,{WORDS_PER_CHUNK}}}")
_MAX_PIECE = 400


@dataclass(frozen=True)
class Frame:
    """One event and the tokens it carries, which set how long it takes to come."""

    data: bytes
    tokens: int


def completion_body(completion: Completion) -> bytes:
    """The body of a completion that is not streamed."""
    choices = [
        {"index": index, "finish_reason": choice.finish_reason, "message": _message(choice)}
        for index, choice in enumerate(completion.choices)
    ]
    return _encode({**_head(completion, "chat.completion"), "choices": choices, "usage": completion.usage})


def frames(completion: Completion) -> Iterator[Frame]:
    """The events of a streamed completion: role, pieces of text, then calls with the reason to stop;
    the usage is in the last one."""
    head = _head(completion, "chat.completion.chunk")
    last = len(completion.choices) - 1
    for index, choice in enumerate(completion.choices):
        yield _frame(head, index, {"role": "assistant", "content": ""})
        for piece in pieces(choice.text):
            yield _frame(head, index, {"content": piece}, tokens=count_tokens(piece))
        usage = {"usage": completion.usage} if index == last else {}
        yield _final_frame({**head, **usage}, index, choice)


def pieces(text: str) -> list[str]:
    """The text in pieces of a few words; joined they are the text."""
    found = _PIECE.findall(text) or ([text] if text else [])
    return [piece[i : i + _MAX_PIECE] for piece in found for i in range(0, len(piece), _MAX_PIECE)]


def _final_frame(head: Mapping[str, Any], index: int, choice: Choice) -> Frame:
    calls = _tool_calls(choice)
    delta = {"content": "", **({"tool_calls": calls} if calls else {})}
    tokens = choice.tokens - count_tokens(choice.text)
    return _frame(head, index, delta, choice.finish_reason, tokens)


def _frame(
    head: Mapping[str, Any], index: int, delta: Mapping[str, Any], reason: str | None = None, tokens: int = 0
) -> Frame:
    choice = {"index": index, "delta": delta, "finish_reason": reason}
    return Frame(b"data: " + _encode({**head, "choices": [choice]}) + b"\n\n", tokens)


def _head(completion: Completion, kind: str) -> dict[str, Any]:
    return {
        "id": completion.id,
        "object": kind,
        "created": completion.created,
        "model": completion.model,
    }


def _message(choice: Choice) -> dict[str, Any]:
    return {"role": "assistant", "content": choice.text, "tool_calls": _tool_calls(choice) or None}


def _tool_calls(choice: Choice) -> list[dict[str, Any]]:
    return [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
            "index": index,
        }
        for index, call in enumerate(choice.calls)
    ]


def _encode(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


async def paced(completion: Completion, pace: Pace) -> AsyncIterator[bytes]:
    """The events with the waits between them; at no latency all at once."""
    if pace.instant:
        yield b"".join(frame.data for frame in frames(completion)) + DONE
        return
    await asyncio.sleep(pace.first)
    for frame in frames(completion):
        if frame.tokens:
            await asyncio.sleep(pace.per_token * frame.tokens)
        yield frame.data
    yield DONE


async def half(completion: Completion, pace: Pace) -> AsyncIterator[bytes]:
    """The first half of the events: what arrives of a stream that is cut."""
    every = list(frames(completion))
    await asyncio.sleep(pace.first)
    for frame in every[: max(1, len(every) // 2)]:
        await asyncio.sleep(pace.per_token * frame.tokens)
        yield frame.data


async def half_of(body: bytes) -> AsyncIterator[bytes]:
    """The first half of a body that is cut."""
    yield body[: len(body) // 2]


class CutResponse(Response):
    """An answer that stops in the middle: the server closes the connection without ending the body."""

    def __init__(self, parts: AsyncIterator[bytes], media_type: str, length: int | None = None) -> None:
        super().__init__(media_type=media_type)
        self._parts = parts
        del self.headers["content-length"]
        if length is not None:
            self.headers["content-length"] = str(length)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        async for part in self._parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
