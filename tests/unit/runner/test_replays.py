"""Runs that replay others: rehearsed, forked, run anew with recorded answers."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from services.runner.means import Means
from services.runner.rehearsal.rehearsal import Rehearsal
from shared.fork import fork_points
from shared.run_state import fold
from shared.step_codec import decode_steps, encode_steps
from shared.steps import (
    AgentChanged,
    AgentRef,
    AgentResponse,
    AgentSnapshot,
    AgentThought,
    ApprovalRequested,
    ConversationStep,
    Divergence,
    Effect,
    Parameters,
    RunDeleted,
    RunFinished,
    RunStatus,
    RunVerified,
    RunWaiting,
    Step,
    ToolCall,
    ToolResult,
    UserRequest,
    now,
)
from tests.support.memory_log import MemoryLog
from tests.support.memory_runner import InFlight
from tests.support.models import Answer
from tests.support.replays import ALL_TOOLS, Played, Stage, answers, edit
from tests.support.steps import call, check_history, conversation, make, only, tool_spec
from tests.support.tools import World, counting_tools
from tests.support.waiting import run_alone

pytestmark = pytest.mark.usefixtures("every_run_can_be_rehearsed")

ONE = [call("pure", '{"value": 1}', call_id="call00001")]
TWO = [call("irreversible", '{"value": 2}', call_id="call00002")]
THREE = [call("idempotent", '{"value": 3}', call_id="call00003")]
SOURCE: Sequence[Answer] = [ONE, TWO, THREE, "The answer is 12."]
"""Steps: 0 request, 1 claim, 2 user, 3-5 one, 6-8 two, 9-11 three, 12 answer, 13 memory, 14 end."""


def ended(run: Played) -> tuple[RunStatus, str | None]:
    finished = check_history(run.steps).finished
    assert finished is not None
    return finished.status, finished.error.type if finished.error else None


def verdict(run: Played) -> RunVerified:
    [verified] = only(run.steps, RunVerified)
    return verified


def apart(run: Played) -> Divergence:
    divergence = verdict(run).divergence
    assert divergence is not None
    assert ended(run) == (RunStatus.FAILED, "diverged")
    return divergence


async def test_an_untouched_run_is_rehearsed_without_a_call_of_anything() -> None:
    stage = Stage()
    source = await stage.play(SOURCE)
    replay = await stage.replay(source, "verify")
    assert ended(replay) == (RunStatus.COMPLETED, None)
    told = verdict(replay)
    assert (told.equal, told.steps, told.model_calls, told.divergence) == (True, len(source.steps), 4, None)
    assert replay.model.requests == []
    assert replay.world.acts == {}
    assert len(replay.steps) == 5  # whatever the length of the source


CHANGES: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "instructions": (
        {"instructions": "Be brief."},
        "instructions",
        "/messages/0",
        '+      "content": "Be brief."',
    ),
    "model": (
        {"model": "mistral-small-latest"},
        "parameter",
        "/model",
        '+  "model": "mistral-small-latest",',
    ),
    "parameter": (
        {"parameters": Parameters(temperature=0.25)},
        "parameter",
        "/temperature",
        '+  "temperature": 0.25,',
    ),
    "tool schema": (
        {"tools": (ALL_TOOLS[0].model_copy(update={"description": "Better."}), *ALL_TOOLS[1:])},
        "tool-schema",
        "/tools/0",
        '+        "description": "Better.",',
    ),
}


@pytest.mark.parametrize(("snapshot", "cause", "path", "line"), CHANGES.values(), ids=CHANGES.keys())
async def test_a_changed_run_parts_at_its_first_call_and_the_cause_is_named(
    snapshot: dict[str, Any], cause: str, path: str, line: str
) -> None:
    stage = Stage()
    source = await stage.play(SOURCE)
    divergence = apart(await stage.replay(source, "verify", snapshot=snapshot))
    assert (divergence.step, divergence.cause, divergence.path) == (3, cause, path)
    assert divergence.expected_hash == only(source.steps, AgentThought)[0].model_call.request_hash
    assert divergence.actual_hash not in (None, divergence.expected_hash)
    assert line in divergence.diff.splitlines()


async def test_another_prompt_parts_at_the_users_message() -> None:
    stage = Stage()
    source = await stage.play(SOURCE)
    divergence = apart(await stage.replay(source, "verify", snapshot={"prompt": "And 7?"}))
    assert (divergence.step, divergence.cause, divergence.path) == (2, "message", "/content")


async def test_a_tool_that_gives_something_else_today_is_named_as_the_cause() -> None:
    stage = Stage()
    source = await stage.play(SOURCE)
    steps = source.steps
    same = await stage.replay(source, "verify", tools={"pure": answers("live")})
    assert verdict(same).equal
    assert same.world.of("pure") == [f"{source.key.run_id}:call00001"]
    for key, stored in stage.broker.messages.items():
        if key == source.key:
            stored[:] = [(n, w, data.replace(b'{"doubled":2}', b'{"doubled":3}')) for n, w, data in stored]
    assert source.steps != steps
    # Now the log says 3, but the request that it was sent in had 2: the record is not what it was.
    tampered = apart(await stage.replay(source, "verify"))
    assert (tampered.step, tampered.cause) == (6, "code-version")
    stage.broker.messages[source.key] = []  # leave nothing for the check behind the test


async def test_a_live_tool_with_another_result_parts_where_the_model_reads_it() -> None:
    stage = Stage()
    source = await stage.play(SOURCE)
    tools = counting_tools(World())
    pure = tools.get("pure")
    assert pure is not None

    async def tripled(arguments: Any, _: Any) -> Any:
        return {"doubled": arguments.value * 3}

    pure.execute = tripled  # type: ignore[method-assign,assignment]
    means = Means(source.model, tools, now)
    outcome = await Rehearsal(source.steps, means, live=frozenset({"pure"})).play()
    assert outcome.divergence is not None
    where = (outcome.divergence.step, outcome.divergence.cause, outcome.divergence.path)
    assert where == (6, "tool-result", "/messages/2/content")
    assert outcome.model_calls == 1


async def test_a_deleted_source_ends_its_replays() -> None:
    stage = Stage()
    source = await stage.play(SOURCE)
    door = MemoryLog(stage.broker, "gateway")
    deletion = make(RunDeleted, source.key, len(source.steps), who="user")
    await door.append(source.key, door.seal([deletion]), stage.broker.last(source.key))
    await door.purge(source.key)
    for mode in ("verify", "rerun"):
        assert ended(await stage.replay(source, mode)) == (RunStatus.FAILED, "source-gone")


async def test_a_fork_keeps_the_steps_up_to_its_step_and_asks_only_for_the_rest() -> None:
    stage = Stage()
    source = await stage.play(SOURCE)
    replay = await stage.replay(source, "fork", ["-", "-", "Enough."], fork_step=8)
    assert ended(replay) == (RunStatus.COMPLETED, None)
    [asked] = replay.model.requests
    recorded = only(source.steps, AgentThought)[2].model_call.request_hash
    assert asked.hash() == recorded
    assert replay.world.acts == {}
    copies = [step for step in replay.steps if getattr(step, "copied_from", None) is not None]
    assert [step.copied_from for step in copies] == [2, 3, 4, 5, 6, 7, 8]  # type: ignore[union-attr]
    answer = only(replay.steps, AgentResponse)[0].model_call.usage
    end = only(replay.steps, RunFinished)[0].totals
    assert end.usage == answer  # what the source has paid is not paid again
    assert fold(replay.steps).rounds == 2


async def test_a_fork_has_the_edited_result_and_prompt() -> None:
    stage = Stage()
    source = await stage.play(SOURCE)
    edits = (edit(2, "content", "What is 6 + 10?"), edit(5, "result", {"doubled": 50}))
    replay = await stage.replay(source, "fork", ["-", "Done."], fork_step=5, edits=edits)
    assert ended(replay) == (RunStatus.COMPLETED, None)
    said = [message["content"] for message in replay.model.requests[0].messages]
    assert said[0] == "What is 6 + 10?"
    assert said[-1] == '{"doubled": 50}'
    assert only(replay.steps, UserRequest)[0].content == "What is 6 + 10?"


async def test_a_fork_at_a_thought_makes_its_calls_anew() -> None:
    stage = Stage()
    source = await stage.play(SOURCE)
    edits = (edit(9, "arguments", '{"value": 30}', "call00003"),)
    same = await stage.replay(source, "fork", SOURCE, fork_step=9)
    live = {"idempotent": answers("recorded", "live")}
    other = await stage.replay(source, "fork", SOURCE, fork_step=9, edits=edits, tools=live)
    assert same.world.acts == {}  # the source has the answer
    assert other.world.acts == {"idempotent": [f"{other.key.run_id}:call00003"]}
    assert only(other.steps, ToolResult)[-1].result == {"doubled": 60}
    for replay in (same, other):
        assert ended(replay) == (RunStatus.COMPLETED, None)
        assert len(replay.model.requests) == 1


async def test_a_fork_of_a_fork_goes_on_from_there() -> None:
    stage = Stage()
    source = await stage.play(SOURCE)
    first = await stage.replay(source, "fork", SOURCE, fork_step=5)
    place = fork_points(first.steps)[-1]
    second = await stage.replay(first, "fork", SOURCE, fork_step=place)
    assert ended(second) == (RunStatus.COMPLETED, None)
    assert len(second.model.requests) == 1
    verified = await stage.replay(second, "verify")
    assert verdict(verified).equal


async def test_a_step_where_no_run_can_be_forked_ends_the_replay_with_words() -> None:
    stage = Stage()
    source = await stage.play(SOURCE)
    replay = await stage.replay(source, "fork", fork_step=7)
    assert ended(replay) == (RunStatus.FAILED, "cannot-fork")
    [end] = only(replay.steps, RunFinished)
    assert end.error is not None
    assert "fork at step 6 or 8" in end.error.message


async def test_a_rerun_has_the_answers_of_its_source_and_makes_no_such_call() -> None:
    stage = Stage()
    source = await stage.play(SOURCE)
    replay = await stage.replay(source, "rerun", SOURCE)
    assert ended(replay) == (RunStatus.COMPLETED, None)
    assert replay.world.acts == {}
    assert len(replay.model.requests) == 4
    without = [
        [{**step, "copied_from": None, "idempotency_key": None} for step in conversation(run.steps)]
        for run in (source, replay)
    ]
    assert [each["kind"] for each in without[0]] == [each["kind"] for each in without[1]]
    results = [[step.result for step in only(run.steps, ToolResult)] for run in (source, replay)]
    assert results[0] == results[1]


async def test_a_call_that_cannot_be_undone_is_not_made_unless_it_is_named() -> None:
    stage = Stage()
    source = await stage.play([ONE, "Done."])
    for tools in ({}, {"*": answers("live")}, {"*": answers("recorded", "live")}):
        replay = await stage.replay(source, "rerun", [TWO, "Done."], tools=tools)
        assert ended(replay) == (RunStatus.FAILED, "tool-not-recorded")
        assert replay.world.acts == {}
        assert len(replay.model.requests) == 1
    named = await stage.replay(
        source, "rerun", [TWO, "Done."], tools={"irreversible": answers("recorded", "live")}
    )
    assert ended(named) == (RunStatus.COMPLETED, None)
    assert named.world.of("irreversible") == [f"{named.key.run_id}:call00002"]


async def test_a_call_that_changes_something_needs_to_be_wished_for() -> None:
    stage = Stage()
    source = await stage.play([ONE, "Done."])
    unwished = await stage.replay(source, "rerun", [THREE, "Done."])
    assert ended(unwished) == (RunStatus.FAILED, "tool-not-recorded")
    assert unwished.world.acts == {}
    wished = await stage.replay(source, "rerun", [THREE, "Done."], tools={"*": answers("recorded", "live")})
    assert ended(wished) == (RunStatus.COMPLETED, None)
    assert wished.world.of("idempotent") == [f"{wished.key.run_id}:call00003"]


async def test_a_miss_may_be_told_to_the_model_instead() -> None:
    stage = Stage()
    source = await stage.play([ONE, "Done."])
    replay = await stage.replay(source, "rerun", [TWO, "Done."], tools={"*": answers("recorded", "error")})
    assert ended(replay) == (RunStatus.COMPLETED, None)
    assert "has no answer to this call of irreversible" in str(replay.model.requests[1].messages[-1])


async def test_a_static_answer_stands_for_every_call() -> None:
    stage = Stage()
    source = await stage.play([ONE, "Done."])
    tools = {"irreversible": answers("static", static={"sent": True})}
    replay = await stage.replay(source, "rerun", [TWO, TWO, "Done."], tools=tools)
    assert ended(replay) == (RunStatus.COMPLETED, None)
    assert [step.result for step in only(replay.steps, ToolResult)] == [{"sent": True}] * 2
    assert replay.world.acts == {}


async def test_each_recorded_answer_is_given_once() -> None:
    stage = Stage()
    source = await stage.play([ONE, "Done."])
    twice = [call("pure", '{"value": 1}'), call("pure", '{"value":1}')]
    replay = await stage.replay(source, "rerun", [twice, "Done."])
    assert ended(replay) == (RunStatus.COMPLETED, None)
    assert [step.copied_from for step in only(replay.steps, ToolResult)] == [5, None]
    assert len(replay.world.of("pure")) == 1


async def test_a_person_is_asked_about_the_calls_that_are_made_and_no_others() -> None:
    stage = Stage()
    careful = (tool_spec("irreversible", Effect.IRREVERSIBLE).model_copy(update={"needs_approval": True}),)
    source = await stage.play([TWO, "Done."])
    twice = [*TWO, call("irreversible", '{"value": 2}', call_id="call00009")]
    replay = await stage.replay(
        source,
        "rerun",
        [twice, "Done."],
        snapshot={"tools": careful},
        tools={"irreversible": answers("recorded", "live")},
    )
    [asked] = only(replay.steps, ApprovalRequested)
    assert asked.call_id == "call00009"
    assert only(replay.steps, RunWaiting)[0].reason == "approval"
    assert replay.world.acts == {}
    assert len(only(replay.steps, ToolCall)) == 1


@pytest.mark.parametrize("in_flight", list(InFlight))
@pytest.mark.parametrize("fork_step", [8, 9])
def test_a_crash_at_any_await_of_a_fork_changes_nothing(in_flight: InFlight, fork_step: int) -> None:
    async def replay(source: Played, stage: Stage, crashes: list[tuple[int, InFlight]]) -> Played:
        plan: dict[str, Any] = {"fork_step": fork_step, "tools": {"idempotent": answers("live")}}
        return await stage.replay(source, "fork", SOURCE, crashes=crashes, **plan)

    async def tell() -> None:
        stage = Stage()
        source = await stage.play(SOURCE)
        undisturbed = await replay(source, stage, [])
        for dies_at in range(len(undisturbed.cluster.processes[0].points)):
            story = await replay(source, stage, [(dies_at, in_flight)])
            assert ended(story) == (RunStatus.COMPLETED, None)
            assert conversation(story.steps) == conversation(undisturbed.steps), f"died at {dies_at}"
            copied = [getattr(step, "copied_from", None) for step in story.steps]
            assert sorted(filter(None, copied)) == [2, 3, 4, 5, 6, 7, 8, 9][: fork_step - 1]

    run_alone(tell())


@pytest.mark.parametrize("in_flight", list(InFlight))
def test_a_crash_at_any_await_of_a_rehearsal_gives_one_verdict(in_flight: InFlight) -> None:
    async def tell() -> None:
        stage = Stage()
        source = await stage.play(SOURCE)
        points = (await stage.replay(source, "verify")).cluster.processes[0].points
        for dies_at in range(len(points)):
            assert verdict(await stage.replay(source, "verify", crashes=[(dies_at, in_flight)])).equal

    run_alone(tell())


async def test_usage_of_copied_answers_counts_nowhere() -> None:
    stage = Stage()
    source = await stage.play(SOURCE)
    replay = await stage.replay(source, "fork", ["Never."], fork_step=11)
    state = fold(decode_steps(encode_steps(replay.steps)))
    assert state.model_calls == 1
    assert state.usage == only(replay.steps, AgentResponse)[0].model_call.usage


async def test_a_replay_hands_over_as_its_source_did_and_can_be_rehearsed() -> None:
    stage = Stage()
    other = AgentSnapshot(ref=AgentRef(name="other"), model="mistral-small-latest", tools=ALL_TOOLS[:1])
    settings: dict[str, Any] = {"agent": "other", "version": 1}
    fields: dict[str, Any] = {"effect": Effect.PURE, "source": "handoff", "settings": settings}
    handover = tool_spec("handoff_to_other").model_copy(update=fields)
    script: Sequence[Answer] = [[call("handoff_to_other", "{}", call_id="call00009")], ONE, "Done."]
    source = await stage.play(script, tools=(*ALL_TOOLS, handover), agents=(other,))
    for replay in (
        await stage.replay(source, "rerun", script),
        await stage.replay(source, "fork", script, fork_step=3),
    ):
        assert ended(replay) == (RunStatus.COMPLETED, None)
        assert len(only(replay.steps, AgentChanged)) == 1
        assert verdict(await stage.replay(replay, "verify")).equal


FORGERIES: dict[str, Callable[[Step], Step]] = {
    "copies in a run that is no replay": lambda step: (
        step.model_copy(update={"copied_from": step.seq}) if isinstance(step, ConversationStep) else step
    ),
    "an answer that is no copy": lambda step: (
        step.model_copy(update={"copied_from": step.seq}) if isinstance(step, AgentResponse) else step
    ),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
async def test_what_calls_itself_a_copy_is_not_believed(forge: Callable[[Step], Step]) -> None:
    source = await Stage().play(SOURCE)
    means = Means(source.model, counting_tools(World()), now)
    outcome = await Rehearsal([forge(step) for step in source.steps], means).play()
    assert outcome.divergence is not None
    assert (outcome.divergence.cause, outcome.divergence.path) == ("code-version", "/copied_from")


async def test_a_fork_has_no_copies_behind_its_first_own_step() -> None:
    stage = Stage()
    fork = await stage.replay(await stage.play(SOURCE), "fork", SOURCE, fork_step=5)
    means = Means(fork.model, counting_tools(World()), now)
    forged = [
        step.model_copy(update={"copied_from": 4}) if isinstance(step, AgentThought | AgentResponse) else step
        for step in fork.steps
    ]
    outcome = await Rehearsal(forged, means).play()
    assert outcome.divergence is not None
    assert outcome.divergence.path == "/copied_from"


@pytest.mark.parametrize("length", [2, 5, 8, 12])
async def test_a_log_that_was_cut_is_no_record(length: int) -> None:
    source = await Stage().play(SOURCE)
    means = Means(source.model, counting_tools(World()), now)
    outcome = await Rehearsal(source.steps[:length], means, must_end=True).play()
    assert outcome.divergence is not None
    assert outcome.divergence.step == length - 1
    assert "ends in the middle" in outcome.divergence.diff
