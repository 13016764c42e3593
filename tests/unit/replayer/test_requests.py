"""Step 0 of a run of a replay: its source's with the changes of its arm, and an id that follows from them."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from services.replayer.replay_runs import Planned, most_runs, samples
from services.replayer.requests import run_request
from shared.messages import Arm, Changes
from shared.steps import (
    AgentRef,
    AgentSnapshot,
    Edit,
    HistoryPart,
    Parameters,
    Rates,
    ReplayPlan,
    RunRequested,
    ToolAnswer,
)
from shared.subjects import RunKey
from tests.support.replayer import BASELINE, CANDIDATE, order
from tests.support.steps import new_key, requested, tool_spec

PLANNED = Planned(0, "replay", 3)
RATES = Rates(input=Decimal(1), cached_input=Decimal(1), output=Decimal(2), reasoning=Decimal(2))


def made(source: RunRequested, changes: Changes | None = None, **fields: Any) -> RunRequested:
    arm = Arm(name="replay", changes=changes or Changes())
    return run_request(order(source.run_id, **{"arms": (arm,), **fields}), PLANNED, source, "replayer-1")


@pytest.fixture
def source() -> RunRequested:
    return requested(
        new_key(),
        attempt=2,
        traceparent="00-1-2-01",
        session_id="s-1",
        group="g-1",
        user_id="ann",
        metadata={"team": "blue"},
        after_run_id=new_key().run_id,
        parent_run_id=new_key().run_id,
        parent_call_id="call00001",
        root_run_id=new_key().run_id,
        history=(HistoryPart(run_id=new_key().run_id, messages=[{"role": "user", "content": "hi"}]),),
        parameters=Parameters(temperature=0.6, max_tokens=100),
        tools=(tool_spec("calculator"),),
        rates={"mistral-large-latest": RATES},
        budget_usd=0.5,
    )


def test_without_changes_it_asks_for_what_its_source_asked_for(source: RunRequested) -> None:
    step = made(source)
    own = {"run_id", "seq", "at", "writer", "attempt", "traceparent", "session_id", "group"}
    own |= {"after_run_id", "parent_run_id", "parent_call_id", "root_run_id", "replay", "priority"}
    assert step.model_dump(exclude=own) == source.model_dump(exclude=own)
    alone = ("session_id", "group", "after_run_id", "parent_run_id", "parent_call_id", "root_run_id")
    assert [getattr(step, name) for name in alone] == [None] * 6
    assert (step.attempt, step.traceparent, step.writer) == (0, None, "replayer-1")


def test_only_what_is_changed_is_replaced(source: RunRequested) -> None:
    other = {"small": RATES}
    changes = Changes(
        model="mistral-small-latest",
        prompt="And 6 + 10?",
        parameters=Parameters(temperature=0.0),
        max_rounds=2,
        tools=(),
        rates=other,
    )
    step = made(source, changes)
    assert (step.model, step.prompt, step.max_rounds, step.tools) == (
        "mistral-small-latest",
        "And 6 + 10?",
        2,
        (),
    )
    assert step.parameters == Parameters(temperature=0.0, max_tokens=100)
    assert step.rates == {**source.rates, **other}
    assert (step.instructions, step.budget_usd) == (source.instructions, 0.5)


def test_another_agent_replaces_all_that_it_holds_and_the_other_changes_parts_of_it(
    source: RunRequested,
) -> None:
    agent = AgentSnapshot(
        ref=AgentRef(name="terse", version=4),
        model="mistral-medium-latest",
        instructions="Be brief.",
        parameters=Parameters(top_p=0.5),
    )
    step = made(source, Changes(agent=agent, model="mistral-small-latest"))
    assert (step.agent, step.instructions) == (agent.ref, "Be brief.")
    assert (step.model, step.parameters, step.tools) == (
        "mistral-small-latest",
        Parameters(top_p=0.5),
        (),
    )


def test_the_plan_says_whose_replay_it_is_and_where_answers_come_from(source: RunRequested) -> None:
    edit, tools = Edit(step=5, field="result", value=16), {"calculator": ToolAnswer(answer="live")}
    asked = order(source.run_id, mode="fork", tools=tools, arms=(Arm(name="replay", edits=(edit,)),))
    step = run_request(asked, Planned(0, "replay", 3, 5), source, "w")
    assert step.replay == ReplayPlan(
        mode="fork",
        source_run_id=source.run_id,
        replay_id=asked.replay_id,
        arm="replay",
        sample=3,
        fork_step=5,
        edits=(edit,),
        tools=tools,
    )


def test_the_search_for_the_step_to_blame_makes_forks(source: RunRequested) -> None:
    asked = order(source.run_id, mode="blame")
    step = run_request(asked, Planned(0, "replay", 0, 0), source, "w")
    assert step.replay is not None
    assert (step.replay.mode, step.replay.fork_step) == ("fork", 0)


@pytest.mark.parametrize(("samples", "priority"), [(1, "interactive"), (2, "batch")])
def test_a_replay_of_one_run_is_not_put_behind_those_of_people(
    source: RunRequested, samples: int, priority: str
) -> None:
    assert made(source, samples=samples).priority == priority


def test_ids_follow_from_the_order_alone_and_differ_in_all_else() -> None:
    asked = order(new_key().run_id, new_key().run_id, arms=(BASELINE, CANDIDATE), samples=50)
    ids = [run.run_id(asked) for run in samples(asked, ["baseline", "candidate"], range(100))]
    again = [run.run_id(asked) for run in samples(asked, ["baseline", "candidate"], range(100))]
    assert ids == again
    assert len(set(ids)) == 200 == most_runs(asked)
    assert {UUID(each).version for each in ids} == {7}
    accepted = RunKey("default", ids[0]).accepted_at
    assert abs((accepted - asked.at).total_seconds()) < 0.001
    forked = {Planned(0, "baseline", 0, step).run_id(asked) for step in (None, 0, 3)}
    assert len(forked) == 3


def test_in_every_arm_there_is_one_sample_of_each_source_before_the_next_of_any() -> None:
    asked = order(new_key().run_id, new_key().run_id, arms=(BASELINE, CANDIDATE), samples=2)
    numbered = [(run.place, run.sample) for run in samples(asked, ["baseline"], range(4))]
    assert numbered == [(0, 0), (1, 0), (0, 1), (1, 1)]
