"""The play: which part of the runner's code a recorded step calls for, and whether that was right there."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.runner.calls import CheckedCall
from services.runner.decision import Act, Action, CallModel, CallTools, Finish, Settle, Wait
from services.runner.journal import Draft
from services.runner.live import Silence
from services.runner.means import Means
from services.runner.model import Live, ModelReply, reply_of
from services.runner.performer import Performer
from services.runner.rehearsal.journal import Diverged, RehearsalJournal
from services.runner.rehearsal.known_tools import KnownTools
from services.runner.rehearsal.script import News, Script
from services.runner.version import code_version
from shared.divergence import divergence, requests_of
from shared.model_request import JsonObject, ModelRequest
from shared.scrub import Scrubber
from shared.steps import (
    AgentResponse,
    AgentThought,
    AnswerRejected,
    ApprovalRequested,
    ConversationStep,
    Divergence,
    Envelope,
    RunClaimed,
    RunRequested,
    RunStatus,
    RunWaiting,
    SpendReserved,
    Step,
    ToolCall,
    ToolResult,
    ToolSpec,
    UserRequest,
    now,
)

BREATH: Final = 32
"""After so many parts of the play others get their turn: a long run must not stop the process's heartbeats."""
OF_RESULT: Final = tuple(
    name for name in ToolResult.model_fields if name not in {*Envelope.model_fields, "kind"}
)
DECIDED: Final = frozenset(
    {"max-rounds", "invalid-tool-call", "empty-answer", "invalid-answer", "no-price", "budget"}
    | {"unknown-outcome", "tool-not-recorded", "diverged"}
)
"""The failures that follow from the log; others happened to the runner."""


@dataclass(frozen=True)
class Outcome:
    """How many of the log's steps were made again or taken in, how many calls of the model were compared."""

    steps: int
    model_calls: int
    divergence: Divergence | None = None


class Unanswered(Exception):
    """The log has no answer to this call of the model: the runner that made it has recorded none."""


