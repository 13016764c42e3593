"""Runners as real processes on a real broker: takeovers, zombies, stops, cancels and a broker that dies."""

import asyncio
import hashlib
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from shared.bus import RUNNER, RUNS, BusSettings, client_of, declare, jetstream, make_broker
from shared.step_codec import decode_steps
from shared.steps import AgentResponse, RunClaimed, RunFinished, RunStatus, Step
from shared.stored import stored_messages
from shared.subjects import RunKey, job_subject, log_subject
from studio.stack.nats import NatsServer
from tests.support.broker import dead_letters
from tests.support.processes import ServiceProcess
from tests.support.runner_field import Field, field_at
from tests.support.runs import ALL_TOOLS
from tests.support.steps import new_key, only, requested
from tests.support.waiting import eventually

FACTORY = "tests.support.runner_app:make_app"


LARGE = "x" * 70_000


@pytest.fixture
async def field(nats_url: str, tmp_path: Path) -> AsyncIterator[Field]:
    async with field_at(nats_url, tmp_path) as made:
        yield made


async def test_two_runners_on_many_runs_write_one_log_each(field: Field) -> None:
    await asyncio.gather(field.runner(), field.runner())
    keys = [await field.send(tool="idempotent", rounds=2, calls=2) for _ in range(40)]
    for key in keys:
        assert (await field.finished(key)).status == RunStatus.COMPLETED
    await eventually(field.acknowledged)
    assert len(field.notes("act idempotent")) == 40 * 4
    claims = [len(only(await field.steps(key), RunClaimed)) for key in keys]
    assert claims == [1] * 40


async def test_a_paused_runner_is_a_zombie_that_cannot_append(field: Field) -> None:
    first = await field.runner()
    key = await field.send(tool="irreversible", rounds=2, tool_s=1.5)
    slow = await field.send(rounds=0, model_s=1.0)
    await eventually(lambda: field.notes("act irreversible"))
    first.signal(signal.SIGSTOP)
    await field.runner()
    assert (await field.finished(slow)).status == RunStatus.COMPLETED
    waiting = await field.waiting(key)
    assert waiting.reason == "unknown-outcome"
    before = await field.steps(key), await field.steps(slow)
    first.signal(signal.SIGCONT)
    await eventually(field.acknowledged)
    await eventually(lambda: _idle(first))
    assert (await field.steps(key), await field.steps(slow)) == before
    assert len(field.notes("act irreversible")) == 1
    assert first.runs()


async def _idle(runner: ServiceProcess) -> bool:
    return await runner.metric("studio_active_runs") == 0


async def test_a_killed_runners_runs_are_finished_by_another(field: Field) -> None:
    first = await field.runner()
    keys = [await field.send(tool="idempotent", rounds=3, tool_s=0.2) for _ in range(5)]
    await eventually(lambda: len(field.notes("act")) >= 7)
    first.signal(signal.SIGKILL)
    await field.runner()
    for key in keys:
        assert (await field.finished(key)).status == RunStatus.COMPLETED
        acts = [line for line in field.notes("act") if key.run_id in line]
        assert len(set(acts)) == 3
        assert len(acts) <= 4, "at most the call in hand is repeated, under its own key"


async def test_a_stopped_runner_hands_its_runs_back_and_another_finishes_them(field: Field) -> None:
    first, second = await asyncio.gather(field.runner(), field.runner())
    keys = [await field.send(tool="irreversible", rounds=3, tool_s=0.15, model_s=0.1) for _ in range(20)]
    await eventually(lambda: len(field.notes("act")) >= 20)
    await first.stop(within_s=10)
    for key in keys:
        end = await field.finished(key)
        assert (end.status, end.error) == (RunStatus.COMPLETED, None)
    acts = field.notes("act")
    assert len(acts) == len(set(acts)) == 60
    assert second.runs()


