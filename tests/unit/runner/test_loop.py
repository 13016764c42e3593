"""The loop of one run: every way a model misbehaves, cancels, time limits, and handing back."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import pytest
from pydantic import SecretStr

from services.runner.journal import Fenced
from services.runner.loop import HandedBack, Waiting
from services.runner.mistral import MistralModel
from services.runner.settings import Settings
from shared.bodies import BodyMissing
from shared.run_log import LogRead
from shared.run_state import fold
from shared.steps import (
    AgentThought,
    Effect,
    Failure,
    MemorySnapshot,
    RequestedToolCall,
    RunFinished,
    RunStatus,
    RunWaiting,
    ToolResult,
    Usage,
    now,
)
from shared.subjects import RunKey
from tests.support.memory_log import MemoryLog
from tests.support.models import Answer
from tests.support.provider import error_answer, provider
from tests.support.runs import Bench, bench, ended, kinds
from tests.support.steps import call, check_history, only
from tests.support.tools import counting_tools
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("every_run_can_be_rehearsed")


async def test_a_run_of_two_tools_and_an_answer() -> None:
    run = bench(
        [call("pure", call_id="call00001"), call("idempotent", call_id="call00002")], "The answer is 2."
    )
    await run.request()
    assert await ended(await run.claim()) == (RunStatus.COMPLETED, None)
    assert kinds(run.steps) == [
        "run-requested",
        "run-claimed",
        "user-request",
        "agent-thought",
        "tool-call",
        "tool-call",
        "tool-result",
        "tool-result",
        "agent-response",
        "memory-snapshot",
        "run-finished",
    ]
    check_history(run.steps)
    assert only(run.steps, RunFinished)[0].totals.usage == Usage(input=10 + 40, output=14)


MISBEHAVIOUR: dict[str, tuple[Sequence[Answer], str]] = {
    "unknown tool for ever": ([[call("teleport")]], "invalid-tool-call"),
    "no JSON for ever": ([[call("pure", "{value: 1")]], "invalid-tool-call"),
    "a list for ever": ([[call("pure", "[1, 2]")]], "invalid-tool-call"),
    "NaN for ever": ([[call("pure", '{"value": NaN}')]], "invalid-tool-call"),
    "arguments nested 5,000 deep": ([[call("pure", "[" * 5000)]], "invalid-tool-call"),
    "a number of 6,000 digits": ([[call("pure", '{"value": %s}' % ("9" * 6000))]], "invalid-tool-call"),
    "lone surrogates": ([[call("pure", '{"\\ud800": "\\udfff"}')]], "invalid-tool-call"),
    "schema failure for ever": ([[call("pure", '{"value": "many"}')]], "invalid-tool-call"),
    "a good and a bad call for ever": ([[call("pure"), call("teleport")]], "invalid-tool-call"),
    "tools for ever": ([[call("pure")]], "max-rounds"),
    "the same call id for ever": (
        [[call("pure", call_id="same"), call("pure", call_id="same")]],
        "max-rounds",
    ),
    "no call ids": ([[call("pure", call_id=""), call("pure", call_id="null")]], "max-rounds"),
    "an empty answer": ([""], "empty-answer"),
    "a failed call": ([Failure(type="rate-limited", message="later", retryable=True)], "rate-limited"),
    "a tool name of 70,000 letters": ([[call("x" * 70_000)]], "invalid-tool-call"),
    "2,000 calls at once": ([[call("pure") for _ in range(2000)], [call("pure")]], "max-rounds"),
}


@pytest.mark.parametrize(("answers", "failure"), MISBEHAVIOUR.values(), ids=MISBEHAVIOUR.keys())
async def test_however_a_model_misbehaves_the_run_ends_with_the_reason(
    answers: Sequence[Answer], failure: str
) -> None:
    run = bench(*answers)
    await run.request()
    assert await ended(await run.claim(), within_s=20) == (RunStatus.FAILED, failure)
    check_history(run.steps)
    assert len(run.model.requests) <= 6
    ids = [c.call_id for thought in only(run.steps, AgentThought) for c in thought.tool_calls]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("bad", ["{", '{"value": "many"}', "7"])
async def test_a_model_told_of_its_mistake_once_may_correct_it(bad: str) -> None:
    run = bench([call("pure", bad)], [call("pure")], [call("pure", bad)], [call("pure")], "Done.")
    await run.request()
    assert await ended(await run.claim()) == (RunStatus.COMPLETED, None)
    complaints = [r for r in only(run.steps, ToolResult) if r.error_type == "invalid-arguments"]
    assert len(complaints) == 2
    assert len(run.world.of("pure")) == 2


async def test_an_unknown_tool_is_told_to_the_model_with_the_names_that_exist() -> None:
    run = bench([call("teleport")], "I cannot.")
    await run.request()
    assert await ended(await run.claim()) == (RunStatus.COMPLETED, None)
    told = run.model.requests[1].messages[-1]
    assert told["role"] == "tool"
    assert "'teleport'" in str(told["content"])
    assert "pure, idempotent, irreversible" in str(told["content"])


@pytest.mark.parametrize(("limit", "calls"), [(1, 2), (3, 4)])
async def test_max_rounds_bounds_the_calls_of_the_model(limit: int, calls: int) -> None:
    run = bench([call("pure")])
    await run.request(max_rounds=limit)
    assert await ended(await run.claim()) == (RunStatus.FAILED, "max-rounds")
    assert len(run.model.requests) == calls
    assert len(run.world.of("pure")) == limit


async def test_a_tool_that_is_not_in_the_request_is_unknown_even_if_installed() -> None:
    run = bench([call("irreversible")], "Well.")
    await run.request(tools=())
    assert await ended(await run.claim()) == (RunStatus.COMPLETED, None)
    assert run.world.of("irreversible") == []
    assert only(run.steps, ToolResult)[0].error_type == "unknown-tool"


async def test_irreversible_tools_run_one_after_the_other_in_the_models_order() -> None:
    running = most = 0

    async def before() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)

    async def after() -> None:
        nonlocal running
        running -= 1

    calls = [call("irreversible", call_id=f"call{n:05d}") for n in range(4)]
    run = bench(calls, "Done.")
    run.tools = counting_tools(run.world, before=before, after=after)
    await run.request()
    assert await ended(await run.claim()) == (RunStatus.COMPLETED, None)
    assert most == 1
    assert run.world.of("irreversible") == [f"{run.key.run_id}:{c.call_id}" for c in calls]


async def test_the_intent_is_on_disk_before_the_act() -> None:
    seen: list[list[str]] = []
    run = bench([call("irreversible")], [call("idempotent")], "Done.")

    async def before() -> None:
        seen.append(kinds(run.steps))

    run.tools = counting_tools(run.world, before=before)
    await run.request()
    await ended(await run.claim())
    assert [len([k for k in at if k == "tool-call"]) for at in seen] == [1, 2]


class Gate:
    """Holds a model or a tool until it is opened."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self) -> None:
        self.reached.set()
        await self.open.wait()


