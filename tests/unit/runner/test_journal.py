"""The journal: what is recorded reaches the log once and in order, and a claim that lost is told so."""

from typing import Any, cast

import pytest

from services.runner.journal import Fenced, Journal
from shared.errors import Unavailable
from shared.run_log import RunLog
from shared.steps import AgentThought, CancelRequested, MemorySnapshot, ToolCall, UserRequest
from tests.support.memory_log import MemoryLog
from tests.support.runs import Bench, bench, kinds
from tests.support.steps import call, make, model_call, only

NOTE = (UserRequest, {"content": "hello"})


async def journal_of(run: Bench, writer: str) -> Journal:
    log = cast("RunLog", MemoryLog(run.broker, writer))
    journal = Journal(log, run.key, await log.read(run.key, fresh=True))
    journal.claim(writer)
    return journal


@pytest.fixture
async def run() -> Bench:
    made = bench("unused")
    await made.request()
    return made


async def test_what_comes_up_during_an_append_travels_in_the_next(run: Bench) -> None:
    journal = await journal_of(run, "a")
    for _ in range(20):
        journal.record(NOTE)
    await journal.commit()
    assert [step.seq for step in run.steps] == list(range(22))
    assert len(run.broker.messages[run.key]) < 4


async def test_of_two_claims_at_once_exactly_one_is_fenced(run: Bench) -> None:
    left, right = await journal_of(run, "a"), await journal_of(run, "b")
    await left.commit()
    with pytest.raises(Fenced):
        await right.commit()
    assert kinds(run.steps) == ["run-requested", "run-claimed"]


async def test_zombie_runner_cannot_append(run: Bench) -> None:
    zombie = await journal_of(run, "a")
    await zombie.commit()
    other = await journal_of(run, "b")
    await other.commit()
    zombie.record(NOTE)
    with pytest.raises(Fenced):
        await zombie.commit()
    other.record(NOTE)
    await other.commit()
    assert [step.writer for step in run.steps[1:]] == ["a", "b", "b"]


async def test_zombie_that_looks_at_the_log_learns_that_it_is_fenced(run: Bench) -> None:
    """A nudge reaches every runner, the one that lost the run too."""
    zombie = await journal_of(run, "a")
    await zombie.commit()
    other = await journal_of(run, "b")
    await other.commit()
    with pytest.raises(Fenced):
        await zombie.refresh()


async def test_facts_are_kept_behind_a_cancel_that_came_first(run: Bench) -> None:
    journal = await journal_of(run, "a")
    await journal.commit()
    await run.append(make(CancelRequested, run.key, 2, who="user"))
    calls = (call("pure", call_id="call00001"),)
    journal.record((AgentThought, {"tool_calls": calls, "model_call": model_call()}))
    journal.record(NOTE)
    await journal.commit()
    assert kinds(run.steps)[2:] == ["cancel-requested", "agent-thought", "user-request"]
    assert [step.seq for step in run.steps] == [0, 1, 2, 3, 4]
    assert journal.state.cancel is not None
    assert journal.state.next_seq == 5


async def test_what_the_memory_refers_to_moves_with_the_steps_behind_a_cancel(run: Bench) -> None:
    journal = await journal_of(run, "a")
    await journal.commit()
    await run.append(make(CancelRequested, run.key, 2, who="user"))
    memory = {
        "messages": [{"seq": 1, "kind": "run-claimed"}, {"seq": 2, "kind": "user-request"}],
        "notes": {},
    }
    journal.record(NOTE, (MemorySnapshot, {"memory": memory}))
    await journal.commit()
    [snapshot] = only(run.steps, MemorySnapshot)
    assert isinstance(snapshot.memory, dict)
    assert snapshot.memory["messages"] == [
        {"seq": 1, "kind": "run-claimed"},
        {"seq": 3, "kind": "user-request"},
    ]


class LostAcknowledgement(MemoryLog):
    """Stores the append, then another writer's; the sender hears only of a conflict."""

    def __init__(self, run: Bench, writer: str) -> None:
        super().__init__(run.broker, writer)
        self.run = run
        self.armed = False

    async def append(self, run: Any, sealed: Any, expected: int, **fields: Any) -> int:
        sequence = await super().append(run, sealed, expected)
        if not self.armed:
            return sequence
        self.armed = False
        await self.run.append(make(CancelRequested, run, len(self.run.steps), who="user"))
        return await super().append(run, sealed, expected)


@pytest.mark.parametrize(
    "value", [1.5, float("nan"), "text with \x00 and \ud800", {"$body": "data", "bytes": 1}]
)
async def test_own_write_under_a_later_cancel_is_not_appended_again(run: Bench, value: Any) -> None:
    log = LostAcknowledgement(run, "a")
    journal = Journal(cast("RunLog", log), run.key, await log.read(run.key))
    journal.claim("a")
    await journal.commit()
    log.armed = True
    intent = {
        "call_id": "call00001",
        "tool": "pure",
        "arguments": {"value": value},
        "effect": "pure",
        "idempotency_key": "k",
    }
    journal.record((ToolCall, intent))
    await journal.commit()
    assert kinds(run.steps) == ["run-requested", "run-claimed", "tool-call", "cancel-requested"]
    journal.record(NOTE)
    await journal.commit()
    assert [step.seq for step in run.steps] == [0, 1, 2, 3, 4]


class Broken(MemoryLog):
    async def append(self, *_: Any, **__: Any) -> int:
        raise Unavailable("the broker is away")


async def test_a_failed_append_is_told_by_the_next_record_and_by_every_commit(run: Bench) -> None:
    heard: list[bool] = []
    log = cast("RunLog", Broken(run.broker, "a"))
    journal = Journal(log, run.key, await log.read(run.key), interrupt=lambda: heard.append(True))
    journal.claim("a")
    for _ in range(2):
        with pytest.raises(Unavailable):
            await journal.commit()
    with pytest.raises(Unavailable):
        journal.record(NOTE)
    assert heard == [True]


async def test_an_abandoned_journal_writes_nothing_more(run: Bench) -> None:
    journal = await journal_of(run, "a")
    await journal.commit()
    journal.record(NOTE)
    journal.abandon()
    other = await journal_of(run, "b")
    await other.commit()
    assert only(run.steps, UserRequest) == []
    assert kinds(run.steps) == ["run-requested", "run-claimed", "run-claimed"]


async def test_a_second_life_of_the_same_process_is_not_fenced_by_its_first(run: Bench) -> None:
    first = await journal_of(run, "a")
    await first.commit()
    second = await journal_of(run, "a")
    await second.commit()
    assert second.attempt == 2
    assert kinds(run.steps) == ["run-requested", "run-claimed", "run-claimed"]
