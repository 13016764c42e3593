"""The play: which part of the runner's code a recorded step calls for, and whether that was right there."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from services.runner.decision import Act, CallModel, CallTools, Finish, Settle, Wait
from services.runner.live import Silence
from services.runner.means import Means
from services.runner.performer import Performer
from services.runner.rehearsal.choices import Choices
from services.runner.rehearsal.journal import Diverged, RehearsalJournal
from services.runner.rehearsal.known_tools import KnownTools
from services.runner.rehearsal.recorded import RecordedModel, RecordedResults, Unanswered
from services.runner.rehearsal.script import News, Script
from services.runner.version import code_version
from shared.bundle.origin import as_sent
from shared.model_request import JsonObject
from shared.scrub import Scrubber
from shared.steps import (
    AgentResponse,
    AgentThought,
    AnswerRejected,
    ApprovalRequested,
    ConversationStep,
    Divergence,
    Effect,
    RunClaimed,
    RunStatus,
    RunWaiting,
    SpendReserved,
    Step,
    ToolCall,
    ToolResult,
    UserRequest,
    now,
)

BREATH: Final = 32
"""After so many parts of the play others get their turn: a long run must not stop the heartbeats."""
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


class Rehearsal:
    """Plays `recorded`, a run's log from step 0 on. `changes` are the fields of that step which are to be
    tried otherwise; `history` are the messages of the session's earlier runs; `live` are the tools that are
    called instead of believed. With `must_end` a log without an end is no record.

    Raises LogGap, TypeError for a large value that was not read.
    """

    def __init__(
        self,
        recorded: Sequence[Step],
        means: Means,
        *,
        changes: Mapping[str, Any] | None = None,
        history: Sequence[JsonObject] = (),
        scrubber: Scrubber | None = None,
        live: frozenset[str] = frozenset(),
        must_end: bool = False,
    ) -> None:
        self._must_end = must_end
        self._script = Script(as_sent(recorded))
        self._live = live
        self._model = RecordedModel(self._script, history)
        first = self._script.request.model_copy(update=changes or {})
        self._journal = RehearsalJournal(first, self._script, scrubber or Scrubber())
        known = RecordedResults(self._script)
        tools = KnownTools(means.tools, self._script)
        means = replace(means, model=self._model, tools=tools, clock=self._clock, family=None, answers=known)
        self._performer = Performer(self._journal, means, Silence(), history)
        self._choices = Choices(self._performer, self._journal, self._script)

    async def play(self) -> Outcome:
        """To the log's end, or to where the run parts from it."""
        apart, plays = None, 0
        try:
            while (step := self._script.next) is not None:
                await self._play(step)
                plays += 1
                if plays % BREATH == 0:
                    await asyncio.sleep(0)
            if self._must_end and self._journal.state.finished is None:
                raise self._choices.cut()
        except Diverged as error:
            apart = self._with_versions(error.divergence)
        return Outcome(self._journal.state.next_seq, self._model.calls, apart)

    async def _play(self, step: Step) -> None:
        if isinstance(step, News):
            self._choices.news()
            self._journal.take(step)
            return
        before = self._journal.state.next_seq
        with suppress(Unanswered):  # what was set aside for the call is all that is known of it
            await self._own(step)
        if self._journal.state.next_seq == before:
            raise self._choices.otherwise(step)
        self._choices.made()

    async def _own(self, step: Step) -> None:
        match step:
            case ConversationStep(copied_from=int()) if not self._script.may_be_copied(step):
                raise self._choices.no_copy(step)
            case AgentThought(copied_from=int()) if self._script.is_thought_anew(step):
                self._performer.adopt(step.model_copy(update={"seq": step.copied_from}))
            case ConversationStep(copied_from=int()):
                self._journal.take(step)
            case UserRequest():
                self._performer.greet()
            case AgentThought() | AnswerRejected() | AgentResponse() | SpendReserved(call_id=None):
                await self._performer.perform(self._choices.require(CallModel, step))
            case ToolResult():
                await self._result(step)
            case ToolCall() | ApprovalRequested():
                await self._decided(step, step.call_id)
            case RunWaiting():
                await self._performer.perform(self._choices.require(Wait, step))
            case SpendReserved(call_id=str(call_id)):
                self._share(step, call_id)
            case _:
                await self._end(step)

    def _share(self, step: SpendReserved, call_id: str) -> None:
        call, ledger = self._journal.state.open_calls.get(call_id), self._journal.state.ledger
        if call is None or ledger is None:
            raise self._choices.otherwise(step)
        self._performer.calls.set_aside(call, ledger)

    async def _result(self, step: ToolResult) -> None:
        call = self._journal.state.open_calls.get(step.call_id)
        settle = self._choices.of(Settle)
        if call is None:
            await self._decided(step, step.call_id)
        elif self._performer.calls.spec_of(call).source == "handoff":
            await self._performer.perform(CallTools((call,), together=True))
        elif settle is not None and settle.call == call:
            await self._performer.perform(settle)
        elif call.tool in self._live and call.effect is Effect.PURE:
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
            raise self._choices.otherwise(step)
        await self._performer.perform(Act((decided,)))

    async def _end(self, step: Step) -> None:
        end = self._script.end_ahead()
        if end is None:
            raise self._choices.otherwise(step)
        chosen = [each for each in self._choices.all() if isinstance(each, Finish)]
        same = next((each for each in chosen if each.status == end.status), None)
        if same is None and end.status is RunStatus.FAILED and end.error and end.error.type not in DECIDED:
            same = Finish(RunStatus.FAILED, end.error)
        if same is None:
            raise self._choices.otherwise(step)
        await self._performer.finish(same)

    def _with_versions(self, apart: Divergence) -> Divergence:
        """Where the code is to blame, the text says which."""
        if apart.cause != "code-version":
            return apart
        claims = [step.version for step in self._script.steps if isinstance(step, RunClaimed)]
        recorded = next((version for version in claims if version), "an unknown version")
        told = f"recorded by {recorded}, replayed by {code_version()}\n{apart.diff}"
        return apart.model_copy(update={"diff": told})

    def _clock(self) -> datetime:
        return self._script.next.at if self._script.next is not None else now()