async def held(tool: str) -> tuple[Bench, Gate]:
    gate = Gate()
    run = bench([call(tool, call_id="call00001")], "Done.")
    run.tools = counting_tools(run.world, after=gate)
    await run.request()
    return run, gate


async def test_a_nudge_without_news_does_not_repeat_an_irreversible_tool() -> None:
    run, gate = await held("irreversible")
    loop = await run.claim()
    driving = asyncio.create_task(ended(loop))
    await asyncio.wait_for(gate.reached.wait(), 2)
    loop.look()
    gate.open.set()
    status, _ = await driving
    assert len(run.world.of("irreversible")) == 1
    assert status == RunStatus.COMPLETED


async def test_a_nudge_without_news_does_not_pay_the_model_twice() -> None:
    opened = asyncio.Event()
    run = bench("Done.")
    run.model.gate = lambda: opened
    await run.request()
    loop = await run.claim()
    driving = asyncio.create_task(ended(loop))
    await eventually(lambda: run.model.requests)
    loop.look()
    await eventually(lambda: loop._looking is not None and loop._looking.done())
    opened.set()
    assert await driving == (RunStatus.COMPLETED, None)
    assert len(run.model.requests) == 1


@pytest.mark.parametrize("nudges", [1, 2, 5])
async def test_cancel_during_a_model_call_ends_the_run_once_however_often_it_is_nudged(nudges: int) -> None:
    run = bench("Done.")
    run.model.gate = asyncio.Event
    await run.request()
    loop = await run.claim()
    driving = asyncio.create_task(ended(loop))
    await eventually(lambda: run.model.requests)
    await run.cancel()
    for _ in range(nudges):
        loop.look()
        await asyncio.sleep(0)
    assert await driving == (RunStatus.CANCELLED, None)
    check_history(run.steps)


async def test_cancel_during_the_wait_before_another_try_ends_the_run_at_once() -> None:
    async with provider(error_answer(429, {"message": "slow down"}, Retry_After="50")) as server:
        key = SecretStr("key")
        settings = Settings(mistral_api_key=key, mistral_server_url=server.url, mistral_retry_max_wait=60)
        run = bench()
        run.model = cast("Any", MistralModel(settings))
        await run.request()
        loop = await run.claim()
        driving = asyncio.create_task(ended(loop))
        await eventually(lambda: server.requests)
        await run.cancel()
        loop.look()
        assert await driving == (RunStatus.CANCELLED, None)
        assert len(server.requests) == 1
    check_history(run.steps)


