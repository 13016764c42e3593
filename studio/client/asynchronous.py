"""The client for asyncio: the same methods as in `sync.py`, awaited."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Self, Unpack

import httpx
from pydantic import JsonValue

from shared.steps import Step
from studio.client import calls
from studio.client.address import find_address
from studio.client.calls import WAIT_S, Call, Result
from studio.client.errors import StudioError
from studio.client.events import Event
from studio.client.feed import Feed
from studio.client.http import (
    call_arguments,
    client_arguments,
    feed_arguments,
    network_errors,
    no_stream,
    result,
    streams,
)
from studio.client.models import Accepted, ChatReply, ModelList, Run, RunSummary, Tool
from studio.client.options import ChatOptions, RunFilters, RunOptions
from studio.client.retries import USUAL, RetryPolicy, Tries


class AsyncStudio:
    """`async with AsyncStudio() as studio: run = await studio.run("What is 5 + 10?")`.

    Address and key are found as by `Studio`. Every method raises StudioError (see `studio.client.errors`).
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retry: RetryPolicy = USUAL,
    ) -> None:
        self.address = find_address(url, api_key)
        self._timeout_s = timeout_s
        self._retry = retry
        self._http = httpx.AsyncClient(**client_arguments(self.address))

    async def run(self, prompt: str, *, wait_s: float | None = WAIT_S, **options: Unpack[RunOptions]) -> Run:
        """Start a run and return it when it has finished, however it ended: see its `status` and `error`.

        Raises StillRunning after `wait_s` seconds; the run goes on.
        """
        return await self.wait((await self.create(prompt, **options)).run_id, wait_s=wait_s)

    async def run_stream(self, prompt: str, **options: Unpack[RunOptions]) -> AsyncGenerator[Event, None]:
        """Start a run and yield what happens; the first step names the run."""
        accepted = await self.create(prompt, **options)
        async with aclosing(self.stream(accepted.run_id)) as events:
            async for event in events:
                yield event

    async def create(self, prompt: str, **options: Unpack[RunOptions]) -> Accepted:
        """Start a run and return at once."""
        return await self._send(calls.create_run(prompt, options))

    async def wait(self, run_id: str, *, wait_s: float | None = WAIT_S) -> Run:
        """The run when it has finished. Raises StillRunning after `wait_s` seconds."""
        async for _ in self.stream(run_id, wait_s=wait_s):
            pass
        return await self.get(run_id)

    async def stream(
        self, run_id: str, *, after: int = -1, wait_s: float | None = None
    ) -> AsyncGenerator[Event, None]:
        """Each step behind `after` once and in order, live events between them, until the run has ended.

        A connection that breaks is made again, without loss or repeat of a step.
        """
        feed = Feed(run_id, after=after, wait_s=wait_s, policy=self._retry)
        while not feed.ended:
            try:
                async with aclosing(self._connection(feed)) as events:
                    async for event in events:
                        yield event
            except StudioError as error:
                await asyncio.sleep(feed.wait_after(error))

    async def get(self, run_id: str) -> Run:
        """The run with all its steps."""
        run = await self._send(calls.get_run(run_id))
        while run.next_after is not None:
            run = run.with_page(await self._send(calls.get_steps(run_id, run.next_after)))
        return run

    async def steps(self, run_id: str, *, after: int = -1) -> AsyncGenerator[Step, None]:
        """The steps so far, read page by page."""
        position: int | None = after
        while position is not None:
            page = await self._send(calls.get_steps(run_id, position))
            for step in page.items:
                yield step
            position = page.next_after

    async def body(self, run_id: str, sha256: str) -> JsonValue:
        """A value that is too large for its step, where a `BodyRef` stands for it."""
        return await self._send(calls.get_body(run_id, sha256))

    async def list(
        self, *, limit: int | None = None, **filters: Unpack[RunFilters]
    ) -> AsyncGenerator[RunSummary, None]:
        """The runs, newest first, read page by page; at most `limit`."""
        left, cursor = sys.maxsize if limit is None else limit, None
        while left > 0:
            page = await self._send(calls.list_runs(filters, left, cursor))
            for run in page.items[:left]:
                yield run
            cursor = page.next_cursor
            left = left - len(page.items) if cursor else 0

    async def cancel(self, run_id: str, why: str = "") -> Accepted:
        """Ask for the end of a run; it ends a moment later. Raises Conflict when it has ended."""
        return await self._send(calls.cancel_run(run_id, why))

    async def delete(self, run_id: str) -> None:
        """Erase a finished run's content everywhere. Raises Conflict while it runs."""
        await self._send(calls.delete_run(run_id))

    async def chat(self, message: str, **options: Unpack[ChatOptions]) -> ChatReply:
        """One message to the assistant. Raises RunFailed or StillRunning, which name the run."""
        return await self._send(calls.chat(message, options))

    async def tools(self) -> tuple[Tool, ...]:
        """The tools that a run may use."""
        return (await self._send(calls.tools())).items

    async def models(self) -> ModelList:
        """The models that a run may name, and whose they are."""
        return await self._send(calls.models())

    async def close(self) -> None:
        """Close the connections; needless when used as a context manager."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _send(self, call: Call[Result]) -> Result:
        tries = Tries(self._retry)
        while True:
            try:
                with network_errors(self.address):
                    response = await self._http.request(**call_arguments(call, self._timeout_s))
                return result(call, response, repeated=tries.failed > 0)
            except StudioError as error:
                await asyncio.sleep(tries.wait_after(error))

    async def _connection(self, feed: Feed) -> AsyncGenerator[Event, None]:
        with network_errors(self.address):
            async with self._http.stream(**feed_arguments(feed)) as response:
                if not streams(response):
                    raise no_stream(response, await response.aread())
                async for chunk in response.aiter_bytes():
                    for event in feed.take(chunk):
                        yield event
                    if feed.ended:
                        return
        feed.finish()
