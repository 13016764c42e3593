"""Budgets of runs and of trees of runs, held by runner processes that may be killed."""

import json
import signal
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shared.asked_runs import child_run_id
from shared.run_state import RunState, fold
from shared.steps import (
    AgentRef,
    AgentSnapshot,
    BudgetRaised,
    Parameters,
    Rates,
    RunStatus,
    SpendReserved,
    ToolCall,
    ToolResult,
)
from shared.subjects import RunKey
from tests.integration.test_waiting_runs import ASK, HELPER
from tests.support.runner_field import Field, field_at
from tests.support.steps import only
from tests.support.waiting import eventually

# An answer of the model has five tokens and may have ten: 0.005 USD, at most 0.01.
RATES = Rates(input=Decimal(0), cached_input=Decimal(0), output=Decimal(1000), reasoning=Decimal(1000))
ANSWER, MOST = Decimal("0.005"), Decimal("0.01")
PARAMETERS = Parameters(max_tokens=10)
MONEY: dict[str, Any] = {
    "rates": {"mistral-large-latest": RATES, HELPER.model: RATES},
    "parameters": PARAMETERS,
}


@pytest.fixture
async def field(nats_url: str, tmp_path: Path) -> AsyncIterator[Field]:
    async with field_at(nats_url, tmp_path) as field:
        yield field


async def state_of(field: Field, key: RunKey) -> RunState:
    return fold(await field.steps(key))


def used(state: RunState) -> Decimal:
    assert state.ledger is not None
    assert state.ledger.used <= state.ledger.cap
    return state.ledger.used


async def test_a_run_waits_when_its_budget_is_used_up_and_goes_on_with_a_higher_one(field: Field) -> None:
    await field.runner()
    key = await field.send_with({**MONEY, "budget_usd": 0.02}, rounds=4, tool="pure")
    waiting = await field.waiting(key)
    assert (waiting.reason, waiting.why.startswith("The next call of the model may cost")) == ("budget", True)
    assert used(await state_of(field, key)) == 3 * ANSWER
    assert len(field.notes("model")) == 3
    await field.append(key, BudgetRaised, budget_usd=0.03, who="user")
    assert (await field.finished(key)).status == RunStatus.COMPLETED
    assert used(await state_of(field, key)) == 5 * ANSWER
    assert len(field.notes("model")) == 5


async def test_looking_again_without_more_money_changes_nothing(field: Field) -> None:
    await field.runner()
    key = await field.send_with({**MONEY, "budget_usd": 0.009}, rounds=0)
    first = await field.waiting(key)
    await field.log.requeue(key, cause="resume")

    async def has_looked() -> bool:
        state = await state_of(field, key)
        return state.waiting is not None and state.waiting.seq > first.seq

    await eventually(has_looked)
    assert field.notes("model") == []


async def test_a_call_of_the_model_whose_runner_was_killed_counts_as_spent(field: Field) -> None:
    first = await field.runner()
    key = await field.send_with({**MONEY, "budget_usd": 0.02}, rounds=0, model_s=1.0)
    await eventually(lambda: field.notes("model"))
    first.signal(signal.SIGKILL)
    await field.runner()
    assert (await field.finished(key)).status == RunStatus.COMPLETED
    assert used(await state_of(field, key)) == MOST + ANSWER


def asking(of_usd: float, **limits: float) -> dict[str, Any]:
    helper = AgentSnapshot(
        ref=AgentRef(**HELPER.ref.model_dump()), model=HELPER.model, tools=HELPER.tools, parameters=PARAMETERS
    )
    tool = ASK.model_copy(update={"settings": {**ASK.settings, "limits": limits}})
    return {**MONEY, "budget_usd": of_usd, "tools": (tool,), "agents": (helper,)}


async def test_a_budget_goes_down_the_tree_and_what_is_left_comes_back(field: Field) -> None:
    first = await field.runner()
    plan = json.dumps({"name": "child", "rounds": 1, "tool": "pure", "tool_s": 0.5})
    snapshot = asking(0.05)
    key = await field.send_with(snapshot, tool="ask_helper", rounds=1, calls=2, arguments={"prompt": plan})
    await eventually(lambda: field.notes("act pure"))
    first.signal(signal.SIGKILL)
    await field.runner()
    assert (await field.finished(key)).status == RunStatus.COMPLETED
    steps = await field.steps(key)
    shares = [step.usd for step in only(steps, SpendReserved) if step.call_id is not None]
    assert shares == [Decimal("0.0225")] * 2
    children = [
        await state_of(field, RunKey(key.project, child_run_id(call))) for call in only(steps, ToolCall)
    ]
    assert [child.request.budget_usd for child in children if child.request] == [0.0225] * 2
    assert [result.spent_usd for result in only(steps, ToolResult)] == [used(child) for child in children]
    assert used(fold(steps)) == 2 * ANSWER + sum(used(child) for child in children)


async def test_a_run_that_was_asked_ends_with_its_share_and_its_asker_hears_of_it(field: Field) -> None:
    await field.runner()
    plan = json.dumps({"name": "child", "rounds": 9, "tool": "pure"})
    key = await field.send_with(
        asking(0.1, budget_usd=0.02), tool="ask_helper", rounds=1, arguments={"prompt": plan}
    )
    assert (await field.finished(key)).status == RunStatus.COMPLETED
    [result] = only(await field.steps(key), ToolResult)
    assert (result.status, result.spent_usd) == ("error", 3 * ANSWER)
    assert "of 0.02 USD (budget_usd) 0.005000 are left" in str(result.result)
