"""Both clients against what can happen on the wire. Every test runs for the one and for the other."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.steps import Message, RunStatus
from studio import (
    AsyncStudio,
    BadAnswer,
    Conflict,
    Event,
    Invalid,
    NotFound,
    NotSaved,
    RetryPolicy,
    RunFailed,
    StillRunning,
    Studio,
    Unavailable,
    Unreachable,
)
from tests.unit.studio.client_steps import END, RUN_ID, frame, run_steps
from tests.unit.studio.scripted_server import Reply, ScriptedServer, answer, problem, stream

FAST = RetryPolicy(tries=3, shortest_s=0.001, longest_s=2.0)
ACCEPTED = answer({"run_id": RUN_ID, "status": "queued"}, 202)
STEPS = run_steps()
RUN = {
    "run_id": RUN_ID,
    "status": "completed",
    "total_cost_usd": "0.0012",
    "unpriced": 0,
    "from_the_future": 1,
}


class Calls:
    """Either client behind one form: every call is awaited, every iteration gives a list."""

    def __init__(self, client: Studio | AsyncStudio) -> None:
        self.client = client

    async def __call__(self, method: str, *given: Any, **named: Any) -> Any:
        if isinstance(self.client, Studio):
            return await asyncio.to_thread(getattr(self.client, method), *given, **named)
        return await getattr(self.client, method)(*given, **named)

    async def all(self, method: str, *given: Any, **named: Any) -> list[Any]:
        found = getattr(self.client, method)(*given, **named)
        if isinstance(self.client, Studio):
            return await asyncio.to_thread(list, found)
        return [each async for each in found]


Connect = Callable[..., AbstractAsyncContextManager[Calls]]


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Connect:
    @asynccontextmanager
    async def connected(server: ScriptedServer, **named: Any) -> AsyncIterator[Calls]:
        if request.param == "sync":
            with Studio(server.url, "key", retry=FAST, **named) as client:
                yield Calls(client)
        else:
            async with AsyncStudio(server.url, "key", retry=FAST, **named) as aclient:
                yield Calls(aclient)

    return connected


async def test_run_is_created_followed_and_read(connect: Connect) -> None:
    whole = answer({**RUN, "steps": [step.model_dump(mode="json") for step in STEPS], "next_after": None})
    with ScriptedServer(ACCEPTED, stream(*map(frame, STEPS), END), whole) as server:
        async with connect(server) as call:
            run = await call("run", "How much?", temperature=0, tools=["calculator"], model=None)
    created, followed, _ = server.asked
    assert created.body == {"prompt": "How much?", "tools": ["calculator"], "parameters": {"temperature": 0}}
    assert created.headers["Authorization"] == followed.headers["Authorization"] == "Bearer key"
    assert (run.status, run.steps, str(run.total_cost_usd)) == (RunStatus.COMPLETED, tuple(STEPS), "0.0012")


async def test_earlier_messages_travel_with_the_request(connect: Connect) -> None:
    with ScriptedServer(ACCEPTED) as server:
        async with connect(server) as call:
            await call("create", "And now?", messages=[Message(role="user", content="Before")])
    assert server.asked[0].body["messages"] == [{"role": "user", "content": "Before"}]


async def test_creating_is_repeated_with_the_same_idempotency_key(connect: Connect) -> None:
    away = problem(503, "unavailable", headers={"Retry-After": "0"})
    with ScriptedServer(away, Reply(b"{", cut=True), ACCEPTED) as server:
        async with connect(server) as call:
            accepted = await call("create", "Hello")
    assert accepted.run_id == RUN_ID
    keys = [asked.headers["Idempotency-Key"] for asked in server.asked]
    assert len(keys) == 3
    assert len(set(keys)) == 1


async def test_each_call_has_its_own_idempotency_key_unless_given(connect: Connect) -> None:
    with ScriptedServer(ACCEPTED, ACCEPTED, ACCEPTED) as server:
        async with connect(server) as call:
            for named in ({}, {}, {"idempotency_key": "mine"}):
                await call("create", "Hello", **named)
    first, second, given = (asked.headers["Idempotency-Key"] for asked in server.asked)
    assert first != second
    assert given == "mine"


async def test_busy_server_is_asked_again_no_earlier_than_it_says(connect: Connect) -> None:
    busy = problem(429, "busy", headers={"Retry-After": "1"})
    with ScriptedServer(busy, answer(RUN)) as server:
        async with connect(server) as call:
            before = asyncio.get_running_loop().time()
            await call("get", RUN_ID)
            assert asyncio.get_running_loop().time() - before >= 1


async def test_server_that_stays_away_is_given_up(connect: Connect) -> None:
    with ScriptedServer(*[problem(503, "unavailable", "the broker is away")] * 5) as server:
        async with connect(server) as call:
            with pytest.raises(Unavailable, match="the broker is away"):
                await call("create", "Hello")
    assert len(server.asked) == FAST.tries


async def test_no_server_at_the_address_says_so(connect: Connect) -> None:
    with ScriptedServer() as server:
        gone = server
    async with connect(gone) as call:
        with pytest.raises(Unreachable, match=f"no server answers at {gone.url}"):
            await call("get", RUN_ID)


async def test_silent_server_is_given_up(connect: Connect) -> None:
    with ScriptedServer(*[Reply(b"{", cut=True, silent_s=0.3)] * 3) as server:
        async with connect(server, timeout_s=0.05) as call:
            with pytest.raises(Unreachable, match="did not answer in time"):
                await call("get", RUN_ID)


async def test_wrong_request_is_not_repeated(connect: Connect) -> None:
    errors = [{"field": "parameters.temperature", "message": "at most 1.5"}]
    with ScriptedServer(problem(422, "invalid-request", errors=errors)) as server:
        async with connect(server) as call:
            with pytest.raises(Invalid) as caught:
                await call("create", "Hello", temperature=9)
    assert caught.value.fields[0].field == "parameters.temperature"
    assert len(server.asked) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"run_id": 5}'])
async def test_answer_of_something_else_is_an_error_in_words(connect: Connect, body: bytes) -> None:
    with ScriptedServer(Reply(body)) as server:
        async with connect(server) as call:
            with pytest.raises(BadAnswer, match="not what this version understands"):
                await call("get", RUN_ID)


async def test_stream_goes_on_after_each_cut_without_loss_or_repeat(connect: Connect) -> None:
    frames = [frame(step) for step in STEPS]
    with ScriptedServer(
        stream(*frames[:2], frames[2][:30], cut=True),
        problem(503, "unavailable"),
        stream(*frames[2:5]),
        stream(*frames[4:], END),
    ) as server:
        async with connect(server) as call:
            events: list[Event] = await call.all("stream", RUN_ID)
    assert events == STEPS
    assert [asked.headers.get("Last-Event-ID") for asked in server.asked] == [None, "1", "1", "4"]


async def test_stream_that_never_goes_on_is_given_up(connect: Connect) -> None:
    with ScriptedServer(*[stream(frame(STEPS[0]), cut=True)] * 6) as server:
        async with connect(server) as call:
            with pytest.raises(Unreachable):
                await call.all("stream", RUN_ID)
    assert len(server.asked) == FAST.tries


async def test_stream_of_an_unknown_run_is_not_repeated(connect: Connect) -> None:
    with ScriptedServer(problem(404, "not-found", "there is no run")) as server:
        async with connect(server) as call:
            with pytest.raises(NotFound, match="there is no run"):
                await call.all("stream", RUN_ID)
    assert len(server.asked) == 1


async def test_page_where_a_stream_was_asked_is_an_error(connect: Connect) -> None:
    with ScriptedServer(Reply(b"<html>", headers={"Content-Type": "text/html"})) as server:
        async with connect(server) as call:
            with pytest.raises(BadAnswer, match="something else than a stream"):
                await call.all("stream", RUN_ID)


async def test_waiting_for_a_run_ends_at_its_bound_and_names_the_run(connect: Connect) -> None:
    endless = stream(frame(STEPS[0]), cut=True, silent_s=5)
    with ScriptedServer(ACCEPTED, endless) as server:
        async with connect(server) as call:
            with pytest.raises(StillRunning) as caught:
                await call("run", "Hello", wait_s=0.2)
            server.let_go()
    assert caught.value.run_id == RUN_ID


async def test_streamed_run_is_created_first(connect: Connect) -> None:
    with ScriptedServer(ACCEPTED, stream(*map(frame, STEPS), END)) as server:
        async with connect(server) as call:
            assert await call.all("run_stream", "How much?") == STEPS
    assert [asked.method for asked in server.asked] == ["POST", "GET"]


async def test_long_run_is_read_page_by_page(connect: Connect) -> None:
    steps = [step.model_dump(mode="json") for step in STEPS]
    head = answer({**RUN, "steps": steps[:2], "next_after": 1})
    pages = [answer({"items": steps[2:5], "next_after": 4}), answer({"items": steps[5:], "next_after": None})]
    with ScriptedServer(head, *pages, *pages) as server:
        async with connect(server) as call:
            assert (await call("get", RUN_ID)).steps == tuple(STEPS)
            assert await call.all("steps", RUN_ID, after=1) == STEPS[2:]
    assert ["after=1&" in asked.path for asked in server.asked] == [False, True, False, True, False]


async def test_page_that_leads_back_is_an_error(connect: Connect) -> None:
    with ScriptedServer(answer({"items": [], "next_after": 3})) as server:
        async with connect(server) as call:
            with pytest.raises(BadAnswer, match="leads back"):
                await call.all("steps", RUN_ID, after=3)


async def test_runs_are_listed_over_pages_up_to_the_limit(connect: Connect) -> None:
    pages = [
        answer({"items": [RUN, RUN], "next_cursor": "c2"}),
        answer({"items": [RUN, RUN], "next_cursor": "c3"}),
    ]
    with ScriptedServer(*pages) as server:
        async with connect(server) as call:
            runs = await call.all("list", limit=3, status=RunStatus.COMPLETED, agent=None)
    assert len(runs) == 3
    assert [asked.path for asked in server.asked] == [
        "/api/runs?status=completed&limit=3",
        "/api/runs?status=completed&limit=1&cursor=c2",
    ]


async def test_listing_that_leads_to_itself_is_an_error(connect: Connect) -> None:
    pages = [answer({"items": [], "next_cursor": "again"})] * 2
    with ScriptedServer(*pages) as server:
        async with connect(server) as call:
            with pytest.raises(BadAnswer, match="leads to itself"):
                await call.all("list")


async def test_run_that_an_earlier_try_deleted_is_deleted(connect: Connect) -> None:
    with ScriptedServer(Reply(b"{", cut=True), problem(404, "not-found")) as server:
        async with connect(server) as call:
            await call("delete", RUN_ID)
    assert [asked.method for asked in server.asked] == ["DELETE", "DELETE"]


async def test_deleting_what_is_not_there_is_an_error(connect: Connect) -> None:
    with ScriptedServer(problem(404, "not-found")) as server:
        async with connect(server) as call:
            with pytest.raises(NotFound):
                await call("delete", RUN_ID)


async def test_cancelling_says_why(connect: Connect) -> None:
    with ScriptedServer(ACCEPTED, problem(409, "run-finished", "it has finished")) as server:
        async with connect(server) as call:
            await call("cancel", RUN_ID, "too slow")
            with pytest.raises(Conflict, match="it has finished"):
                await call("cancel", RUN_ID)
    assert server.asked[0].body == {"why": "too slow"}


async def test_chat_answers_or_names_the_run_that_failed(connect: Connect) -> None:
    failed = problem(502, "run-failed", "the model is away", run_id=RUN_ID)
    with ScriptedServer(answer({"response": "Hi", "run_id": RUN_ID}), failed) as server:
        async with connect(server) as call:
            assert (await call("chat", "Hello", session_id="s")).response == "Hi"
            with pytest.raises(RunFailed, match="the model is away") as caught:
                await call("chat", "Hello")
    assert caught.value.run_id == RUN_ID
    assert server.asked[0].body == {"message": "Hello", "session_id": "s"}


async def test_run_id_cannot_leave_its_place_in_the_path(connect: Connect) -> None:
    with ScriptedServer() as server:
        async with connect(server) as call:
            with pytest.raises(NotFound):
                await call("get", "../keys?x=1#y")
    assert server.asked[0].path == "/api/runs/..%2Fkeys%3Fx%3D1%23y"


async def test_local_server_is_reached_without_a_proxy(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with ScriptedServer(answer(RUN)) as server:
        async with connect(server) as call:
            assert (await call("get", RUN_ID)).run_id == RUN_ID


async def test_file_that_breaks_off_is_fetched_again(connect: Connect, tmp_path: Path) -> None:
    away = problem(503, "unavailable", headers={"Retry-After": "0"})
    with ScriptedServer(away, Reply(b"half", cut=True), Reply(b"half and half")) as server:
        async with connect(server) as call:
            await call("save_artifact", RUN_ID, "a.txt", tmp_path / "a.txt")
    assert {asked.path for asked in server.asked} == {f"/api/runs/{RUN_ID}/artifacts/a.txt"}
    assert (tmp_path / "a.txt").read_bytes() == b"half and half"


@pytest.mark.parametrize("overwrite", [False, True])
async def test_file_that_never_comes_whole_leaves_nothing_behind(
    connect: Connect, tmp_path: Path, overwrite: bool
) -> None:
    target = tmp_path / "a.txt"
    if overwrite:
        target.write_text("before")
    with ScriptedServer(*[Reply(b"half", cut=True)] * 5) as server:
        async with connect(server) as call:
            with pytest.raises(Unreachable):
                await call("save_artifact", RUN_ID, "a.txt", target, overwrite=overwrite)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["before"] * overwrite


async def test_nothing_is_saved_where_nothing_can_be_written(connect: Connect, tmp_path: Path) -> None:
    with ScriptedServer(*[Reply(b"x")] * 3) as server:
        async with connect(server) as call:
            with pytest.raises(NotSaved, match="cannot be written: No such file or directory"):
                await call("save_artifact", RUN_ID, "a.txt", tmp_path / "none" / "a.txt")
            (tmp_path / "folder").mkdir()
            for overwrite, says in ((False, "is there already"), (True, "cannot be written: Is a directory")):
                with pytest.raises(NotSaved, match=says):
                    await call("save_artifact", RUN_ID, "a", tmp_path / "folder", overwrite=overwrite)
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]
