"""The Python client against the real gateway, through a line that can be cut."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import pytest

from shared.run_state import fold
from shared.steps import RunRequested, RunStatus, Step
from studio import (
    AsyncStudio,
    BodyRef,
    Conflict,
    Delta,
    Event,
    Invalid,
    NotFound,
    Retrying,
    RetryPolicy,
    RunFailed,
    StillRunning,
    Studio,
    Unauthorized,
)
from studio.stack.supervisor import Stack
from tests.e2e.embedded import embedded_stack
from tests.support.waiting import eventually

QUESTION = "What is 5 + 10, then multiply by 3?"
UNKNOWN_RUN = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with embedded_stack(tmp_path_factory.mktemp("client")) as stack:
        yield stack


@pytest.fixture
def client(stack: Stack) -> Iterator[Studio]:
    with Studio(stack.gateway_url, stack.api_key) as client:
        yield client


def steps_of(events: list[Event]) -> list[Step]:
    return [event for event in events if isinstance(event, Step)]


def test_run_returns_the_answer_with_all_its_steps(client: Studio) -> None:
    run = client.run(QUESTION, temperature=0, session_id="s1", metadata={"ticket": 7})
    assert run.status is RunStatus.COMPLETED
    assert "45" in (run.response or "")
    assert run.metadata == {"ticket": 7}
    assert fold(run.steps).usage == run.usage
    assert list(client.steps(run.run_id)) == list(run.steps)


def test_stream_tells_every_step_once_with_the_text_between(client: Studio) -> None:
    events = list(client.run_stream("[[simulate: slow 1s]] Tell me about ships"))
    steps = steps_of(events)
    assert [step.seq for step in steps] == list(range(len(steps)))
    assert isinstance(steps[0], RunRequested)
    written = "".join(event.text for event in events if isinstance(event, Delta))
    run = client.get(steps[0].run_id)
    assert tuple(steps) == run.steps
    assert written
    assert (run.response or "").endswith(written[-20:])


def test_stream_tells_of_retries(client: Studio) -> None:
    # In the second call, when the stream is surely open.
    events = list(client.run_stream("What is 7 * 8? [[simulate: 503 x2 @2]]"))
    assert [event.status for event in events if isinstance(event, Retrying)] == [503, 503]


def test_stream_begins_behind_a_known_step(client: Studio) -> None:
    run = client.run(QUESTION)
    assert steps_of(list(client.stream(run.run_id, after=4))) == list(run.steps[5:])


async def test_async_client_runs_many_at_once(stack: Stack) -> None:
    async with AsyncStudio(stack.gateway_url, stack.api_key) as client:
        questions = [f"What is {n} * 3?" for n in range(2, 10)]
        runs = await asyncio.gather(*(client.run(question, group="many") for question in questions))
        started = {run.run_id for run in runs}

        async def all_are_listed() -> bool:
            return {run.run_id async for run in client.list(group="many", limit=100)} == started

        await eventually(all_are_listed)
    for number, run in zip(range(2, 10), runs, strict=True):
        assert str(number * 3) in (run.response or "")


async def test_async_stream_can_be_left_early(stack: Stack) -> None:
    async with AsyncStudio(stack.gateway_url, stack.api_key) as client:
        events = client.run_stream("[[simulate: hang 50s]] Hello")
        first = await anext(events)
        await events.aclose()
        assert isinstance(first, RunRequested)
        await client.cancel(first.run_id)
        assert (await client.wait(first.run_id)).status is RunStatus.CANCELLED


def test_same_key_starts_one_run(client: Studio) -> None:
    first = client.create("Hello", idempotency_key="only-once")
    assert client.create("Hello", idempotency_key="only-once").run_id == first.run_id
    with pytest.raises(Conflict):
        client.create("Something else", idempotency_key="only-once")


def test_waiting_ends_and_the_run_goes_on(client: Studio) -> None:
    with pytest.raises(StillRunning) as caught:
        client.run("[[simulate: hang 50s]] Hello", wait_s=0.5)
    run_id = caught.value.run_id
    with pytest.raises(Conflict):
        client.delete(run_id)
    client.cancel(run_id, "waited long enough")
    assert client.wait(run_id).status is RunStatus.CANCELLED


def test_deleted_run_is_gone(client: Studio) -> None:
    run = client.run("Hello")
    client.delete(run.run_id)
    with pytest.raises(NotFound):
        client.get(run.run_id)
    with pytest.raises(NotFound):
        list(client.stream(run.run_id))


def test_errors_name_the_field(client: Studio) -> None:
    with pytest.raises(Invalid) as caught:
        client.create("Hello", temperature=9, max_rounds=0)
    assert {field.field for field in caught.value.fields} == {"parameters.temperature", "max_rounds"}
    with pytest.raises(NotFound):
        client.get(UNKNOWN_RUN)
    with pytest.raises(Invalid):
        list(client.list(status="unheard-of"))


def test_wrong_key_is_refused(stack: Stack) -> None:
    with Studio(stack.gateway_url, "not-a-key") as client, pytest.raises(Unauthorized):
        client.tools()


def test_catalogue_names_tools_and_models(client: Studio) -> None:
    assert {"calculator", "file_io", "http_fetch"} <= {tool.name for tool in client.tools()}
    known = client.models()
    assert known.provider == "simulator"
    assert known.default in known.items


def test_chat_answers_or_names_the_failed_run(client: Studio) -> None:
    reply = client.chat(QUESTION)
    assert "45" in reply.response
    assert client.get(reply.run_id).response == reply.response
    with pytest.raises(RunFailed) as caught:
        client.chat("[[simulate: 401]] Hello")
    assert client.get(str(caught.value.run_id)).status is RunStatus.FAILED


def test_large_prompt_is_read_back_whole(client: Studio) -> None:
    prompt = "Remember this. " + "word " * 100_000
    run = client.run(prompt, tools=[])
    request = next(client.steps(run.run_id))
    assert isinstance(request, RunRequested)
    assert isinstance(request.prompt, BodyRef)
    assert request.prompt.size > len(prompt)
    assert client.body(run.run_id, request.prompt.sha256) == prompt


def test_line_that_is_cut_again_and_again_loses_nothing(stack: Stack) -> None:
    with CutLine(stack.gateway_url, after_bytes=4000) as line:
        policy = RetryPolicy(tries=4, shortest_s=0.01)
        with Studio(line.url, stack.api_key, retry=policy) as client:
            run_id = client.create(f"[[simulate: slow 1s]] {QUESTION}", tools=["calculator"]).run_id
            steps = steps_of(list(client.stream(run_id)))
        cuts = line.cuts
    with Studio(stack.gateway_url, stack.api_key) as client:
        assert tuple(steps) == client.get(run_id).steps
    assert cuts >= 2


class CutLine:
    """Passes connections on to a server and cuts each one after so many bytes of answer."""

    def __init__(self, url: str, after_bytes: int) -> None:
        parts = urlsplit(url)
        self._to = (str(parts.hostname), int(parts.port or 80))
        self._after = after_bytes
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self.cuts = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._to)
                for passing in (self._requests, self._answers):
                    threading.Thread(target=passing, args=(client, server), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):  # the other thread has cut the line
            while data := client.recv(65536):
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        left = self._after
        with client, server, suppress(OSError):
            while left > 0 and (data := server.recv(min(left, 1024))):
                client.sendall(data)
                left -= len(data)
            if left <= 0:
                self.cuts += 1
            client.shutdown(socket.SHUT_RDWR)
            server.shutdown(socket.SHUT_RDWR)