class WithoutItsBodies(MemoryLog):
    """A log in which the values that others appended are gone."""

    async def read(
        self, run: RunKey, *, after: int = 0, fresh: bool = False, inflate: bool = True
    ) -> LogRead:
        raise BodyMissing("no body on the bus")


async def test_a_look_that_cannot_read_the_log_leaves_the_step_alone() -> None:
    opened = asyncio.Event()
    run = bench("Done.")
    run.model.gate = lambda: opened
    await run.request()
    loop = await run.claim()
    driving = asyncio.create_task(ended(loop))
    await eventually(lambda: run.model.requests)
    loop.journal._log = cast("Any", WithoutItsBodies(run.broker, "a"))
    loop.look()
    looking = loop._looking
    assert looking is not None
    await asyncio.wait_for(looking, 2)
    opened.set()
    assert await driving == (RunStatus.COMPLETED, None)


async def test_nudges_leave_the_time_limit_in_force() -> None:
    run = bench("Done.")
    run.model.gate = asyncio.Event
    await run.request(timeout_s=0.5)
    loop = await run.claim()
    driving = asyncio.create_task(ended(loop))
    await eventually(lambda: run.model.requests)
    loop.look()
    loop.look()
    assert await driving == (RunStatus.FAILED, "timeout")
    check_history(run.steps)


async def test_cancel_during_a_tool_ends_the_run_and_leaves_no_second_act() -> None:
    run, gate = await held("irreversible")
    loop = await run.claim()
    driving = asyncio.create_task(ended(loop))
    await asyncio.wait_for(gate.reached.wait(), 2)
    await run.cancel()
    loop.look()
    assert await driving == (RunStatus.CANCELLED, None)
    assert len(run.world.of("irreversible")) == 1
    check_history(run.steps)


async def test_no_irreversible_tool_runs_once_a_cancel_is_in_the_log() -> None:
    """The nudge may be lost; but the append of the intent has met the cancel, so the runner knows of it."""
    opened = asyncio.Event()
    run = bench([call("irreversible")], "Done.")
    run.model.gate = lambda: opened
    await run.request()
    loop = await run.claim()
    driving = asyncio.create_task(ended(loop))
    await eventually(lambda: run.model.requests)
    await loop.journal.commit()
    await run.cancel()
    opened.set()
    assert await driving == (RunStatus.CANCELLED, None)
    assert run.world.of("irreversible") == []
    check_history(run.steps)


async def test_cancel_before_the_claim_ends_the_run_without_a_model_call() -> None:
    run = bench("Done.")
    await run.request()
    await run.cancel()
    assert await ended(await run.claim()) == (RunStatus.CANCELLED, None)
    assert run.model.requests == []
    check_history(run.steps)


async def test_a_run_over_its_time_limit_fails_even_in_the_middle_of_a_tool() -> None:
    run, gate = await held("pure")
    run.broker.jobs.clear()
    await run.request(timeout_s=0.2)
    assert await ended(await run.claim()) == (RunStatus.FAILED, "timeout")
    assert gate.reached.is_set()
    check_history(run.steps)


async def test_the_time_limit_counts_from_the_first_claim() -> None:
    run = bench("Done.")
    run.model.gate = asyncio.Event
    await run.request(timeout_s=600)
    first = await run.claim("a")
    crashed = asyncio.create_task(first.drive())
    await eventually(lambda: run.model.requests)
    crashed.cancel()
    await asyncio.gather(crashed, return_exceptions=True)
    first.journal.abandon()
    run.clock = lambda: now() + timedelta(seconds=599.9)
    assert await ended(await run.claim("b")) == (RunStatus.FAILED, "timeout")


async def test_handing_back_finishes_the_current_step_and_the_next_runner_goes_on() -> None:
    run, gate = await held("pure")
    loop = await run.claim("a")
    driving = asyncio.create_task(loop.drive())
    await asyncio.wait_for(gate.reached.wait(), 2)
    loop.hand_back()
    gate.open.set()
    with pytest.raises(HandedBack):
        await asyncio.wait_for(driving, 2)
    assert kinds(run.steps)[-1] == "tool-result"
    assert await ended(await run.claim("b")) == (RunStatus.COMPLETED, None)
    assert len(run.world.of("pure")) == 1
    check_history(run.steps)


async def test_a_stop_between_an_intent_and_its_act_costs_no_run() -> None:
    """A runner that stops in good order knows that the tool has not run; nobody must fear a second act."""
    opened = asyncio.Event()
    run = bench([call("irreversible")], "Done.")
    run.model.gate = lambda: opened
    await run.request()
    loop = await run.claim("a")
    driving = asyncio.create_task(loop.drive())
    await eventually(lambda: run.model.requests)
    loop.hand_back()
    opened.set()
    with pytest.raises(HandedBack):
        await asyncio.wait_for(driving, 2)
    assert await ended(await run.claim("b")) == (RunStatus.COMPLETED, None)
    assert len(run.world.of("irreversible")) == 1
    check_history(run.steps)