async def test_a_stop_does_not_wait_for_a_long_model_call_and_another_runner_finishes_the_run(
    field: Field,
) -> None:
    first = await field.runner(RUNNER_DRAIN_S="0.3")
    key = await field.send(rounds=0, model_s=2)
    hanging = await field.send(rounds=0, model_s=60, timeout_s=2)
    await eventually(lambda: len(field.notes("model")) == 2)
    await first.stop(within_s=5)
    await field.runner()
    assert (await field.finished(key)).status == RunStatus.COMPLETED
    assert len([line for line in field.notes("model") if key.run_id in line]) == 2
    end = await field.finished(hanging)
    assert end.error is not None
    assert end.error.type == "timeout"
    await eventually(field.acknowledged)


async def test_one_runner_drives_200_runs_at_once(field: Field) -> None:
    runner = await field.runner(RUNNER_CONCURRENCY="200")
    keys = [await field.send(tool="idempotent", model_s=2, tool_s=0.1) for _ in range(200)]
    await eventually(lambda: _is_driving(runner, 200))
    ends = [(await field.finished(key)).status for key in keys]
    assert set(ends) == {RunStatus.COMPLETED}
    assert len(field.notes("model")) == 200, "no run was given to it twice"


async def _is_driving(runner: ServiceProcess, runs: int) -> bool:
    return await runner.metric("studio_active_runs") == runs


async def test_a_run_of_which_a_large_value_is_gone_fails_and_says_so(field: Field) -> None:
    key = new_key()
    sealed = field.log.seal([requested(key, prompt=LARGE, tools=ALL_TOOLS)])
    await field.log.request(key, sealed)
    await field.log.bodies.delete(key.project, hashlib.sha256(json.dumps(LARGE).encode()).hexdigest())
    await field.runner()

    async def end() -> RunFinished | None:
        steps = [step async for step in _stored_steps(field, key)]
        return next(iter(only(steps, RunFinished)), None)

    finished = await eventually(end, within_s=15)
    assert finished.error is not None
    assert finished.error.type == "body-missing"
    await eventually(field.acknowledged)
    assert await dead_letters(field.log._client) == []


async def _stored_steps(field: Field, key: RunKey) -> AsyncIterator[Step]:
    """As the stream holds them, references and all."""
    async for message in stored_messages(field.log._client, RUNS, log_subject(key)):
        for step in decode_steps(message.data):
            yield step


async def test_a_job_without_a_request_goes_to_the_dead_letters(field: Field) -> None:
    await field.runner()
    key, js = new_key(), jetstream(field.log._client)
    await js.publish(job_subject(key), b"[]", stream=RUNS)
    [letter] = await eventually(lambda: dead_letters(field.log._client))
    assert "does not begin with its request" in (letter.headers or {})["Dead-Error"]
    await eventually(field.acknowledged)
    assert await field.steps(key) == ()


async def _is_gone(runner: ServiceProcess) -> bool:
    return await runner.status("/health/live") is None


async def test_a_stopping_runner_takes_no_more_jobs(field: Field) -> None:
    first, second = await asyncio.gather(field.runner(), field.runner())
    held = [await field.send(model_s=4.0) for _ in range(6)]
    await eventually(lambda: len(field.notes("model")) == 6)
    first.signal(signal.SIGTERM)
    await eventually(lambda: _is_gone(first))
    keys = [await field.send(rounds=0) for _ in range(12)]
    for key in keys:
        await field.finished(key, within_s=1.5)  # less than the acknowledgement wait
    for key in held:
        assert (await field.finished(key)).status == RunStatus.COMPLETED
    assert second.runs()


Moment = Callable[[Field], Awaitable[RunKey]]


async def _during_the_model(field: Field) -> RunKey:
    await field.runner()
    key = await field.send(model_s=30)
    await eventually(lambda: field.notes("model"))
    await field.cancel(key)
    return key


async def _during_a_tool(field: Field) -> RunKey:
    await field.runner()
    key = await field.send(tool="irreversible", rounds=1, tool_s=25)
    await eventually(lambda: field.notes("act"))
    await field.cancel(key)
    return key


