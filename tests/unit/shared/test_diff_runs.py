"""Two runs compared as a whole: every step that counts stands once in the result, and nothing else does."""

import random
from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from itertools import count
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from shared.diff import RunDiff, diff_runs
from shared.diff.models import DifferentStep, EqualSteps, Item
from shared.diff.units import FIELDS
from shared.run_state import LogGap
from shared.steps import (
    AgentRef,
    AgentResponse,
    AgentSnapshot,
    AgentThought,
    ApprovalRequested,
    ApprovalResolved,
    Artifact,
    BodyRef,
    Failure,
    Message,
    Parameters,
    RunFinished,
    Step,
    ToolCall,
    Usage,
    UserRequest,
)
from shared.subjects import RunKey
from tests.support.run_samples import runs, whole_run
from tests.support.steps import AT, call, claimed, make, model_call, new_key, requested, result, tool_spec

KEY = new_key()


class Log:
    """The steps of a run, written as a runner does."""

    def __init__(self, key: RunKey = KEY, **request: Any) -> None:
        self.key = key
        self.steps: list[Step] = [requested(key, **request)]
        self._calls = count(1)

    def add(self, kind: type[Any], **fields: Any) -> "Log":
        self.steps.append(make(kind, self.key, len(self.steps), **fields))
        return self

    def begin(self, content: str = "What is 5 + 10?") -> "Log":
        self.steps.append(claimed(self.key, 1))
        return self.add(UserRequest, content=content)

    def ask(self, *tools: tuple[str, Any], content: str = "Let me see.") -> list[str]:
        """A thought that asks for these calls; their ids."""
        ids = [f"{self.key.run_id[-4:]}{next(self._calls):05}" for _ in tools]
        calls = tuple(
            call(tool, f'{{"value": {value}}}', call_id)
            for (tool, value), call_id in zip(tools, ids, strict=True)
        )
        self.add(AgentThought, content=content, tool_calls=calls, model_call=model_call(latency_ms=100))
        return ids

    def intend(self, tool: str, value: Any, call_id: str) -> "Log":
        fields = {"call_id": call_id, "tool": tool, "arguments": {"value": value}}
        return self.add(ToolCall, **fields, effect="pure", idempotency_key=f"{self.key.run_id}:{call_id}")

    def settle(self, tool: str, call_id: str, value: Any = "done", **fields: Any) -> "Log":
        self.steps.append(result(self.key, len(self.steps), value, call_id=call_id, tool=tool, **fields))
        return self

    def use(self, tool: str, value: Any, outcome: Any = "done", content: str = "Let me see.") -> "Log":
        """A round of one call."""
        [call_id] = self.ask((tool, value), content=content)
        return self.intend(tool, value, call_id).settle(tool, call_id, outcome)

    def end(self, content: Any = "The result is 15.") -> list[Step]:
        self.add(AgentResponse, content=content, model_call=model_call())
        return self.add(RunFinished, status="completed").steps


def seqs(items: Sequence[Item], side: str, counted: Sequence[int]) -> Iterator[list[int]]:
    """The seqs of each item, those of a stretch by its spans."""
    for item in items:
        if isinstance(item, DifferentStep):
            yield list(getattr(item, side))
            continue
        spans = getattr(item, side)
        yield [seq for first, last in spans for seq in counted if first <= seq <= last]


def different(diff: RunDiff) -> list[tuple[str, str, str | None]]:
    return [(item.state, item.kind, item.tool) for item in diff.items if isinstance(item, DifferentStep)]


def changed(diff: RunDiff) -> dict[str, tuple[JsonValue, JsonValue]]:
    """The values that differ in the one step that does, by their places."""
    [item] = [item for item in diff.items if isinstance(item, DifferentStep)]
    return {change.path: (change.left, change.right) for change in item.changes}


