"""The run log on a real broker: one winner per append, nothing lost and nothing twice."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

import pytest
from nats.aio.msg import Msg

from shared.bodies import BodyMissing
from shared.bus import BODIES, KINDS_HEADER, RUNS, client_of, jetstream, make_broker
from shared.errors import Conflict, Permanent, Unavailable
from shared.payload import INLINE_LIMIT
from shared.run_log import RunLog
from shared.run_state import fold
from shared.scrub import Scrubber
from shared.step_codec import decode_steps
from shared.steps import (
    AgentThought,
    CancelRequested,
    Failure,
    Message,
    RequestedToolCall,
    RunDeleted,
    RunFinished,
    Step,
    ToolResult,
    UnknownStep,
    UserRequest,
)
from shared.stored import stored_messages, subject_of
from shared.subjects import RunKey, job_subject, log_subject, stored_subject
from studio.stack.nats import NatsServer
from tests.support.memory_log import Broker, MemoryLog
from tests.support.proxy import proxied
from tests.support.steps import claimed, make, model_call, new_key, requested, result
from tests.support.waiting import eventually


def note(key: RunKey, seq: int, content: str = "note", writer: str = "test") -> UserRequest:
    return make(UserRequest, key, seq, content=content, writer=writer)


@asynccontextmanager
async def log_at(url: str, name: str = "test") -> AsyncIterator[RunLog]:
    async with make_broker(name, url) as broker:
        yield RunLog(client_of(broker), Scrubber())


async def stored(log: RunLog, key: RunKey) -> list[Step]:
    return list((await log.read(key, fresh=True)).steps)


# --- the contract that the log in memory is held to as well ---


@pytest.fixture(params=["broker", "memory"])
def any_log(request: pytest.FixtureRequest) -> RunLog:
    if request.param == "memory":
        return cast("RunLog", MemoryLog(Broker(), "a"))
    return cast("RunLog", request.getfixturevalue("run_log"))


async def test_what_was_appended_is_read_in_order_behind_the_job(any_log: RunLog) -> None:
    key = new_key()
    await any_log.request(key, any_log.seal([requested(key)]))
    first = await any_log.append(key, any_log.seal([claimed(key, 1), note(key, 2)]), 0)
    second = await any_log.append(key, any_log.seal([note(key, 3)]), first)
    read = await any_log.read(key)
    assert [step.seq for step in read.steps] == [0, 1, 2, 3]
    assert read.sequence == second
    assert [step.seq for step in (await any_log.read(key, after=first, fresh=True)).steps] == [3]


async def test_a_run_that_is_not_there_is_empty(any_log: RunLog) -> None:
    read = await any_log.read(new_key(), fresh=True)
    assert (read.steps, read.sequence) == ((), 0)


@pytest.mark.parametrize("expected", [0, -1, 1])
async def test_an_append_after_another_sequence_than_the_last_conflicts(
    any_log: RunLog, expected: int
) -> None:
    key = new_key()
    last = await any_log.append(key, any_log.seal([note(key, 1)]), 0)
    with pytest.raises(Conflict):
        await any_log.append(key, any_log.seal([note(key, 2)]), expected and last + expected)
    assert (await any_log.read(key, fresh=True)).sequence == last


async def test_repeating_the_own_append_returns_the_sequence_it_got(any_log: RunLog) -> None:
    key = new_key()
    sealed = any_log.seal([note(key, 1)])
    first = await any_log.append(key, sealed, 0)
    assert await any_log.append(key, sealed, 0) == first
    assert len((await any_log.read(key, fresh=True)).steps) == 1


async def test_a_purged_run_keeps_its_tombstone_and_nothing_else(any_log: RunLog) -> None:
    key = new_key()
    await any_log.request(key, any_log.seal([requested(key)]))
    first = await any_log.append(key, any_log.seal([claimed(key, 1)]), 0)
    last = await any_log.append(key, any_log.seal([make(RunDeleted, key, 2, who="user")]), first)
    await any_log.purge(key)
    read = await any_log.read(key, fresh=True)
    assert [step.kind for step in read.steps] == ["run-deleted"]
    assert read.sequence == last
    assert fold(read.steps).deleted
    with pytest.raises(Conflict):
        await any_log.append(key, any_log.seal([note(key, 3)]), 0)


# --- the real broker ---


async def test_two_writers_race_and_each_round_has_one_winner(nats_url: str) -> None:
    async with log_at(nats_url, "left") as left, log_at(nats_url, "right") as right:
        key, sequence = new_key(), 0
        for seq in range(1, 101):
            entries = [
                log.append(key, log.seal([note(key, seq, log.writer)]), sequence) for log in (left, right)
            ]
            outcomes = await asyncio.gather(*entries, return_exceptions=True)
            won = [outcome for outcome in outcomes if isinstance(outcome, int)]
            assert len(won) == 1, outcomes
            assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 1
            sequence = won[0]
        steps = await stored(left, key)
        assert [step.seq for step in steps] == list(range(1, 101))


async def test_equal_steps_of_two_writers_are_still_two_writers(nats_url: str) -> None:
    """The same content from another process is no repetition of one's own append."""
    async with log_at(nats_url, "left") as left, log_at(nats_url, "right") as right:
        key = new_key()
        sealed = left.seal([note(key, 1)])
        await left.append(key, sealed, 0)
        with pytest.raises(Conflict):
            await right.append(key, sealed, 0)