class Rehearsal:
    """Plays `recorded`, a run's log from step 0 on. `snapshot` stands in place of that step, where another
    one is to be tried; `history` are the messages of the session's earlier runs; `live` are the tools that
    are called instead of believed.

    Raises LogGap, TypeError for a large value that was not read.
    """

    def __init__(
        self,
        recorded: Sequence[Step],
        means: Means,
        *,
        snapshot: RunRequested | None = None,
        history: Sequence[JsonObject] = (),
        scrubber: Scrubber | None = None,
        live: frozenset[str] = frozenset(),
    ) -> None:
        first = recorded[0]
        if not isinstance(first, RunRequested):
            raise TypeError("a run's log begins with its request")
        self._script = Script(recorded)
        self._live = live
        self._history = history
        self._model_calls = 0
        self._journal = RehearsalJournal(snapshot or first, self._script, scrubber or Scrubber())
        tools = KnownTools(means.tools, self._script)
        means = replace(means, model=self, tools=tools, clock=self._clock, family=None, answers=self)
        self._performer = Performer(self._journal, means, Silence(), history)
        self._possible: list[Action] = []

    async def play(self) -> Outcome:
        """To the log's end, or to where the run parts from it."""
        apart, plays = None, 0
        try:
            while (step := self._script.next) is not None:
                await self._play(step)
                plays += 1
                if plays % BREATH == 0:
                    await asyncio.sleep(0)
        except Diverged as error:
            apart = self._with_versions(error.divergence)
        return Outcome(self._journal.state.next_seq, self._model_calls, apart)

    def _with_versions(self, apart: Divergence) -> Divergence:
        """Where the code is to blame, the text says which."""
        if apart.cause != "code-version":
            return apart
        claims = [step.version for step in self._script.steps if isinstance(step, RunClaimed)]
        recorded = next((version for version in claims if version), "an unknown version")
        told = f"recorded by {recorded}, replayed by {code_version()}\n{apart.diff}"
        return apart.model_copy(update={"diff": told})

    async def complete(self, request: ModelRequest, live: Live) -> ModelReply:
        """The recorded answer, if this is the request that it answered. Raises Diverged."""
        turn = self._script.turn_ahead()
        if turn is None:
            raise Unanswered
        if turn.model_call.request_hash != request.hash():
            made = next(made for made in requests_of(self._script.steps, self._history) if made.turn is turn)
            raise Diverged(divergence(turn, made.request, request))
        self._model_calls += 1
        return reply_of(turn)

    def thinking(self, copied: object, tools: Sequence[ToolSpec]) -> "Rehearsal":
        return self

    def __call__(self, call: CheckedCall) -> Draft | None:
        """What a replay answered without a call: as it is recorded."""
        known = self._script.known_answer(call.call_id) if self._is_replay else None
        if known is None:
            return None
        return ToolResult, {name: getattr(known, name) for name in OF_RESULT}

    async def _play(self, step: Step) -> None:
        before = self._journal.state.next_seq
        if isinstance(step, News):
            self._news(step)
            return
        with suppress(Unanswered):  # what was set aside for the call is all that is known of it
            await self._own(step)
        if self._journal.state.next_seq == before:
            raise self._otherwise(step)
        self._possible = []

    def _news(self, step: Step) -> None:
        """What is done next may have been decided before the runner knew of it."""
        self._possible.append(self._next())
        self._journal.take(step)

    async def _own(self, step: Step) -> None:
        match step:
            case AgentThought(copied_from=int()) if self._is_thought_anew(step):
                self._performer.adopt(step.model_copy(update={"seq": step.copied_from}))
            case ConversationStep(copied_from=int()):
                self._journal.take(step)
            case UserRequest():
                self._performer.greet()
            case AgentThought() | AnswerRejected() | AgentResponse() | SpendReserved(call_id=None):
                self._require(CallModel, step)
                await self._performer.perform(CallModel())
            case ToolResult():
                await self._result(step)
            case ToolCall() | ApprovalRequested():
                await self._decided(step, step.call_id)
            case RunWaiting():
                await self._performer.perform(self._require(Wait, step))
            case SpendReserved(call_id=str(call_id)):
                self._share(step, call_id)
            case _:
                await self._end(step)

    def _share(self, step: SpendReserved, call_id: str) -> None:
        call, ledger = self._journal.state.open_calls.get(call_id), self._journal.state.ledger
        if call is None or ledger is None:
            raise self._otherwise(step)
        self._performer.calls.set_aside(call, ledger)

    async def _result(self, step: ToolResult) -> None:
        call = self._journal.state.open_calls.get(step.call_id)
        settle = next((each for each in self._options() if isinstance(each, Settle)), None)
        if call is None:
            await self._decided(step, step.call_id)
        elif self._performer.calls.spec_of(call).source == "handoff":
            await self._performer.perform(CallTools((call,), together=True))
        elif settle is not None and settle.call == call:
            await self._performer.perform(settle)
        elif call.tool in self._live:
            self._journal.take(await self._made_live(call, step))
        else:
            self._journal.take(step)

    async def _made_live(self, call: ToolCall, recorded: ToolResult) -> ToolResult:
        """The result of the call as the tool gives it today."""
        outcome = await self._performer.calls.outcome(call)
        error_type = "failed" if outcome.status == "error" else None
        fields = {"status": outcome.status, "error_type": error_type, "result": outcome.result}
        return recorded.model_copy(update=fields)

    async def _decided(self, step: Step, call_id: str) -> None:
        decided = self._journal.state.decided.get(call_id)
        if decided is None:
            raise self._otherwise(step)
        await self._performer.perform(Act((decided,)))

    async def _end(self, step: Step) -> None:
        end = self._script.end_ahead()
        if end is None:
            raise self._otherwise(step)
        ends = [each for each in self._options() if isinstance(each, Finish) and each.status == end.status]
        if ends:
            await self._performer.finish(ends[0])
        elif end.status is RunStatus.FAILED and end.error is not None and end.error.type not in DECIDED:
            await self._performer.finish(Finish(RunStatus.FAILED, end.error))
        else:
            raise self._otherwise(step)

    def _require(self, kind: type[Action], step: Step) -> Action:
        found = next((each for each in self._options() if isinstance(each, kind)), None)
        if found is None:
            raise self._otherwise(step)
        return found

    def _options(self) -> list[Action]:
        """What the code may do here: as things stand, or stood before the last news came. Of a wish to cancel
        a runner learns with its next append, which may hold the steps of several decisions."""
        options = [self._next(), *reversed(self._possible)]
        state = self._journal.state
        if (cancel := state.cancel) is not None:
            state.cancel = None
            options.append(self._next())
            state.cancel = cancel
        return options

    def _next(self) -> Action:
        calls = self._performer.calls
        calls.away = {
            call.call_id
            for call in self._journal.state.open_calls.values()
            if isinstance(self._script.next, RunWaiting) and calls.spec_of(call).source == "agent"
        }
        return self._performer.next()

    def _otherwise(self, step: Step) -> Diverged:
        instead = type(self._next()).__name__
        why = f"The log has {step.kind} here; today's code would go on with {instead}."
        return Diverged(Divergence(step=step.seq, cause="code-version", path="/kind", diff=why))

    def _is_thought_anew(self, step: AgentThought) -> bool:
        """Whether the run was forked here: what follows is no copy."""
        after = self._script.steps[step.seq + 1 : step.seq + 2]
        return any(isinstance(each, ToolCall | ApprovalRequested) for each in after) and not any(
            isinstance(each, ToolCall) and each.copied_from is not None for each in after
        )

    @property
    def _is_replay(self) -> bool:
        return self._journal.request.replay is not None

    def _clock(self) -> datetime:
        return self._script.next.at if self._script.next is not None else now()