@given(runs())
def test_a_run_does_not_differ_from_itself(steps: list[Step]) -> None:
    diff = diff_runs(steps, steps)
    assert diff.equal
    assert diff.first_difference is None
    assert not diff.setup
    assert all(isinstance(item, EqualSteps) for item in diff.items)
    assert set(diff.delta.usage.values()) == {0}


@given(runs(), runs(), st.booleans())
def test_every_step_that_counts_stands_once_in_the_result_and_in_order(
    left: list[Step], right: list[Step], swap: bool
) -> None:
    if swap:
        left, right = right, left
    diff = diff_runs(left, right)
    for side, steps in (("left", left), ("right", right)):
        counted = [step.seq for step in steps if step.kind in FIELDS]
        by_item = list(seqs(diff.items, side, counted))
        assert sorted(seq for item in by_item for seq in item) == counted
        begins = [item[0] for item in by_item if item]
        assert begins == sorted(begins)
    counts = diff.counts
    assert counts.equal == sum(item.count for item in diff.items if isinstance(item, EqualSteps))
    assert {item.state for item in diff.items} == {name for name, each in dict(counts).items() if each}
    assert RunDiff.model_validate_json(diff.model_dump_json()) == diff


@given(runs(), runs())
def test_the_other_way_round_what_was_removed_is_added(left: list[Step], right: list[Step]) -> None:
    there, back = diff_runs(left, right), diff_runs(right, left)
    assert there.counts.equal + there.counts.changed + there.counts.removed == (
        back.counts.equal + back.counts.changed + back.counts.added
    )
    assert there.delta.steps == -back.delta.steps
    assert there.equal == back.equal


def test_the_same_conversation_of_another_run_is_equal_whatever_it_cost() -> None:
    left = whole_run(new_key())
    right = [
        step.model_copy(update={"at": step.at + timedelta(days=1), "writer": "other", "attempt": 3})
        for step in whole_run(new_key())
    ]
    diff = diff_runs(left, right, left_usd=Decimal("0.1"), right_usd=Decimal("0.0000001"))
    assert diff.equal
    assert diff.complete
    assert diff.delta.cost_usd == Decimal("-0.0999999")
    assert diff.model_dump(mode="json")["right"]["totals"]["cost_usd"] == "0.0000001"


def test_a_call_more_is_added_and_the_rest_is_one_stretch_each() -> None:
    left = Log().begin().use("calculator", 1).end()
    right = Log(new_key()).begin().use("calculator", 1).use("search", 2, content="And again.").end()
    diff = diff_runs(left, right)
    assert different(diff) == [("added", "agent-thought", None), ("added", "tool-call", "search")]
    first, _, call_item, last = diff.items
    assert isinstance(call_item, DifferentStep)
    assert (first.left, first.right) == (((2, 5),), ((2, 5),))
    assert (last.left, last.right) == (((6, 7),), ((9, 10),))
    assert diff.first_difference is not None
    assert diff.first_difference.model_dump() == {"item": 1, "left_seq": None, "right_seq": 6}
    shown = {change.path: change.right for change in call_item.changes}
    assert shown == {"/arguments": {"value": 2}, "/status": "ok", "/result": "done"}
    assert (diff.delta.rounds, diff.delta.tool_calls, diff.delta.model_calls) == (1, 1, 1)
    assert (diff.delta.total_tokens, diff.delta.model_latency_ms) == (15, 100)


def test_a_call_with_other_arguments_is_the_same_call_changed() -> None:
    left = Log().begin().use("calculator", 1, {"n": 1}).end()
    right = Log(new_key()).begin().use("calculator", 2, {"n": 2}).end()
    diff = diff_runs(left, right)
    assert different(diff) == [("changed", "tool-call", "calculator")]
    assert changed(diff) == {"/arguments/value": (1, 2), "/result/n": (1, 2)}
    assert diff.counts.model_dump() == {"equal": 4, "changed": 1, "removed": 0, "added": 0}


