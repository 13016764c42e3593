"""Doing what was decided: asking the model, obeying a person, waiting, ending; all goes into the journal.

What is next is decided in `decision`, how calls are made is in `tool_calls`; when a step is broken off is the
loop's affair.
"""

from collections.abc import Sequence
from typing import Final

from services.runner.decision import (
    REPAIRS,
    Act,
    Action,
    CallModel,
    CallTools,
    Finish,
    Settle,
    Wait,
    after_answer,
    invalid_answer,
    next_action,
)
from services.runner.ending import ending
from services.runner.journal import Draft, Writable
from services.runner.live import Feed
from services.runner.means import Means
from services.runner.model import ModelFailed, ModelReply, reply_of
from services.runner.schema import answer_problem
from services.runner.spending import affordable, worst_case
from services.runner.thought import Rules, acted, thought
from services.runner.tool_calls import ToolCalls
from shared.divergence import Conversations
from shared.model_request import JsonObject, ModelRequest
from shared.run_state import agent_of
from shared.steps import (
    AgentResponse,
    AgentSnapshot,
    AgentThought,
    AnswerRejected,
    Effect,
    Failure,
    RunStatus,
    RunWaiting,
    SpendReserved,
    ToolResult,
    UserRequest,
)

UNKNOWN: Final = "The runner stopped while this tool ran; whether it took effect is unknown."


class Performer:
    """`history` are the messages of the session's earlier runs."""

    def __init__(
        self, journal: Writable, means: Means, feed: Feed, history: Sequence[JsonObject] = ()
    ) -> None:
        self._journal = journal
        self._means = means
        self._feed = feed
        self._conversations = Conversations(history)
        self.calls = ToolCalls(journal, means)

    def next(self) -> Action:
        action = next_action(self._journal.state, attempt=self._journal.attempt, away=self.calls.away)
        ledger = self._journal.state.ledger
        if ledger is None or not isinstance(action, CallModel):
            return action
        return affordable(self._journal.request, ledger, worst_case(self._request(), ledger))

    def greet(self) -> None:
        self._journal.record((UserRequest, {"content": self._journal.request.prompt}))

    def adopt(self, step: AgentThought) -> None:
        """Go on from the model's message that another run got; its calls are made anew."""
        drafts = thought(self._journal.state, step.model_call, reply_of(step), self._rules(self._agent))
        kind, fields = drafts[0]
        self._journal.record((kind, {**fields, "copied_from": step.seq}), *drafts[1:])

    async def perform(self, action: Action) -> None:
        match action:
            case CallModel():
                await self._call_model()
            case CallTools():
                await self._call_tools(action)
            case Act():
                for decided in action.decided:
                    rules = self._rules(self._caller(decided.asked.call_id))
                    self._journal.record(*acted(self._journal.state, decided, rules))
            case Settle():
                await self._settle(action)
            case Wait():
                self._journal.record((RunWaiting, vars(action)))
                await self._journal.commit()
            case Finish():
                await self.finish(action)

    async def finish(self, end: Finish, *before: Draft) -> None:
        """Whatever belongs before it, the working memory and the end, in one message."""
        if end.status is not RunStatus.COMPLETED and self._journal.state.open_calls:
            await self.calls.cancel_children(f"the run that asked for it is {end.status}")
        state, at = self._journal.state, self._means.clock()
        self._journal.record(*ending(state, at, end.status, end.failure, before))

    async def _call_model(self) -> None:
        request = self._request()
        if not await self._reserved(request):
            return None  # the log had news (a cancel): decide again
        try:
            reply = await self._means.model.complete(request, self._feed)
        except ModelFailed as error:
            return await self.finish(Finish(RunStatus.FAILED, error.failure))
        self._feed.close()
        if reply.tool_calls:
            rules = self._rules(self._agent)
            return self._journal.record(*thought(self._journal.state, reply.call(request), reply, rules))
        return await self._answered(request, reply)

    def _request(self) -> ModelRequest:
        state = self._journal.state
        return self._conversations.of(self._journal.request, state.agent).request(state.turns)

    async def _reserved(self, request: ModelRequest) -> bool:
        """Whether the call may be made: of a run with a budget, its cost is set aside on disk first."""
        state = self._journal.state
        if state.ledger is None:
            return True
        self._journal.record((SpendReserved, {"usd": worst_case(request, state.ledger)}))
        await self._journal.commit()
        return self._journal.state.cancel is None

    async def _answered(self, request: ModelRequest, reply: ModelReply) -> None:
        call, schema = reply.call(request), self._agent.response_format
        response = (
            AgentResponse,
            {"content": reply.content, "reasoning": reply.reasoning, "model_call": call},
        )
        problem = answer_problem(schema, reply.content) if schema is not None and reply.content else None
        if problem is None:
            return await self.finish(after_answer(reply.content), response)
        if self._journal.state.rejections < REPAIRS:
            rejected = {"content": reply.content, "problem": problem, "model_call": call}
            return self._journal.record((AnswerRejected, rejected))
        return await self.finish(Finish(RunStatus.FAILED, invalid_answer(problem)), response)

    async def _call_tools(self, action: CallTools) -> None:
        if any(call.effect is not Effect.PURE for call in action.calls):
            await self._journal.commit()  # the intent is on disk before the act
            if self.next() != action:
                return  # the log had news (a cancel): decide again
        await self.calls.make(action)

    async def _settle(self, action: Settle) -> None:
        call, outcome = action.call, action.outcome
        fields = {"call_id": call.call_id, "tool": call.tool}
        if outcome.decision == "happened":
            self._journal.record((ToolResult, {**fields, "status": "ok", "result": outcome.result}))
            return
        message = f"Whether {call.tool} ({call.call_id}) took effect is unknown; it is not repeated."
        failure = Failure(type="unknown-outcome", message=message)
        result = (ToolResult, {**fields, "status": "unknown", "result": UNKNOWN})
        await self.finish(Finish(RunStatus.FAILED, failure), result)

    def _rules(self, agent: AgentSnapshot) -> Rules:
        answer_of = self._means.answers.thinking(self._journal.state.copied, agent.tools)
        return Rules(agent, self.calls.effect_of, self._means.clock(), answer_of)

    def _caller(self, call_id: str) -> AgentSnapshot:
        """The agent that made the call."""
        return agent_of(self._journal.request, self._journal.state.callers.get(call_id))

    @property
    def _agent(self) -> AgentSnapshot:
        return agent_of(self._journal.request, self._journal.state.agent)
