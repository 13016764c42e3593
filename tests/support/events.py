"""Reading server-sent events as a browser would, one at a time."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Sent:
    """One event; a comment has no name and its text as data."""

    name: str | None
    id: str | None
    data: Any


async def parsed(answer: httpx.Response) -> AsyncIterator[Sent]:
    """The events of an open stream, comments too."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line.startswith(":"):
            yield Sent(None, None, line[1:].strip())
        elif line:
            name, _, value = line.partition(": ")
            assert name not in fields, f"{name} twice in one event"
            fields[name] = value
        else:
            if "data" in fields:
                yield Sent(fields.get("event"), fields.get("id"), json.loads(fields["data"]))
            fields = {}


@asynccontextmanager
async def following(
    http: httpx.AsyncClient, run_id: str, *, last_event_id: int | None = None
) -> AsyncIterator[AsyncIterator[Sent]]:
    """The events of a run while the block runs."""
    headers = (
        {"Last-Event-ID": str(last_event_id)} if last_event_id is not None and last_event_id >= 0 else {}
    )
    async with http.stream("GET", f"/api/runs/{run_id}/events", headers=headers) as answer:
        assert answer.status_code == 200, answer.status_code
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield parsed(answer)


async def steps_until_end(events: AsyncIterator[Sent]) -> list[int]:
    """The seqs of the steps, which must carry them as their ids, up to the end of the run."""
    seqs: list[int] = []
    async for event in events:
        if event.name == "step":
            assert event.id == str(event.data["seq"])
            seqs.append(event.data["seq"])
        elif event.name == "end":
            return seqs
    raise AssertionError(f"the stream broke off after {seqs[-3:]}")