def test_a_changed_answer_is_told_by_word_and_by_line() -> None:
    diff = diff_runs(Log().begin().end(), Log(new_key()).begin().end("The result is sixteen."))
    [item] = [item for item in diff.items if isinstance(item, DifferentStep)]
    [change] = item.changes
    assert change.text is not None
    assert change.text.segments == (
        ("equal", "The result is "),
        ("removed", "15"),
        ("added", "sixteen"),
        ("equal", "."),
    )
    assert change.text.unified[-2:] == ("-The result is 15.", "+The result is sixteen.")
    assert item.kind == "agent-response"


def parallel(key: RunKey, answered: Sequence[int]) -> list[Step]:
    """Three calls at once, answered in that order; the second one with its own number."""
    log = Log(key).begin()
    tools = [("calculator", 1), ("search", 2), ("calculator", 3)]
    ids = log.ask(*tools)
    for (tool, value), call_id in zip(tools, ids, strict=True):
        log.intend(tool, value, call_id)
    for place in answered:
        log.settle(tools[place][0], ids[place], value=place)
    return log.end()


def test_it_does_not_matter_which_of_several_calls_was_answered_first() -> None:
    assert diff_runs(parallel(KEY, (0, 1, 2)), parallel(new_key(), (2, 0, 1))).equal


def test_a_stretch_that_is_not_in_one_piece_has_several_spans() -> None:
    left, right = parallel(KEY, (0, 1, 2)), parallel(new_key(), (0, 1, 2))
    right[8] = right[8].model_copy(update={"result": "other"})
    diff = diff_runs(left, right)
    before, other, behind = diff.items
    assert isinstance(other, DifferentStep)
    assert other.left == (5, 8)
    assert before.left == ((2, 4), (7, 7))
    assert behind.left == ((6, 6), (9, 11))


def test_calls_in_another_order_are_one_that_is_the_same_and_one_that_moved() -> None:
    logs = []
    for tools in ([("a", 1), ("b", 2)], [("b", 2), ("a", 1)]):
        log = Log(new_key()).begin()
        for (tool, value), call_id in zip(tools, log.ask(*tools), strict=True):
            log.intend(tool, value, call_id).settle(tool, call_id)
        logs.append(log.end())
    assert different(diff_runs(*logs)) == [("removed", "tool-call", "a"), ("added", "tool-call", "a")]


def test_unrelated_runs_are_compared_as_any_others() -> None:
    left = (
        Log(prompt="Bonjour ! Ça va ?", model="mistral-small-latest")
        .begin("Bonjour ! Ça va ?")
        .end("Très bien 🙂")
    )
    right = Log(new_key()).begin().use("calculator", 1).use("search", 2).end()
    diff = diff_runs(left, right)
    assert [change.path for change in diff.setup] == ["/model"]
    assert diff.counts.added == 4
    assert diff.counts.changed == 2
    assert "Très " in diff.model_dump_json()
    assert not diff.equal


def test_a_run_that_waits_in_the_queue_is_compared_by_its_prompt() -> None:
    diff = diff_runs([requested(KEY, prompt="one two")], Log(new_key(), prompt="one three").begin().end())
    assert [change.path for change in diff.setup] == ["/prompt"]
    assert diff.counts.model_dump() == {"equal": 0, "changed": 0, "removed": 0, "added": 3}
    assert (diff.complete, diff.left.status, diff.left.totals.duration_ms) == (False, "queued", None)
    assert diff.delta.duration_ms is None


def test_a_run_that_failed_shows_how() -> None:
    failure = Failure(type="model-error", message="the provider said no", retryable=True)
    left = Log().begin().add(RunFinished, status="failed", error=failure).steps
    diff = diff_runs(left, Log(new_key()).begin().end())
    assert different(diff) == [("added", "agent-response", None), ("changed", "run-finished", None)]
    finished = diff.items[-1]
    assert isinstance(finished, DifferentStep)
    assert [(change.path, change.state) for change in finished.changes] == [
        ("/status", "changed"),
        ("/error", "removed"),
    ]
    assert finished.changes[1].left == {
        "type": "model-error",
        "message": "the provider said no",
        "retryable": True,
    }


