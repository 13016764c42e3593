"""What a rehearsal has in place of the model, and of the calls that a replay has not made: the record."""

from collections.abc import Iterable, Sequence
from typing import Final

from services.runner.calls import CheckedCall
from services.runner.journal import Draft
from services.runner.means import AnswerOf, NoAnswers
from services.runner.model import Live, ModelReply, reply_of
from services.runner.recorded_answers import handovers_of
from services.runner.rehearsal.journal import Diverged
from services.runner.rehearsal.script import Script
from shared.divergence import divergence, requests_of
from shared.model_request import JsonObject, ModelRequest
from shared.steps import Envelope, ToolResult, ToolSpec

OF_RESULT: Final = tuple(
    name for name in ToolResult.model_fields if name not in {*Envelope.model_fields, "kind"}
)


class Unanswered(Exception):
    """The log has no answer to this call of the model: the runner that made it has recorded none."""


class RecordedModel:
    """`calls` counts the requests that were compared."""

    def __init__(self, script: Script, history: Sequence[JsonObject]) -> None:
        self._script = script
        self._history = history
        self.calls = 0

    async def complete(self, request: ModelRequest, live: Live) -> ModelReply:
        """The recorded answer, if this is the request that it answered. Raises Diverged, Unanswered."""
        turn = self._script.turn_ahead()
        if turn is None:
            raise Unanswered
        if turn.model_call.request_hash != request.hash():
            made = next(made for made in requests_of(self._script.steps, self._history) if made.turn is turn)
            raise Diverged(divergence(turn, made.request, request))
        self.calls += 1
        return reply_of(turn)


class RecordedResults:
    """Of the calls of a replay, those that its log answers right behind their intent."""

    def __init__(self, script: Script) -> None:
        self._script = script

    def thinking(self, copied: Iterable[int], tools: Sequence[ToolSpec]) -> AnswerOf:
        if not self._script.is_of_replay:
            return NoAnswers().thinking(copied, tools)
        handovers = handovers_of(tools)

        def answer(call: CheckedCall) -> Draft | None:
            known = self._script.known_answer(call.call_id)
            if known is None or call.tool in handovers:
                return None
            return ToolResult, {name: getattr(known, name) for name in OF_RESULT}

        return answer
