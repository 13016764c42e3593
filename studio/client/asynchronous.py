"""The client for asyncio: the same methods as in `sync.py`, awaited."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from functools import partial
from types import TracebackType
from typing import Self, TypeVar, Unpack

import httpx
from pydantic import JsonValue

from shared.steps import Step
from studio.client import calls
from studio.client.address import find_address
from studio.client.calls import WAIT_S, Call, Result
from studio.client.decisions import approval, denial
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
from studio.client.models import (
    Accepted,
    Agent,
    AgentDiff,
    AgentSummary,
    Batch,
    BatchCancelled,
    BatchLine,
    ChatReply,
    Group,
    GroupCancelled,
    ModelList,
    Page,
    Run,
    RunSummary,
    Session,
    Tool,
    WaitingCall,
    WaitingRun,
)
from studio.client.options import ChatOptions, RunFilters, RunOptions
from studio.client.retries import USUAL, RetryPolicy, Tries

Item = TypeVar("Item")


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
        async for run in self._pages(partial(calls.list_runs, filters), limit):
            yield run

    async def cancel(self, run_id: str, why: str = "") -> Accepted:
        """Ask for the end of a run; it ends a moment later. Raises Conflict when it has ended."""
        return await self._send(calls.cancel_run(run_id, why))

    async def waiting(self, *, limit: int | None = None) -> AsyncGenerator[WaitingRun, None]:
        """The runs that wait for a person, newest first; at most `limit`."""
        async for item in self._pages(calls.list_waiting, limit):
            yield item

    async def approve(
        self, run_id: str, call: WaitingCall, *, arguments: Mapping[str, JsonValue] | None = None
    ) -> Accepted:
        """Allow a call that waits, with these arguments instead if they are given.

        Raises Conflict when it has been decided about.
        """
        return await self._send(calls.decide(run_id, call.call_id, approval(call, arguments)))

    async def deny(self, run_id: str, call: WaitingCall, note: str = "") -> Accepted:
        """Refuse a call that waits; the model is told, with the note."""
        return await self._send(calls.decide(run_id, call.call_id, denial(call, note)))

    async def settle(self, run_id: str, call_id: str, decision: str, result: JsonValue = None) -> Accepted:
        """Say what became of a call whose outcome is unknown: happened, did-not-happen or fail."""
        return await self._send(calls.settle(run_id, call_id, {"decision": decision, "result": result}))

    async def retry(self, run_id: str, why: str = "") -> Accepted:
        """Let a run that failed or was cancelled go on from its last good step."""
        return await self._send(calls.retry_run(run_id, why))

    async def delete(self, run_id: str) -> None:
        """Erase a finished run's content everywhere. Raises Conflict while it runs."""
        await self._send(calls.delete_run(run_id))

    async def chat(self, message: str, **options: Unpack[ChatOptions]) -> ChatReply:
        """One message to the assistant. Raises RunFailed or StillRunning, which name the run."""
        return await self._send(calls.chat(message, options))

    async def agents(
        self, *, archived: bool = False, limit: int | None = None
    ) -> AsyncGenerator[AgentSummary, None]:
        """The newest version of each agent, those created last first; at most `limit`."""
        async for item in self._pages(partial(calls.list_agents, archived), limit):
            yield item

    async def agent(self, name: str, version: int | None = None) -> Agent:
        """A version of an agent, the newest one by default."""
        return await self._send(calls.get_agent(name, version))

    async def create_agent(
        self, definition: Mapping[str, JsonValue], *, idempotency_key: str | None = None
    ) -> Agent:
        """An agent of the name that the definition gives. Raises Conflict when there is one."""
        return await self._send(calls.create_agent(definition, idempotency_key))

    async def update_agent(
        self, name: str, definition: Mapping[str, JsonValue], *, version: int | None = None
    ) -> Agent:
        """A new version that says this and nothing else.

        Raises Conflict when `version` is not the newest any more; without it, whichever is newest is changed.
        """
        return await self._send(calls.update_agent(name, definition, version))

    async def archive_agent(self, name: str) -> None:
        """No run may name it any more; its versions stay. Raises Conflict while other agents name it."""
        await self._send(calls.archive_agent(name))

    async def diff_agent(self, name: str, old: int, new: int) -> AgentDiff:
        """What differs between two versions."""
        return await self._send(calls.diff_agent(name, old, new))

    async def groups(self, *, limit: int | None = None) -> AsyncGenerator[Group, None]:
        """The labels of runs with what their runs add up to, the one used last first; at most `limit`."""
        async for item in self._pages(calls.list_groups, limit):
            yield item

    async def group(self, group: str) -> Group:
        """What the runs of a label add up to."""
        return await self._send(calls.get_group(group))

    async def cancel_group(self, group: str, why: str = "") -> GroupCancelled:
        """Ask for the end of a group's unfinished runs; while some are `left`, call it again."""
        return await self._send(calls.cancel_group(group, why))

    async def create_batch(
        self,
        runs: Iterable[Mapping[str, JsonValue]],
        *,
        name: str | None = None,
        **defaults: Unpack[RunOptions],
    ) -> tuple[BatchLine, ...]:
        """Start many runs, up to 10,000, each given as the fields of `POST /api/runs`; `defaults` hold where
        one does not say otherwise. Each is answered, in the same order, with its id or why it was refused.

        With the same `idempotency_key` again, it is the same batch.
        """
        return await self._send(calls.create_batch(runs, name, defaults))

    async def batch(self, batch_id: str) -> Batch:
        """How far a batch is."""
        return await self._send(calls.get_batch(batch_id))

    async def batches(self, *, limit: int | None = None) -> AsyncGenerator[Batch, None]:
        """The batches, newest first; at most `limit`."""
        async for item in self._pages(calls.list_batches, limit):
            yield item

    async def cancel_batch(self, batch_id: str) -> BatchCancelled:
        """Ask for the end of a batch's unfinished runs; to ask again asks those that are left."""
        return await self._send(calls.cancel_batch(batch_id))

    async def sessions(self, *, limit: int | None = None) -> AsyncGenerator[Session, None]:
        """The sessions with what their runs add up to, the one used last first; at most `limit`."""
        async for item in self._pages(calls.list_sessions, limit):
            yield item

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

    async def _pages(
        self, call: Callable[[int, str | None], Call[Page[Item]]], limit: int | None
    ) -> AsyncGenerator[Item, None]:
        left, cursor = sys.maxsize if limit is None else limit, None
        while left > 0:
            page = await self._send(call(left, cursor))
            for item in page.items[:left]:
                yield item
            cursor = page.next_cursor
            left = left - len(page.items) if cursor else 0

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
