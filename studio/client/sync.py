"""The client for ordinary code; `asynchronous.py` is the same for asyncio.

What is asked and how answers are read is in `calls.py`; when something is tried again in `retries.py`.
"""

import sys
import time
from collections.abc import Callable, Generator, Iterable, Mapping
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


class Studio:
    """`with Studio() as studio: run = studio.run("What is 5 + 10?")`.

    Address and key: as given, else STUDIO_URL and STUDIO_API_KEY, else those of a stack that was started
    in this folder or one above. Every method raises StudioError (see `studio.client.errors`).
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
        self._http = httpx.Client(**client_arguments(self.address))

    def run(self, prompt: str, *, wait_s: float | None = WAIT_S, **options: Unpack[RunOptions]) -> Run:
        """Start a run and return it when it has finished, however it ended: see its `status` and `error`.

        Raises StillRunning after `wait_s` seconds; the run goes on.
        """
        return self.wait(self.create(prompt, **options).run_id, wait_s=wait_s)

    def run_stream(self, prompt: str, **options: Unpack[RunOptions]) -> Generator[Event, None, None]:
        """Start a run and yield what happens; the first step names the run."""
        yield from self.stream(self.create(prompt, **options).run_id)

    def create(self, prompt: str, **options: Unpack[RunOptions]) -> Accepted:
        """Start a run and return at once."""
        return self._send(calls.create_run(prompt, options))

    def wait(self, run_id: str, *, wait_s: float | None = WAIT_S) -> Run:
        """The run when it has finished. Raises StillRunning after `wait_s` seconds."""
        for _ in self.stream(run_id, wait_s=wait_s):
            pass
        return self.get(run_id)

    def stream(
        self, run_id: str, *, after: int = -1, wait_s: float | None = None
    ) -> Generator[Event, None, None]:
        """Each step behind `after` once and in order, live events between them, until the run has ended.

        A connection that breaks is made again, without loss or repeat of a step.
        """
        feed = Feed(run_id, after=after, wait_s=wait_s, policy=self._retry)
        while not feed.ended:
            try:
                yield from self._connection(feed)
            except StudioError as error:
                time.sleep(feed.wait_after(error))

    def get(self, run_id: str) -> Run:
        """The run with all its steps."""
        run = self._send(calls.get_run(run_id))
        while run.next_after is not None:
            run = run.with_page(self._send(calls.get_steps(run_id, run.next_after)))
        return run

    def steps(self, run_id: str, *, after: int = -1) -> Generator[Step, None, None]:
        """The steps so far, read page by page."""
        position: int | None = after
        while position is not None:
            page = self._send(calls.get_steps(run_id, position))
            yield from page.items
            position = page.next_after

    def body(self, run_id: str, sha256: str) -> JsonValue:
        """A value that is too large for its step, where a `BodyRef` stands for it."""
        return self._send(calls.get_body(run_id, sha256))

    def list(
        self, *, limit: int | None = None, **filters: Unpack[RunFilters]
    ) -> Generator[RunSummary, None, None]:
        """The runs, newest first, read page by page; at most `limit`."""
        yield from self._pages(partial(calls.list_runs, filters), limit)

    def cancel(self, run_id: str, why: str = "") -> Accepted:
        """Ask for the end of a run; it ends a moment later. Raises Conflict when it has ended."""
        return self._send(calls.cancel_run(run_id, why))

    def waiting(self, *, limit: int | None = None) -> Generator[WaitingRun, None, None]:
        """The runs that wait for a person, newest first; at most `limit`."""
        yield from self._pages(calls.list_waiting, limit)

    def approve(
        self, run_id: str, call: WaitingCall, *, arguments: Mapping[str, JsonValue] | None = None
    ) -> Accepted:
        """Allow a call that waits, with these arguments instead if they are given.

        Raises Conflict when it has been decided about.
        """
        return self._send(calls.decide(run_id, call.call_id, approval(call, arguments)))

    def deny(self, run_id: str, call: WaitingCall, note: str = "") -> Accepted:
        """Refuse a call that waits; the model is told, with the note."""
        return self._send(calls.decide(run_id, call.call_id, denial(call, note)))

    def settle(self, run_id: str, call_id: str, decision: str, result: JsonValue = None) -> Accepted:
        """Say what became of a call whose outcome is unknown: happened, did-not-happen or fail."""
        return self._send(calls.settle(run_id, call_id, {"decision": decision, "result": result}))

    def retry(self, run_id: str, why: str = "") -> Accepted:
        """Let a run that failed or was cancelled go on from its last good step."""
        return self._send(calls.retry_run(run_id, why))

    def delete(self, run_id: str) -> None:
        """Erase a finished run's content everywhere. Raises Conflict while it runs."""
        self._send(calls.delete_run(run_id))

    def chat(self, message: str, **options: Unpack[ChatOptions]) -> ChatReply:
        """One message to the assistant. Raises RunFailed or StillRunning, which name the run."""
        return self._send(calls.chat(message, options))

    def agents(
        self, *, archived: bool = False, limit: int | None = None
    ) -> Generator[AgentSummary, None, None]:
        """The newest version of each agent, those created last first; at most `limit`."""
        yield from self._pages(partial(calls.list_agents, archived), limit)

    def agent(self, name: str, version: int | None = None) -> Agent:
        """A version of an agent, the newest one by default."""
        return self._send(calls.get_agent(name, version))

    def create_agent(
        self, definition: Mapping[str, JsonValue], *, idempotency_key: str | None = None
    ) -> Agent:
        """An agent of the name that the definition gives. Raises Conflict when there is one."""
        return self._send(calls.create_agent(definition, idempotency_key))

    def update_agent(
        self, name: str, definition: Mapping[str, JsonValue], *, version: int | None = None
    ) -> Agent:
        """A new version that says this and nothing else.

        Raises Conflict when `version` is not the newest any more; without it, whichever is newest is changed.
        """
        return self._send(calls.update_agent(name, definition, version))

    def archive_agent(self, name: str) -> None:
        """No run may name it any more; its versions stay. Raises Conflict while other agents name it."""
        self._send(calls.archive_agent(name))

    def diff_agent(self, name: str, old: int, new: int) -> AgentDiff:
        """What differs between two versions."""
        return self._send(calls.diff_agent(name, old, new))

    def groups(self, *, limit: int | None = None) -> Generator[Group, None, None]:
        """The labels of runs with what their runs add up to, the one used last first; at most `limit`."""
        yield from self._pages(calls.list_groups, limit)

    def group(self, group: str) -> Group:
        """What the runs of a label add up to."""
        return self._send(calls.get_group(group))

    def cancel_group(self, group: str, why: str = "") -> GroupCancelled:
        """Ask for the end of a group's unfinished runs; while some are `left`, call it again."""
        return self._send(calls.cancel_group(group, why))

    def create_batch(
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
        return self._send(calls.create_batch(runs, name, defaults))

    def batch(self, batch_id: str) -> Batch:
        """How far a batch is."""
        return self._send(calls.get_batch(batch_id))

    def batches(self, *, limit: int | None = None) -> Generator[Batch, None, None]:
        """The batches, newest first; at most `limit`."""
        yield from self._pages(calls.list_batches, limit)

    def cancel_batch(self, batch_id: str) -> BatchCancelled:
        """Ask for the end of a batch's unfinished runs; to ask again asks those that are left."""
        return self._send(calls.cancel_batch(batch_id))

    def sessions(self, *, limit: int | None = None) -> Generator[Session, None, None]:
        """The sessions with what their runs add up to, the one used last first; at most `limit`."""
        yield from self._pages(calls.list_sessions, limit)

    def tools(self) -> tuple[Tool, ...]:
        """The tools that a run may use."""
        return self._send(calls.tools()).items

    def models(self) -> ModelList:
        """The models that a run may name, and whose they are."""
        return self._send(calls.models())

    def close(self) -> None:
        """Close the connections; needless when used as a context manager."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pages(
        self, call: Callable[[int, str | None], Call[Page[Item]]], limit: int | None
    ) -> Generator[Item, None, None]:
        left, cursor = sys.maxsize if limit is None else limit, None
        while left > 0:
            page = self._send(call(left, cursor))
            yield from page.items[:left]
            cursor = page.next_cursor
            left = left - len(page.items) if cursor else 0

    def _send(self, call: Call[Result]) -> Result:
        tries = Tries(self._retry)
        while True:
            try:
                with network_errors(self.address):
                    response = self._http.request(**call_arguments(call, self._timeout_s))
                return result(call, response, repeated=tries.failed > 0)
            except StudioError as error:
                time.sleep(tries.wait_after(error))

    def _connection(self, feed: Feed) -> Generator[Event, None, None]:
        with network_errors(self.address), self._http.stream(**feed_arguments(feed)) as response:
            if not streams(response):
                raise no_stream(response, response.read())
            for chunk in response.iter_bytes():
                yield from feed.take(chunk)
                if feed.ended:
                    return
        feed.finish()