async def test_an_append_whose_acknowledgement_was_lost_is_recognised(
    nats_server: NatsServer, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.run_log.ACK_WAIT_S", 1.0)
    async with proxied(nats_server.url) as proxy, log_at(proxy.url) as log, log_at(nats_url) as watcher:
        key = new_key()
        proxy.deaf = True
        appending = asyncio.create_task(log.append(key, log.seal([note(key, 1)]), 0))
        await eventually(lambda: _length(watcher, key, 1))
        proxy.deaf = False
        proxy.cut()  # the client connects again and repeats the append
        sequence = await asyncio.wait_for(appending, 20)
        read = await watcher.read(key, fresh=True)
        assert (len(read.steps), read.sequence) == (1, sequence)


async def _length(log: RunLog, key: RunKey, length: int) -> bool:
    return len(await stored(log, key)) == length


async def test_a_cancelled_append_is_repeated_without_a_second_copy(run_log: RunLog) -> None:
    for pause in (0, 0, 0.0005, 0.001, 0.002, 0.005):
        key = new_key()
        sealed = run_log.seal([note(key, 1)])
        appending = asyncio.create_task(run_log.append(key, sealed, 0))
        await asyncio.sleep(pause)
        appending.cancel()
        await asyncio.gather(appending, return_exceptions=True)
        sequence = await run_log.append(key, sealed, 0)
        read = await run_log.read(key, fresh=True)
        assert (len(read.steps), read.sequence) == (1, sequence)


async def test_a_second_request_with_the_same_id_conflicts_and_a_repeated_one_does_not(nats_url: str) -> None:
    async with log_at(nats_url, "left") as left, log_at(nats_url, "right") as right:
        key = new_key()
        sealed = left.seal([requested(key)])
        for _ in range(3):
            await left.request(key, sealed)
        with pytest.raises(Conflict):
            await right.request(key, right.seal([requested(key, prompt="another")]))
        [step] = await stored(right, key)
        assert getattr(step, "prompt", "") == "What is 5 + 10?"


async def test_a_run_of_many_messages_is_read_in_batches(run_log: RunLog) -> None:
    key, sequence, middle = new_key(), 0, 0
    for seq in range(600):
        sequence = await run_log.append(key, run_log.seal([note(key, seq)]), sequence)
        middle = sequence if seq == 299 else middle
    read = await run_log.read(key, fresh=True)
    assert [step.seq for step in read.steps] == list(range(600))
    assert read.sequence == sequence
    later = await run_log.read(key, after=middle)
    assert [step.seq for step in later.steps] == list(range(300, 600))


async def test_exactly_one_batch_of_messages_is_read_whole(run_log: RunLog) -> None:
    key, sequence = new_key(), 0
    for seq in range(256):
        sequence = await run_log.append(key, run_log.seal([note(key, seq)]), sequence)
    assert len((await run_log.read(key, fresh=True)).steps) == 256


async def test_a_run_reads_only_its_own_log(run_log: RunLog) -> None:
    left, right = new_key(), new_key()
    foreign = RunKey("other", left.run_id)
    for key in (left, right, foreign):
        await run_log.append(key, run_log.seal([note(key, 1, key.run_id + key.project)]), 0)
    for key in (left, right, foreign):
        [step] = await stored(run_log, key)
        assert getattr(step, "content", "") == key.run_id + key.project


async def raw_messages(log: RunLog, key: RunKey) -> list[bytes]:
    js = jetstream(log._client)
    last = await js.get_last_msg(RUNS, log_subject(key), direct=False)
    return [last.data or b""]


@pytest.mark.parametrize(
    "size", [INLINE_LIMIT - 2000, INLINE_LIMIT, INLINE_LIMIT + 1, 700_000, 1024 * 1024 - 100, 3_000_000]
)
async def test_a_large_value_is_kept_by_its_hash_and_read_back(run_log: RunLog, size: int) -> None:
    key = new_key()
    step = result(key, 1, {"page": "é" * (size // 2)})
    sequence = await run_log.append(key, run_log.seal([step]), 0)
    assert await stored(run_log, key) == [step]
    [raw] = await raw_messages(run_log, key)
    assert len(raw) <= INLINE_LIMIT + 1000
    assert (b'"$body"' in raw) == (size > INLINE_LIMIT - 2000)
    decode_steps(raw)  # a consumer reads it without the body
    await run_log.append(key, run_log.seal([note(key, 2)]), sequence)  # the connection survives


async def test_the_same_large_text_is_stored_once_per_project(run_log: RunLog) -> None:
    text = "x" * 100_000
    for project in ("default", "default", "other"):
        key = new_key(project)
        await run_log.append(key, run_log.seal([note(key, 1, text)]), 0)
        assert getattr((await stored(run_log, key))[0], "content", "") == text
    bodies = stored_messages(run_log._client, BODIES, "body.>")
    subjects = [subject_of(message) async for message in bodies]
    assert [subject.split(".")[1] for subject in subjects] == ["default", "other"]


def messages(count: int, content: str) -> tuple[Message, ...]:
    return tuple(Message(role="user", content=content) for _ in range(count))


def parallel_thought(key: RunKey, calls: int, size: int) -> AgentThought:
    asked = tuple(
        RequestedToolCall(call_id=f"c{n:08d}", tool="t", arguments="x" * size) for n in range(calls)
    )
    return make(AgentThought, key, 1, tool_calls=asked, model_call=model_call())


@pytest.mark.parametrize(
    "build",
    [
        lambda key: [result(key, seq, "y" * 60_000, call_id=f"c{seq}") for seq in range(1, 31)],
        lambda key: [parallel_thought(key, 30, 50_000)],
        lambda key: [parallel_thought(key, 400, 5_000)],
        lambda key: [result(key, seq, "y" * 900, call_id=f"c{seq}") for seq in range(1, 1201)],
        lambda key: [requested(key, messages=messages(1500, "m" * 700))],
        lambda key: [requested(key, messages=messages(15_000, "hi"))],
        lambda key: [result(key, 1, list(range(200_000)))],
        lambda key: [result(key, 1, "x", units={f"unit-{n:06d}": 1.0 for n in range(6000)})],
        lambda key: [make(RunFinished, key, 1, status="failed", error=Failure(type="x", message="m" * 80_000))
        ],
        lambda key: [requested(key, user_id="u" * 80_000)],
        lambda key: [result(key, 1, "x", tool="t" * 80_000)],
        lambda key: [
            make(AgentThought, key, 1, model_call=model_call(answered="m" * 80_000),
                 tool_calls=(RequestedToolCall(call_id="c" * 80_000, tool="t" * 80_000, arguments="{}"),))
        ],
    ],
    ids=[
        "30 results of 60 kB", "30 calls of 50 kB", "400 calls of 5 kB", "1,200 results of 900 B",
        "1,500 messages of 700 B", "15,000 tiny messages", "a list of 200,000 numbers",
        "6,000 units", "an error of 80 kB", "a user id of 80 kB", "a tool name of 80 kB",
        "a model's long names",
    ],
)  # fmt: skip
async def test_whatever_its_shape_a_batch_is_stored_and_every_consumer_can_decode_it(
    run_log: RunLog, build: Any
) -> None:
    key = new_key()
    steps = build(key)
    await run_log.append(key, run_log.seal(steps), 0)
    assert await stored(run_log, key) == steps
    [raw] = await raw_messages(run_log, key)
    assert len(raw) < 1024 * 1024
    read = decode_steps(raw)
    assert [type(step) for step in read] == [type(step) for step in steps]
    assert not any(isinstance(step, UnknownStep) for step in read)


async def test_a_body_that_is_gone_is_told_and_not_taken_for_a_value(run_log: RunLog) -> None:
    key = new_key()
    await run_log.append(key, run_log.seal([note(key, 1, "x" * 100_000)]), 0)
    [raw] = await raw_messages(run_log, key)
    content = getattr(decode_steps(raw)[0], "content", None)
    assert content is not None
    await run_log.bodies.delete("default", content.sha256)
    with pytest.raises(BodyMissing):
        await run_log.read(key)


async def test_what_a_tool_said_about_a_body_stays_data(run_log: RunLog) -> None:
    key, other = new_key(), new_key()
    await run_log.append(other, run_log.seal([note(other, 1, "secret " * 20_000)]), 0)
    [raw] = await raw_messages(run_log, other)
    forged = json.loads(raw)[0]["content"]
    await run_log.append(key, run_log.seal([result(key, 1, {"page": forged, "text": json.dumps(forged)})]), 0)
    [step] = await stored(run_log, key)
    assert "secret" not in str(step)


async def test_the_stored_subject_tells_what_is_on_disk_and_nothing_else(nats_url: str) -> None:
    async with AsyncExitStack() as stack:
        log, other = [await stack.enter_async_context(log_at(nats_url, name)) for name in ("left", "right")]
        key = new_key()
        heard: list[Msg] = []
        subscription = await log._client.subscribe(stored_subject(key))
        await log._client.flush()
        sequence = await log.append(key, log.seal([claimed(key, 1), note(key, 2)]), 0)
        for _ in range(5):
            with pytest.raises(Conflict):
                await other.append(key, other.seal([note(key, 1, "never stored")]), 0)
        last = await log.append(key, log.seal([note(key, 3)]), sequence)
        while len(heard) < 2:
            heard.append(await subscription.next_msg(timeout=5))
        assert [step.seq for message in heard for step in decode_steps(message.data)] == [1, 2, 3]
        headers = [message.headers or {} for message in heard]
        assert [int(h["Nats-Sequence"]) for h in headers] == [sequence, last]
        assert [int(h["Nats-Last-Sequence"]) for h in headers] == [0, sequence]
        assert headers[0][KINDS_HEADER] == "run-claimed,user-request"
        with pytest.raises(TimeoutError):
            await subscription.next_msg(timeout=0.2)


async def test_the_broker_away_is_told_within_the_patience(nats_server: NatsServer, nats_url: str) -> None:
    async with proxied(nats_server.url) as proxy, log_at(proxy.url) as log:
        key = new_key()
        await log.append(key, log.seal([note(key, 1)]), 0)
        proxy.target = 9  # nobody listens there
        proxy.cut()
        began = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable):
            await log.append(key, log.seal([note(key, 2)]), 1, patience_s=0.5)
        with pytest.raises(Unavailable):
            await log.read(key, fresh=True)
        assert asyncio.get_running_loop().time() - began < 8
        proxy.target = nats_server.port
        await eventually(lambda: log._client.is_connected)
        assert len(await stored(log, key)) == 1, "what was refused must not be sent later"


async def test_a_full_stream_is_unavailable_and_drops_nothing(run_log: RunLog) -> None:
    js = jetstream(run_log._client)
    info = await js.stream_info(RUNS)
    key = new_key()
    first = await run_log.append(key, run_log.seal([note(key, 1, "x" * 20_000)]), 0)
    state = (await js.stream_info(RUNS)).state
    await js.update_stream(info.config.evolve(max_bytes=state.bytes + 10_000))
    with pytest.raises(Unavailable, match="full"):
        await run_log.append(key, run_log.seal([note(key, 2, "x" * 20_000)]), first, patience_s=2)
    await js.update_stream(info.config)
    await run_log.append(key, run_log.seal([note(key, 2, "x" * 20_000)]), first)
    assert [step.seq for step in await stored(run_log, key)] == [1, 2]


async def test_purging_erases_the_job_too(run_log: RunLog) -> None:
    key = new_key()
    await run_log.request(key, run_log.seal([requested(key)]))
    await run_log.append(key, run_log.seal([make(CancelRequested, key, 1, who="user")]), 0)
    await run_log.purge(key)
    js = jetstream(run_log._client)
    with pytest.raises(Exception, match="no message found"):
        await js.get_last_msg(RUNS, job_subject(key), direct=False)


async def test_steps_that_fit_no_message_are_permanent_and_leave_the_connection_alive(
    run_log: RunLog,
) -> None:
    key = new_key()
    tiny = [
        make(ToolResult, key, seq, call_id="c", tool="t", status="ok", result=1) for seq in range(1, 8000)
    ]
    with pytest.raises(Permanent, match="do not fit"):
        await run_log.append(key, run_log.seal(tiny), 0)
    await run_log.append(key, run_log.seal([note(key, 1)]), 0)


async def test_many_writers_of_the_same_large_text_do_not_disturb_its_readers(nats_url: str) -> None:
    text = b'"' + b"x" * 300_000 + b'"'
    async with AsyncExitStack() as stack:
        logs = [await stack.enter_async_context(log_at(nats_url, f"log{n}")) for n in range(4)]

        async def use(log: RunLog) -> None:
            ref = await log.bodies.put("default", text)
            assert await log.bodies.get("default", ref.sha256) == text

        async with asyncio.timeout(20):
            await asyncio.gather(*(use(log) for log in logs * 8))


async def test_reading_many_bodies_leaves_nothing_behind_on_the_broker(run_log: RunLog) -> None:
    """A consumer left over for each read would use up the broker's limit for everybody."""
    refs = [await run_log.bodies.put("default", json.dumps(f"body {n}").encode()) for n in range(20)]
    for ref in refs:
        await run_log.bodies.get("default", ref.sha256)
    state = (await jetstream(run_log._client).stream_info(BODIES)).state
    assert state.consumer_count == 0