def test_a_denied_call_is_the_call_that_was_made_with_another_outcome() -> None:
    logs = []
    for decision in ("approved", "denied"):
        log = Log(new_key()).begin()
        [call_id] = log.ask(("mail", 1))
        asked = {"call_id": call_id, "arguments_hash": "h"}
        log.add(ApprovalRequested, tool="mail", arguments={"value": 1}, **asked)
        log.add(ApprovalResolved, decision=decision, who="somebody", **asked)
        if decision == "approved":
            log.intend("mail", 1, call_id).settle("mail", call_id)
        else:
            log.settle("mail", call_id, "The call was denied.", status="denied")
        logs.append(log.end())
    diff = diff_runs(*logs)
    assert different(diff) == [("changed", "approval-resolved", "mail"), ("changed", "tool-call", "mail")]
    call_item = diff.items[2]
    assert isinstance(call_item, DifferentStep)
    assert (call_item.left, call_item.right) == ((6, 7), (6,))
    assert [change.path for change in call_item.changes] == ["/status", "/result"]


def test_a_call_that_was_never_made_is_told_with_the_thought() -> None:
    left, right = Log().begin(), Log(new_key()).begin().use("calculator", 1).end()
    left.ask(("calculator", 1))
    diff = diff_runs(left.steps, right)
    thought = diff.items[1]
    assert isinstance(thought, DifferentStep)
    assert [(change.path, change.left) for change in thought.changes] == [
        ("/tool_calls", [{"tool": "calculator", "arguments": {"value": 1}}])
    ]


def test_arguments_that_are_no_json_are_compared_as_text() -> None:
    left, right = Log().begin(), Log(new_key()).begin()
    for log, arguments in ((left, "{broken one"), (right, "{broken two")):
        log.add(AgentThought, tool_calls=(call("t", arguments, "c1"),), model_call=model_call())
    [item] = [item for item in diff_runs(left.steps, right.steps).items if isinstance(item, DifferentStep)]
    assert item.changes[0].path == "/tool_calls/0/arguments"
    assert item.changes[0].text is not None


def test_a_value_known_by_its_hash_is_compared_by_it() -> None:
    one, other = BodyRef(sha256="a" * 64, size=70_000), BodyRef(sha256="b" * 64, size=70_001)
    assert diff_runs(Log().begin().end(one), Log(new_key()).begin().end(one)).equal
    diff = diff_runs(Log().begin().end(one), Log(new_key()).begin().end(other))
    [item] = [item for item in diff.items if isinstance(item, DifferentStep)]
    [change] = item.changes
    assert (change.left, change.too_large) == ({"$body": "a" * 64, "bytes": 70_000}, True)


def test_the_files_of_a_tool_are_compared_by_their_content() -> None:
    logs = []
    for data in ("AAAA", "BBBB"):
        log = Log(new_key()).begin()
        [call_id] = log.ask(("speak", 1))
        artifact = Artifact(name="a.mp3", media_type="audio/mpeg", size=3, data=data)
        logs.append(log.intend("speak", 1, call_id).settle("speak", call_id, artifacts=(artifact,)).end())
    paths = changed(diff_runs(*logs))
    assert list(paths) == ["/artifacts/0/data"]
    assert all(str(value).startswith("sha256:") for value in paths["/artifacts/0/data"])


