"""The client for asyncio: the same methods as in `sync.py`, awaited."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack

import httpx

from shared.steps import Step
from studio.client import calls
from studio.client.address import find_address
from studio.client.calls.call import Call, Listing, Result
from studio.client.calls.runs import WAIT_S
from studio.client.errors import StudioError, error_of
from studio.client.events import Event
from studio.client.feed import Feed
from studio.client.files import new_file
from studio.client.following import pauses
from studio.client.http import (
    artifact_arguments,
    bundle_arguments,
    call_arguments,
    client_arguments,
    feed_arguments,
    network_errors,
    no_stream,
    result,
    streams,
)
from studio.client.methods import described
from studio.client.models import Run
from studio.client.options import RunOptions
from studio.client.replay_models import Replay
from studio.client.retries import USUAL, RetryPolicy, Tries

Item = TypeVar("Item")
Given = ParamSpec("Given")


def _method(
    request: Callable[Given, Call[Result]],
) -> "Callable[Concatenate[AsyncStudio, Given], Coroutine[Any, Any, Result]]":
    """Makes the call and returns what it gives."""

    async def method(self: "AsyncStudio", /, *given: Given.args, **named: Given.kwargs) -> Result:
        return await self._send(request(*given, **named))

    return described(method, request)


def _listing(
    request: Callable[Given, Listing[Item]],
) -> "Callable[Concatenate[AsyncStudio, Given], AsyncGenerator[Item, None]]":
    """Reads the list page by page."""

    async def method(
        self: "AsyncStudio", /, *given: Given.args, **named: Given.kwargs
    ) -> AsyncGenerator[Item, None]:
        async for item in self._items(request(*given, **named)):
            yield item

    return described(method, request)


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
        run = await self._send(calls.runs.get_head(run_id))
        while run.next_after is not None:
            run = run.with_page(await self._send(calls.runs.get_steps(run_id, run.next_after)))
        return run

    async def steps(self, run_id: str, *, after: int = -1) -> AsyncGenerator[Step, None]:
        """The steps so far, read page by page."""
        position: int | None = after
        while position is not None:
            page = await self._send(calls.runs.get_steps(run_id, position))
            for step in page.items:
                yield step
            position = page.next_after

    async def save_artifact(
        self, run_id: str, name: str, target: Path | str, *, overwrite: bool = False
    ) -> None:
        """Write a file that a tool of the run made to `target`, piece by piece; see `Run.artifacts`.

        Raises NotSaved when it cannot be written, or there is one already and `overwrite` is not given.
        """
        await self._save(artifact_arguments(run_id, name, self._timeout_s), Path(target), overwrite)

    async def save_bundle(
        self, run_id: str, target: Path | str, *, redact: Sequence[str] = (), overwrite: bool = False
    ) -> None:
        """Write a run that has ended to `target` as a signed file, without the parts that `redact` names:
        metadata, user, session, people, reasoning, artifacts. Raises NotSaved as `save_artifact` does."""
        await self._save(bundle_arguments(run_id, redact, self._timeout_s), Path(target), overwrite)

    async def follow_replay(
        self, replay_id: str, *, wait_s: float | None = None
    ) -> AsyncGenerator[Replay, None]:
        """A replay as it is now, and again and again until it has ended.

        Raises ReplayUnfinished after `wait_s` seconds; the replay goes on.
        """
        for pause_s in pauses(replay_id, wait_s):
            found = await self.replay(replay_id)
            yield found
            if found.has_ended:
                return
            await asyncio.sleep(pause_s)

    async def wait_for_replay(self, replay_id: str, *, wait_s: float | None = WAIT_S) -> Replay:
        """The replay when it has ended. Raises ReplayUnfinished after `wait_s` seconds."""
        async for found in self.follow_replay(replay_id, wait_s=wait_s):  # noqa: B007 - the last one is meant
            pass
        return found

    # Each is described where its request is.
    create = _method(calls.runs.create)
    list = _listing(calls.runs.list_runs)
    body = _method(calls.runs.body)
    cancel = _method(calls.runs.cancel)
    retry = _method(calls.runs.retry)
    delete = _method(calls.runs.delete)
    chat = _method(calls.runs.chat)
    models = _method(calls.runs.models)

    waiting = _listing(calls.waiting.waiting)
    approve = _method(calls.waiting.approve)
    deny = _method(calls.waiting.deny)
    settle = _method(calls.waiting.settle)
    resume = _method(calls.waiting.resume)

    agents = _listing(calls.agents.agents)
    agent = _method(calls.agents.agent)
    create_agent = _method(calls.agents.create_agent)
    update_agent = _method(calls.agents.update_agent)
    archive_agent = _method(calls.agents.archive_agent)
    diff_agent = _method(calls.agents.diff_agent)

    groups = _listing(calls.batches.groups)
    group = _method(calls.batches.group)
    cancel_group = _method(calls.batches.cancel_group)
    create_batch = _method(calls.batches.create_batch)
    batch = _method(calls.batches.batch)
    batches = _listing(calls.batches.batches)
    cancel_batch = _method(calls.batches.cancel_batch)

    create_replay = _method(calls.replays.create_replay)
    replay = _method(calls.replays.replay)
    replays = _listing(calls.replays.replays)
    replay_runs = _listing(calls.replays.replay_runs)
    replay_diff = _method(calls.replays.replay_diff)
    cancel_replay = _method(calls.replays.cancel_replay)
    diff = _method(calls.replays.diff)
    lineage = _method(calls.replays.lineage)

    bundle_key = _method(calls.bundles.bundle_key)
    import_bundle = _method(calls.bundles.import_bundle)

    sessions = _listing(calls.sessions.sessions)
    session = _method(calls.sessions.session)
    session_runs = _listing(calls.sessions.session_runs)
    notes = _method(calls.sessions.notes)
    put_note = _method(calls.sessions.put_note)
    delete_note = _method(calls.sessions.delete_note)

    tools = _method(calls.tools.tools)
    tool = _method(calls.tools.tool)
    create_tool = _method(calls.tools.create_tool)
    update_tool = _method(calls.tools.update_tool)
    delete_tool = _method(calls.tools.delete_tool)
    mcp_servers = _method(calls.tools.mcp_servers)
    mcp_server = _method(calls.tools.mcp_server)
    create_mcp_server = _method(calls.tools.create_mcp_server)
    update_mcp_server = _method(calls.tools.update_mcp_server)
    delete_mcp_server = _method(calls.tools.delete_mcp_server)

    webhooks = _method(calls.webhooks.webhooks)
    webhook = _method(calls.webhooks.webhook)
    create_webhook = _method(calls.webhooks.create_webhook)
    update_webhook = _method(calls.webhooks.update_webhook)
    delete_webhook = _method(calls.webhooks.delete_webhook)
    send_test_event = _method(calls.webhooks.send_test_event)
    deliveries = _listing(calls.webhooks.deliveries)
    delivery = _method(calls.webhooks.delivery)
    redeliver = _method(calls.webhooks.redeliver)

    schedules = _method(calls.schedules.schedules)
    schedule = _method(calls.schedules.schedule)
    create_schedule = _method(calls.schedules.create_schedule)
    update_schedule = _method(calls.schedules.update_schedule)
    pause_schedule = _method(calls.schedules.pause_schedule)
    resume_schedule = _method(calls.schedules.resume_schedule)
    trigger_schedule = _method(calls.schedules.trigger_schedule)
    delete_schedule = _method(calls.schedules.delete_schedule)
    ticks = _listing(calls.schedules.ticks)

    async def close(self) -> None:
        """Close the connections; needless when used as a context manager."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _items(self, listing: Listing[Item]) -> AsyncGenerator[Item, None]:
        left, cursor = sys.maxsize if listing.limit is None else listing.limit, None
        while left > 0:
            page = await self._send(listing.page(left, cursor))
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

    async def _save(self, arguments: dict[str, Any], target: Path, overwrite: bool) -> None:
        tries = Tries(self._retry)
        while True:
            try:
                return await self._download(arguments, target, overwrite)
            except StudioError as error:
                await asyncio.sleep(tries.wait_after(error))

    async def _download(self, arguments: dict[str, Any], target: Path, overwrite: bool) -> None:
        with network_errors(self.address), new_file(target, overwrite=overwrite) as file:
            async with self._http.stream(**arguments) as response:
                if not response.is_success:
                    raise error_of(response.status_code, response.headers, await response.aread())
                async for chunk in response.aiter_bytes():
                    await asyncio.to_thread(file.write, chunk)