async def _before_the_claim(field: Field) -> RunKey:
    key = await field.send(model_s=30)
    await field.cancel(key)
    await field.runner()
    return key


async def _twice(field: Field) -> RunKey:
    key = await _during_the_model(field)
    await field.cancel(key)
    return key


@pytest.mark.parametrize("moment", [_during_the_model, _during_a_tool, _before_the_claim, _twice])
async def test_a_cancelled_run_ends_once_and_soon(field: Field, moment: Moment) -> None:
    key = await moment(field)
    assert (await field.finished(key, within_s=4)).status == RunStatus.CANCELLED
    await eventually(field.acknowledged)
    assert only(await field.steps(key), AgentResponse) == []


async def test_a_cancel_after_the_end_changes_nothing(field: Field) -> None:
    await field.runner()
    key = await field.send(rounds=0)
    await field.finished(key)
    await field.cancel(key)
    await eventually(field.acknowledged)
    assert (await field.finished(key)).status == RunStatus.COMPLETED


async def test_cancels_at_any_moment_of_a_run_leave_one_end_each(field: Field) -> None:
    await asyncio.gather(field.runner(), field.runner())

    async def cancelled_after(seconds: float) -> RunKey:
        key = await field.send(tool="idempotent", rounds=3, tool_s=0.03, model_s=0.05)
        await asyncio.sleep(seconds)
        await field.cancel(key)
        return key

    keys = await asyncio.gather(*(cancelled_after(0.012 * number) for number in range(40)))
    ends = [(await field.finished(key)).status for key in keys]
    assert set(ends) <= {RunStatus.COMPLETED, RunStatus.CANCELLED}
    assert RunStatus.CANCELLED in ends
    await eventually(field.acknowledged)


async def test_a_run_over_its_time_fails_though_its_model_hangs(field: Field) -> None:
    await field.runner()
    key = await field.send(model_s=60, timeout_s=0.5)
    end = await field.finished(key, within_s=5)
    assert end.error is not None
    assert end.error.type == "timeout"


async def test_a_broker_that_dies_in_the_middle_of_200_runs_costs_none_of_them(tmp_path: Path) -> None:
    with NatsServer(tmp_path / "nats") as server:
        async with make_broker("setup", server.url) as broker:
            await declare(jetstream(client_of(broker)), BusSettings(nats_url=server.url, run_ack_wait_s=2))
        async with field_at(server.url, tmp_path) as field:
            await asyncio.gather(field.runner(), field.runner())
            keys = [
                await field.send(tool="idempotent", rounds=2, model_s=0.3, tool_s=0.1) for _ in range(200)
            ]
            await eventually(lambda: len(field.notes("act")) >= 60)
            await asyncio.to_thread(server.kill)
            await eventually(lambda: not field.log._client.is_connected)
            await asyncio.to_thread(server.start)
            await eventually(lambda: field.log._client.is_connected)
            for key in keys:
                assert (await field.finished(key, within_s=30)).status == RunStatus.COMPLETED
            await eventually(field.acknowledged, within_s=10)


async def test_a_run_whose_steps_fit_no_message_still_ends(field: Field) -> None:
    """A model that asks for many tools of endless names has not earned a run that never ends."""
    await field.runner()
    key = await field.send(tool="x" * 20_000, rounds=1, calls=60)
    assert (await field.finished(key, within_s=8)).status == RunStatus.FAILED


async def test_a_redelivered_job_of_a_finished_run_is_acknowledged_and_not_run_again(field: Field) -> None:
    await field.runner()
    key = await field.send(rounds=0)
    await field.finished(key)
    js = jetstream(field.log._client)
    await js.delete_consumer(RUNS, RUNNER.name)
    await declare(js, BusSettings(nats_url=field.url, run_ack_wait_s=2))
    await eventually(field.acknowledged, within_s=12)
    assert len(only(await field.steps(key), RunClaimed)) == 1