def test_the_setup_is_compared_by_field_and_tools_and_agents_by_name() -> None:
    helper = AgentSnapshot(ref=AgentRef(name="b", version=1), model="m", tools=(tool_spec("x"),))
    left: dict[str, Any] = {
        "instructions": "Answer briefly.",
        "parameters": Parameters(temperature=0.6),
        "tools": (tool_spec("a"), tool_spec("b")),
        "agents": (helper,),
        "messages": (Message(role="user", content="Hello there."),),
        "user_id": "one",
        "metadata": {"team": "blue"},
    }
    right: dict[str, Any] = {
        **left,
        "instructions": "Answer at length.",
        "parameters": Parameters(temperature=0.0, random_seed=7),
        "tools": (tool_spec("b"), tool_spec("a").model_copy(update={"timeout_s": 9.0}), tool_spec("c")),
        "agents": (helper.model_copy(update={"model": "n", "tools": ()}),),
        "max_rounds": 9,
        "user_id": "two",
        "metadata": {},
    }
    diff = diff_runs(Log(**left).begin().end(), Log(new_key(), **right).begin().end())
    assert not diff.equal
    assert all(isinstance(item, EqualSteps) for item in diff.items)
    assert {
        change.path: (change.left, change.right) for change in diff.setup if change.state == "changed"
    } == {
        "/instructions": (None, None),
        "/parameters/temperature": (0.6, 0.0),
        "/parameters/random_seed": (None, 7),
        "/tools/a/timeout_s": (30.0, 9.0),
        "/agents/b/model": ("m", "n"),
        "/max_rounds": (5, 9),
    }
    assert {change.path: change.state for change in diff.setup if change.state != "changed"} == {
        "/tools/c": "added",
        "/agents/b/tools/x": "removed",
    }


def test_answers_that_a_replay_took_over_count_in_its_totals() -> None:
    steps = Log().begin().use("calculator", 1).end()
    copied = [
        step.model_copy(update={"copied_from": step.seq})
        if "copied_from" in type(step).model_fields
        else step
        for step in steps
    ]
    diff = diff_runs(steps, copied)
    assert diff.equal
    assert diff.right.totals.total_tokens == 30
    assert diff.right.totals.usage == dict(Usage(input=20, output=10))


def test_durations_are_by_the_clock_of_each_run() -> None:
    left, right = whole_run(KEY), whole_run(new_key())
    right[-1] = right[-1].model_copy(update={"at": AT + timedelta(seconds=10)})
    diff = diff_runs(left, right)
    assert (diff.left.totals.duration_ms, diff.delta.duration_ms) == (8000, 1000)


@pytest.mark.parametrize("gone", [0, 3])
def test_a_run_with_a_step_missing_is_not_compared(gone: int) -> None:
    steps = whole_run(KEY)
    with pytest.raises(LogGap):
        diff_runs(steps, [step for step in steps if step.seq != gone])


def test_no_steps_at_all_are_no_run() -> None:
    with pytest.raises(LogGap, match="step 0"):
        diff_runs([], whole_run(KEY))


def test_of_a_step_with_many_changes_the_first_are_told() -> None:
    left = Log().begin().use("calculator", 1, {str(n): 1 for n in range(500)}).end()
    right = Log(new_key()).begin().use("calculator", 1, {str(n): 2 for n in range(500)}).end()
    [item] = [item for item in diff_runs(left, right).items if isinstance(item, DifferentStep)]
    assert (len(item.changes), item.more_changes) == (200, True)


def long_run(seed: int, steps: int = 2000) -> list[Step]:
    chosen, log = random.Random(seed), Log(new_key()).begin()
    while len(log.steps) < steps - 2:
        words = " ".join(chosen.choices(["the", "sum", "of", "all", "rows", "is", "not", "known"], k=40))
        log.use(chosen.choice(["calculator", "search"]), chosen.randrange(50), words, content=words)
    return log.end()


@pytest.mark.parametrize("other", [1, 2])
def test_two_runs_of_two_thousand_steps_are_compared_in_seconds(other: int) -> None:
    left, right = long_run(1), long_run(other)
    right[1001] = right[1001].model_copy(update={"result": "something else"})
    started = perf_counter()
    diff = diff_runs(left, right)
    assert perf_counter() - started < 3
    assert not diff.equal