async def died_while_acting() -> Bench:
    """A run whose runner died in the middle of an irreversible call; the next one has let go of it."""
    run, gate = await held("irreversible")
    loop = await run.claim("a")
    driving = asyncio.create_task(loop.drive())
    await asyncio.wait_for(gate.reached.wait(), 2)
    driving.cancel()
    await asyncio.gather(driving, return_exceptions=True)
    loop.journal.abandon()
    with pytest.raises(Waiting):
        await ended(await run.claim("b"))
    assert fold(run.steps).status == RunStatus.WAITING
    gate.open.set()
    return run


async def test_a_call_that_happened_after_all_is_not_repeated() -> None:
    run = await died_while_acting()
    await run.resolve("happened", result={"doubled": 2})
    assert await ended(await run.claim("c")) == (RunStatus.COMPLETED, None)
    assert len(run.world.of("irreversible")) == 1
    assert only(run.steps, ToolResult)[-1].result == {"doubled": 2}
    check_history(run.steps)


async def test_a_call_that_did_not_happen_is_made_with_the_same_key() -> None:
    run = await died_while_acting()
    before = len(run.world.of("irreversible"))
    await run.resolve("did-not-happen")
    assert await ended(await run.claim("c")) == (RunStatus.COMPLETED, None)
    acts = run.world.of("irreversible")
    assert (len(acts), len(set(acts))) == (before + 1, 1)
    check_history(run.steps)


async def test_what_was_found_out_holds_for_one_try_only() -> None:
    run = await died_while_acting()
    await run.resolve("did-not-happen")
    await run.claim("c")  # it may have acted before it died
    with pytest.raises(Waiting):
        await ended(await run.claim("d"))
    assert len(only(run.steps, RunWaiting)) == 2


async def test_a_person_may_give_up_a_run_with_an_unknown_outcome() -> None:
    run = await died_while_acting()
    await run.resolve("fail")
    assert await ended(await run.claim("c")) == (RunStatus.FAILED, "unknown-outcome")
    assert only(run.steps, ToolResult)[-1].status == "unknown"
    check_history(run.steps)


@pytest.mark.parametrize("answers", [["Done."], [[call("pure")], "Done."], [""]])
async def test_the_memory_refers_to_steps_that_are_what_it_says(answers: list[Answer]) -> None:
    run = bench(*answers)
    await run.request()
    await ended(await run.claim())
    _check_memory(run)


async def test_the_memory_of_a_run_with_an_unknown_outcome_refers_to_the_result() -> None:
    run = await died_while_acting()
    await run.resolve("fail")
    await ended(await run.claim("c"))
    _check_memory(run)


def _check_memory(run: Bench) -> None:
    memory = only(run.steps, MemorySnapshot)[-1].memory
    assert isinstance(memory, dict)
    by_seq = {step.seq: step.kind for step in run.steps}
    messages = memory["messages"]
    assert isinstance(messages, list)
    assert {m["seq"]: m["kind"] for m in messages if isinstance(m, dict)} == {
        seq: kind
        for seq, kind in by_seq.items()
        if kind in {"user-request", "agent-thought", "tool-result", "agent-response"}
    }


async def test_a_runner_that_lost_the_run_while_its_tools_ran_in_parallel_is_fenced() -> None:
    gate = Gate()
    run = bench([call("pure", call_id="call00001"), call("pure", call_id="call00002")], "Done.")
    run.tools = counting_tools(run.world, after=gate)
    await run.request()
    zombie = await run.claim("a")
    driving = asyncio.create_task(zombie.drive())
    await asyncio.wait_for(gate.reached.wait(), 2)
    await zombie.journal.commit()
    await run.claim("b")
    gate.open.set()
    with pytest.raises(Fenced):
        await asyncio.wait_for(driving, 2)


async def test_requests_repeat_exactly_when_a_run_is_taken_over() -> None:
    run = bench([RequestedToolCall(call_id="", tool="pure", arguments="{}")], "Done.")
    await run.request()
    await ended(await run.claim())
    again = bench([RequestedToolCall(call_id="", tool="pure", arguments="{}")], "Done.", key=run.key)
    await again.request()
    await ended(await again.claim("b"))
    assert [r.hash() for r in run.model.requests] == [r.hash() for r in again.model.requests]


def test_every_effect_has_its_counting_tool() -> None:
    assert counting_tools(bench("x").world).names() == [effect.value for effect in Effect]
