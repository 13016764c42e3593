"""What a person decides about a run: appended to its log with compare-and-set, then a runner is woken.

Decisions are bound to what was shown: one about a call that has been decided, or has other arguments, is
refused.
"""

from collections.abc import Callable
from typing import Final

from pydantic import JsonValue

from services.gateway.lifecycle import Lifecycle, Standing
from services.gateway.problems import RUN_ACTIVE, RUN_FINISHED, Problem, invalid
from services.gateway.waiting.inputs import ApprovalInput, OutcomeInput
from services.gateway.waiting.refusals import (
    CALL_DECIDED,
    answers_another,
    call_decided,
    no_budget,
    no_higher,
    no_outcome_wanted,
    no_such_call,
    not_waiting,
    other_arguments,
    shared_budget,
)
from shared.json_schema import complaint
from shared.ledger import usd
from shared.run_state import RunState, agent_of
from shared.steps import (
    ApprovalRequested,
    ApprovalResolved,
    BudgetRaised,
    OutcomeResolved,
    RunRetried,
    RunStatus,
    Step,
    now,
)
from shared.subjects import RunKey

GONE: Final = "the call does not wait for a decision any more"


class Steering:
    """Methods raise Problem (404, 409, 422) and Unavailable, and return the run's status before."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle

    async def approve(self, run: RunKey, call_id: str, said: ApprovalInput, who: str) -> RunStatus:
        def decide(standing: Standing) -> Step:
            state = standing.state
            asked = _asked(state, call_id)
            if asked.arguments_hash != said.arguments_hash:
                raise other_arguments(asked.arguments_hash)
            _check_arguments(state, asked, said.arguments)
            return ApprovalResolved(
                **self._lifecycle.envelope(run, standing),
                call_id=call_id,
                decision="approved" if said.decision == "approve" else "denied",
                arguments_hash=said.arguments_hash,
                who=who,
                note=said.note,
                arguments=said.arguments,
            )

        return await self._append(run, decide)

    async def expire(self, run: RunKey) -> None:
        """Resolve every call of the run that nobody has decided about in time."""
        at = now()

        def decide(standing: Standing) -> Step | None:
            state = standing.state
            late = (each for each in state.asked.values() if each.expires_at and each.expires_at <= at)
            asked = next(late, None)
            if asked is None or standing.status.is_final:
                return None
            return ApprovalResolved(
                **self._lifecycle.envelope(run, standing),
                call_id=asked.call_id,
                decision="expired",
                arguments_hash=asked.arguments_hash,
                who="expiry",
            )

        standing, sequence = await self._lifecycle.append(run, decide)
        while sequence != standing.position:
            await self._lifecycle.wake(run, standing, sequence)
            standing, sequence = await self._lifecycle.append(run, decide)

    async def settle(self, run: RunKey, call_id: str, said: OutcomeInput, who: str) -> RunStatus:
        """Say what became of a call whose outcome is unknown."""

        def decide(standing: Standing) -> Step:
            state = standing.state
            waiting = state.waiting
            if waiting is None or waiting.reason != "unknown-outcome" or waiting.call_id != call_id:
                raise no_outcome_wanted(call_id)
            known = state.outcomes.get(call_id)
            if known is not None and known.seq > waiting.seq:
                raise call_decided(known.decision, known.who)
            return OutcomeResolved(
                **self._lifecycle.envelope(run, standing),
                call_id=call_id,
                decision=said.decision,
                who=who,
                result=said.result,
                note=said.note,
            )

        return await self._append(run, decide)

    async def retry(self, run: RunKey, who: str, why: str) -> RunStatus:
        """Let a run that has failed or was cancelled go on from its last good step."""

        def decide(standing: Standing) -> Step:
            if not standing.status.is_final:
                raise Problem(RUN_ACTIVE, f"the run is {standing.status}; only what has ended can be retried")
            if standing.status is RunStatus.COMPLETED:
                raise Problem(RUN_FINISHED, "the run is completed; start a new one")
            request = standing.state.request
            if request is not None and request.parent_run_id is not None:
                raise answers_another(request.parent_run_id)
            return RunRetried(**self._lifecycle.envelope(run, standing), who=who, why=why)

        return await self._append(run, decide)

    async def resume(self, run: RunKey, budget_usd: float | None, who: str) -> RunStatus:
        """Let a runner look at a waiting run again, with a higher budget if one is given; the run goes on
        waiting for what has not come."""

        def decide(standing: Standing) -> Step | None:
            if standing.status is not RunStatus.WAITING:
                raise not_waiting(standing.status)
            if budget_usd is None:
                return None
            _check_budget(standing.state, budget_usd)
            return BudgetRaised(**self._lifecycle.envelope(run, standing), budget_usd=budget_usd, who=who)

        return await self._append(run, decide)

    async def _append(self, run: RunKey, decide: Callable[[Standing], Step | None]) -> RunStatus:
        standing, sequence = await self._lifecycle.append(run, decide)
        await self._lifecycle.wake(run, standing, sequence)
        return standing.status


def _asked(state: RunState, call_id: str) -> ApprovalRequested:
    """Raises Problem (404, 409)."""
    if (asked := state.asked.get(call_id)) is not None and not state.status.is_final:
        return asked
    if (decided := state.decided.get(call_id)) is not None:
        raise call_decided(decided.resolved.decision, decided.resolved.who)
    raise Problem(CALL_DECIDED, GONE) if call_id in state.callers else no_such_call(call_id)


def _check_budget(state: RunState, budget_usd: float) -> None:
    """Raises Problem (422)."""
    if state.ledger is None or state.request is None:
        raise no_budget()
    if state.request.root_run_id is not None:
        raise shared_budget(state.request.root_run_id)
    if usd(budget_usd) <= state.ledger.cap:
        raise no_higher(state.ledger.cap)


def _check_arguments(
    state: RunState, asked: ApprovalRequested, arguments: dict[str, JsonValue] | None
) -> None:
    """Raises Problem (422) for edited arguments that the tool does not take."""
    if arguments is None or state.request is None:
        return
    agent = agent_of(state.request, state.callers.get(asked.call_id))
    spec = next((spec for spec in agent.tools if spec.name == asked.tool), None)
    if spec is not None and (problem := complaint(spec.parameters, arguments)) is not None:
        raise invalid("arguments", problem)
