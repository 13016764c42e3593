"""The loop of one run: the thin shell of input and output around `next_action`."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog

from services.runner.conversation import next_request
from services.runner.decision import Action, CallModel, CallTools, Finish, GiveUp, Stop, next_action
from services.runner.ending import ending
from services.runner.journal import Draft, Journal
from services.runner.live import LiveFeed
from services.runner.model import Model, ModelFailed, ModelReply, ModelRequest
from services.runner.thought import thought
from services.runner.tools.base import ToolContext
from services.runner.tools.registry import ToolRegistry
from shared.errors import Unavailable
from shared.steps import (
    AgentResponse,
    Effect,
    Failure,
    RunStatus,
    ToolCall,
    ToolResult,
    UserRequest,
)

log = structlog.get_logger(__name__)

TIMED_OUT: Final = "timeout"


class HandedBack(Exception):
    """The process stops: the run goes back to the queue after its current step."""


@dataclass(frozen=True)
class Means:
    """What a run may use: the model, the tools and the clock."""

    model: Model
    tools: ToolRegistry
    clock: Callable[[], datetime]


class RunLoop:
    """Drives one claimed run to its end. `interrupt` and `hand_back` may be called from outside."""

    def __init__(self, journal: Journal, means: Means, feed: LiveFeed) -> None:
        self.journal = journal
        self._means = means
        self._feed = feed
        self._task: asyncio.Task[None] | None = None
        self._breakable = False
        self._interrupted = False
        self._cancelled = False
        self._handing_back = False
        self._looking: asyncio.Task[None] | None = None

    async def drive(self) -> None:
        """Until the run is finished and on disk. Raises HandedBack, Fenced, Unavailable, Permanent."""
        self._task = asyncio.current_task()
        if not self.journal.state.turns:
            self._greet()
        remaining = self._remaining_s()
        try:
            async with asyncio.timeout(remaining):
                await self._rounds()
        except TimeoutError:
            await self._time_out()
        finally:
            self._feed.close()
            if self._looking is not None:
                self._looking.cancel()

    def look(self) -> None:
        """Someone says that the log has news: read it beside the current step, and obey."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())

    def interrupt(self) -> None:
        """Break off the current step; the loop takes in the log's news and decides again."""
        if self._interrupted or self._task is None or self._task.done():
            return
        self._interrupted = True
        if self._breakable:
            self._cancelled = True
            self._task.cancel()

    def hand_back(self) -> None:
        """Stop before the next call of the model."""
        self._handing_back = True

    async def _look(self) -> None:
        try:
            if await self.journal.has_news():
                self.interrupt()
        except Unavailable as error:
            log.info("the log could not be looked at; the next append will", error=str(error))

    async def _rounds(self) -> None:
        while True:
            action = next_action(self.journal.state, attempt=self.journal.attempt)
            if isinstance(action, Stop):
                return await self.journal.commit()
            if self._handing_back and isinstance(action, CallModel):
                await self.journal.commit()
                raise HandedBack
            await self._unless_interrupted(self._perform(action))
            if self._interrupted:
                self._interrupted = False
                await self.journal.refresh()

    async def _unless_interrupted(self, step: Coroutine[Any, Any, None]) -> None:
        """Do the step; a cancel that `interrupt` sent ends only the step, any other passes through."""
        self._breakable = True
        try:
            await step
        except asyncio.CancelledError:
            if not self._forget_own_cancel():
                raise
        else:
            self._forget_own_cancel()
        finally:
            self._breakable = False

    def _forget_own_cancel(self) -> bool:
        """Whether the only cancel of this task is our own, which is over now."""
        if not self._cancelled or self._task is None:
            return False
        self._cancelled = False
        return self._task.uncancel() == 0

    async def _perform(self, action: Action) -> None:
        match action:
            case CallModel():
                await self._call_model()
            case CallTools():
                await self._call_tools(action)
            case GiveUp():
                self._give_up(action.call)
            case Finish():
                self._finish(action.status, action.failure)

    async def _call_model(self) -> None:
        request = next_request(self.journal.state)
        try:
            reply = await self._means.model.complete(request, self._feed)
        except ModelFailed as error:
            self._finish(RunStatus.FAILED, error.failure)
            return
        self._feed.close()
        if reply.tool_calls:
            self.journal.record(*thought(self.journal.state, request, reply, self._means.tools))
        else:
            self._record_response(request, reply)

    def _record_response(self, request: ModelRequest, reply: ModelReply) -> None:
        """The answer and the end of the run, in one message."""
        response = {
            "content": reply.content,
            "reasoning": reply.reasoning,
            "model_call": reply.call(request),
        }
        failure = None if reply.content else EMPTY_ANSWER
        status = RunStatus.COMPLETED if reply.content else RunStatus.FAILED
        self._finish(status, failure, (AgentResponse, response))

    async def _call_tools(self, action: CallTools) -> None:
        if any(call.effect is not Effect.PURE for call in action.calls):
            await self.journal.commit()  # the intent is on disk before the act
            if next_action(self.journal.state, attempt=self.journal.attempt) != action:
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
        self.journal.record(await self._call_tool(call))

    async def _call_tool(self, call: ToolCall) -> Draft:
        request = self.journal.state.request
        context = ToolContext(
            project=self.journal.key.project,
            run_id=self.journal.key.run_id,
            session_id=request.session_id if request else None,
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

    def _greet(self) -> None:
        request = self.journal.state.request
        if request is not None:
            self.journal.record((UserRequest, {"content": request.prompt}))

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
        self._finish(RunStatus.FAILED, failure, (ToolResult, result))

    async def _time_out(self) -> None:
        request = self.journal.state.request
        limit = request.timeout_s if request else 0
        failure = Failure(
            type=TIMED_OUT, message=f"The run took longer than {limit:g} s (timeout_s).", retryable=True
        )
        if self.journal.state.finished is None:
            self._finish(RunStatus.FAILED, failure)
        await self.journal.commit()

    def _finish(self, status: RunStatus, failure: Failure | None = None, *before: Draft) -> None:
        """Whatever belongs before it, the working memory and the end, in one message."""
        drafts = ending(self.journal.state, self._means.clock(), status, failure, before)
        self.journal.record(*drafts)

    def _remaining_s(self) -> float:
        """Of the run's time limit, counted from its first claim; a clock set back cannot prolong it."""
        state = self.journal.state
        limit = state.request.timeout_s if state.request else 0.0
        if state.started_at is None:
            return limit
        gone = (self._means.clock() - state.started_at).total_seconds()
        return min(limit, max(0.0, limit - gone))


EMPTY_ANSWER: Final = Failure(
    type="empty-answer",
    message="The model answered with neither text nor a tool call.",
    retryable=True,
)
