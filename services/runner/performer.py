"""Doing what was decided: asking the model, calling tools, ending the run; all of it goes into the journal.

What is next is decided in `decision`; when a step is broken off is the loop's affair.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from services.runner.conversation import Conversation
from services.runner.decision import Action, CallModel, CallTools, Finish, GiveUp, after_answer, next_action
from services.runner.ending import ending
from services.runner.journal import Draft, Journal
from services.runner.live import LiveFeed
from services.runner.model import Model, ModelFailed
from services.runner.thought import thought
from services.runner.tools.base import ToolContext
from services.runner.tools.registry import ToolRegistry
from shared.steps import AgentResponse, Effect, Failure, RunStatus, ToolCall, ToolResult, UserRequest


@dataclass(frozen=True)
class Means:
    """What a run may use: the model, the tools and the clock."""

    model: Model
    tools: ToolRegistry
    clock: Callable[[], datetime]


class Performer:
    def __init__(self, journal: Journal, means: Means, feed: LiveFeed) -> None:
        self._journal = journal
        self._means = means
        self._feed = feed
        self._conversation = Conversation(journal.request)

    def greet(self) -> None:
        self._journal.record((UserRequest, {"content": self._journal.request.prompt}))

    async def perform(self, action: Action) -> None:
        match action:
            case CallModel():
                await self._call_model()
            case CallTools():
                await self._call_tools(action)
            case GiveUp():
                self._give_up(action.call)
            case Finish():
                self.finish(action)

    def finish(self, end: Finish, *before: Draft) -> None:
        """Whatever belongs before it, the working memory and the end, in one message."""
        state, at = self._journal.state, self._means.clock()
        self._journal.record(*ending(state, at, end.status, end.failure, before))

    async def _call_model(self) -> None:
        state = self._journal.state
        request = self._conversation.request(state.turns)
        try:
            reply = await self._means.model.complete(request, self._feed)
        except ModelFailed as error:
            return self.finish(Finish(RunStatus.FAILED, error.failure))
        self._feed.close()
        if reply.tool_calls:
            return self._journal.record(
                *thought(self._journal.state, request, reply, self._means.tools.effect_of)
            )
        response = {
            "content": reply.content,
            "reasoning": reply.reasoning,
            "model_call": reply.call(request),
        }
        return self.finish(after_answer(reply.content), (AgentResponse, response))

    async def _call_tools(self, action: CallTools) -> None:
        if any(call.effect is not Effect.PURE for call in action.calls):
            await self._journal.commit()  # the intent is on disk before the act
            if next_action(self._journal.state, attempt=self._journal.attempt) != action:
                return  # the log had news (a cancel): decide again
        if len(action.calls) == 1:
            await self._call_and_record(action.calls[0])
            return
        tasks = [asyncio.create_task(self._call_and_record(call)) for call in action.calls]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _call_and_record(self, call: ToolCall) -> None:
        self._journal.record(await self._call_tool(call))

    async def _call_tool(self, call: ToolCall) -> Draft:
        context = ToolContext(
            project=call.project,
            run_id=call.run_id,
            session_id=self._journal.request.session_id,
            call_id=call.call_id,
            idempotency_key=call.idempotency_key,
        )
        arguments = call.arguments if isinstance(call.arguments, dict) else {}
        outcome = await self._means.tools.call(call.tool, arguments, context)
        return ToolResult, {
            "call_id": call.call_id,
            "tool": call.tool,
            "status": outcome.status,
            "error_type": "failed" if outcome.status == "error" else None,
            "result": outcome.result,
            "latency_ms": outcome.latency_ms,
            "units": outcome.units,
        }

    def _give_up(self, call: ToolCall) -> None:
        result = {
            "call_id": call.call_id,
            "tool": call.tool,
            "status": "unknown",
            "result": "The runner stopped while this tool ran; whether it took effect is unknown.",
        }
        failure = Failure(
            type="unknown-outcome",
            message=f"Whether {call.tool} ({call.call_id}) took effect is unknown; it is not repeated.",
        )
        self.finish(Finish(RunStatus.FAILED, failure), (ToolResult, result))
