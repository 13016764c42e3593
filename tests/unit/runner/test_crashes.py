"""A crash at every await of the shell: whoever takes over brings the run to the same end."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.runner.model import Live, ModelReply
from services.runner.tools.registry import ToolRegistry
from shared.model_request import ModelRequest
from shared.run_state import fold
from shared.steps import Effect, OutcomeResolved, Parameters, Rates, RunStatus, RunWaiting
from shared.subjects import RunKey
from tests.support.memory_log import MemoryLog
from tests.support.memory_runner import Cluster, Hook, InFlight
from tests.support.models import Answer, ScriptedModel, reply_of
from tests.support.steps import call, check_history, conversation, make, new_key, requested, tool_spec
from tests.support.tools import World, counting_tools
from tests.support.waiting import run_alone

pytestmark = pytest.mark.usefixtures("every_run_can_be_rehearsed")

SAFE: Sequence[Answer] = [
    [call("pure", call_id="call00001")],
    [call("pure", call_id="call00002"), call("idempotent", call_id="call00003")],
    [call("idempotent", '{"value": "no number"}', call_id="call00004")],
    "The answer is 45.",
]
RISKY: Sequence[Answer] = [
    [call("irreversible", call_id="call00001"), call("irreversible", call_id="call00002")],
    [call("pure", call_id="call00003")],
    "Done.",
]
MOST_POINTS = 80


class Story:
    """One run through as many processes as it takes, and what it left behind."""

    def __init__(self, script: Sequence[Answer], **snapshot: Any) -> None:
        self.snapshot = snapshot
        self.world = World()
        self.model = ScriptedModel(script)
        self.cluster = Cluster(self.model, self._tools)
        self.key = new_key()
        self.questions = 0

    def _tools(self, hook: Callable[[str], Hook]) -> ToolRegistry:
        return counting_tools(self.world, before=hook("tool: act"), after=hook("tool: done"))

    async def tell(self, crashes: list[tuple[int, InFlight]]) -> "Story":
        specs = tuple(tool_spec(effect.value, effect) for effect in Effect)
        door = MemoryLog(self.cluster.broker, "gateway")
        await door.request(self.key, door.seal([requested(self.key, tools=specs, **self.snapshot)]))
        assert await self.cluster.drive(self.key, crashes) == "ack"
        while (waiting := fold(self.cluster.broker.steps(self.key)).waiting) is not None:
            await self._find_out(waiting, door)
            assert await self.cluster.drive(self.key, []) == "ack"
        self.steps = self.cluster.broker.steps(self.key)
        self.state = check_history(self.steps)
        return self

    async def _find_out(self, waiting: RunWaiting, door: MemoryLog) -> None:
        """A person looks what became of the call, and says so."""
        assert waiting.reason == "unknown-outcome"
        self.questions += 1
        has_happened = f"{self.key.run_id}:{waiting.call_id}" in self.world.of("irreversible")
        decision = "happened" if has_happened else "did-not-happen"
        state = fold(self.cluster.broker.steps(self.key))
        fields = {"call_id": waiting.call_id, "decision": decision, "who": "user", "result": {"doubled": 2}}
        step = make(OutcomeResolved, self.key, state.next_seq, attempt=state.attempt, **fields)
        await door.append(self.key, door.seal([step]), self.cluster.broker.last(self.key))

    @property
    def status(self) -> RunStatus:
        assert self.state.finished is not None
        return self.state.finished.status


def told(script: Sequence[Answer], crashes: list[tuple[int, InFlight]], **snapshot: Any) -> Story:
    return run_alone(Story(script, **snapshot).tell(crashes))


def test_an_undisturbed_run_passes_every_kind_of_point() -> None:
    story = told(SAFE, [])
    assert story.status == RunStatus.COMPLETED
    points = story.cluster.processes[0].points
    assert {"append: send", "append: store", "append: answer", "model: ask", "tool: act"} <= set(points)
    assert len(points) < MOST_POINTS
    assert len(story.model.requests) == len(SAFE)


@pytest.mark.parametrize("in_flight", list(InFlight))
def test_a_crash_at_any_await_changes_nothing_about_the_result(in_flight: InFlight) -> None:
    undisturbed = told(SAFE, [])
    points = len(undisturbed.cluster.processes[0].points)
    for dies_at in range(points):
        story = told(SAFE, [(dies_at, in_flight)])
        where = f"died at {dies_at}: {story.cluster.processes[0].points[-1]}"
        assert story.status == RunStatus.COMPLETED, where
        assert conversation(story.steps) == conversation(undisturbed.steps), where
        assert story.state.usage == undisturbed.state.usage, where
        keys = _keys(story.key)
        assert set(story.world.of("pure")) == {keys[0], keys[1]}, where
        assert set(story.world.of("idempotent")) == {keys[2]}, where
        # The log may be one append behind the model: its answer and the call begun since are lost.
        assert len(story.model.requests) <= len(SAFE) + 2, where


@pytest.mark.parametrize("in_flight", list(InFlight))
def test_an_irreversible_tool_never_acts_twice_wherever_the_runner_dies(in_flight: InFlight) -> None:
    points = len(told(RISKY, []).cluster.processes[0].points)
    questions = set()
    for dies_at in range(points):
        story = told(RISKY, [(dies_at, in_flight)])
        acts = story.world.of("irreversible")
        where = f"died at {dies_at}: {story.cluster.processes[0].points[-1]}"
        assert acts == list(_keys(story.key)[:2]), where
        assert story.status == RunStatus.COMPLETED, where
        questions.add(story.questions)
    assert questions == {0, 1}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from(list(InFlight))), max_size=6),
    st.sampled_from([SAFE, RISKY]),
)
def test_crash_after_crash_still_ends_in_one_gap_free_log(
    crashes: list[tuple[int, InFlight]], script: Sequence[Answer]
) -> None:
    story = told(script, crashes)
    acts = story.world.of("irreversible")
    assert len(acts) == len(set(acts))
    assert story.status == RunStatus.COMPLETED
    if script is SAFE:
        assert conversation(story.steps) == conversation(told(SAFE, []).steps)


@pytest.mark.parametrize("in_flight", list(InFlight))
def test_what_was_spent_is_never_more_than_the_ledger_says_wherever_the_runner_dies(
    in_flight: InFlight,
) -> None:
    rates = Rates(input=Decimal(1), cached_input=Decimal(1), output=Decimal(100), reasoning=Decimal(100))
    snapshot = {
        "budget_usd": 0.1,
        "rates": {"mistral-large-latest": rates},
        "parameters": Parameters(max_tokens=10),
    }
    points = len(told(SAFE, [], **snapshot).cluster.processes[0].points)
    lost = set()
    for dies_at in range(points):
        story = told(SAFE, [(dies_at, in_flight)], **snapshot)
        where = f"died at {dies_at}: {story.cluster.processes[0].points[-1]}"
        ledger = story.state.ledger
        assert ledger is not None
        paid = sum(rates.amount(reply_of(request, "").usage) for request in story.model.requests)
        assert paid <= ledger.used <= ledger.cap, where
        assert ledger.reserved == {}, where
        lost.add(ledger.used > rates.amount(story.state.usage))
    assert lost == {True, False}


def test_a_run_that_kills_its_runners_fails_in_the_end() -> None:
    story = told(SAFE, [(8, InFlight.LANDS)] * 12)
    assert story.state.finished is not None
    assert story.state.finished.error is not None
    assert story.state.finished.error.type == "too-many-attempts"


def _keys(key: RunKey) -> tuple[str, ...]:
    return tuple(f"{key.run_id}:call0000{number}" for number in range(1, 5))


class Faulty:
    """Fails at once, before anything that the runner recorded can be on disk."""

    def __init__(self) -> None:
        self.asked = 0

    async def complete(self, request: ModelRequest, live: Live) -> ModelReply:
        self.asked += 1
        raise RuntimeError("a fault of the runner's own")


def test_a_run_on_which_the_runner_itself_fails_again_and_again_ends() -> None:
    story, model = Story([]), Faulty()
    story.cluster = Cluster(model, story._tools)
    state = run_alone(story.tell([])).state
    assert state.finished is not None
    assert state.finished.error is not None
    assert state.finished.error.type == "too-many-attempts"
    assert model.asked <= 11
