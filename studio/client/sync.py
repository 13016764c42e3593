"""The client for ordinary code; `asynchronous.py` is the same for asyncio.

What is asked and how answers are read is in `calls.py`; when something is tried again in `retries.py`.
"""

import sys
import time
from collections.abc import Generator
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
        left, cursor = sys.maxsize if limit is None else limit, None
        while left > 0:
            page = self._send(calls.list_runs(filters, left, cursor))
            yield from page.items[:left]
            cursor = page.next_cursor
            left = left - len(page.items) if cursor else 0

    def cancel(self, run_id: str, why: str = "") -> Accepted:
        """Ask for the end of a run; it ends a moment later. Raises Conflict when it has ended."""
        return self._send(calls.cancel_run(run_id, why))

    def delete(self, run_id: str) -> None:
        """Erase a finished run's content everywhere. Raises Conflict while it runs."""
        self._send(calls.delete_run(run_id))

    def chat(self, message: str, **options: Unpack[ChatOptions]) -> ChatReply:
        """One message to the assistant. Raises RunFailed or StillRunning, which name the run."""
        return self._send(calls.chat(message, options))

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
