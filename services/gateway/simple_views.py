"""The shortest form of runs: flat summaries, messages and tool calls, made from views and steps. Pure."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from pydantic import JsonValue

from services.gateway.views import RunView, View
from shared.steps import (
    AgentResponse,
    AgentThought,
    RunRequested,
    Step,
    Text,
    ToolCall,
    ToolResult,
    UserRequest,
)


class SimpleRun(View):
    """`total_cost` is in USD, and null while a part of it is not known."""

    run_id: str
    agent_id: str | None
    user_id: str | None
    start_time: datetime | None
    end_time: datetime | None
    status: str
    total_tokens: int
    total_cost: float | None
    prompt: str | None
    response: str | None
    config: dict[str, JsonValue]


class SimpleMessage(View):
    message_id: str
    role: str
    content: Text
    timestamp: datetime
    tokens: int | None
    finish_reason: str | None


class SimpleToolCall(View):
    call_id: str
    tool_name: str
    args: JsonValue
    return_value: JsonValue
    latency_ms: int | None


class SimpleRunDetail(View):
    summary: SimpleRun
    messages: tuple[SimpleMessage, ...]
    tool_calls: tuple[SimpleToolCall, ...]


def simple_run(view: RunView) -> SimpleRun:
    return SimpleRun(
        run_id=view.run_id,
        agent_id=view.agent,
        user_id=view.user_id,
        start_time=view.started_at or view.created_at,
        end_time=view.finished_at,
        status=view.status,
        total_tokens=view.total_tokens,
        total_cost=float(view.total_cost_usd)
        if view.total_cost_usd is not None and not view.unpriced
        else None,
        prompt=view.prompt,
        response=view.response,
        config={"model": view.model, "agent_version": view.agent_version, "session_id": view.session_id},
    )


def simple_detail(view: RunView, steps: Sequence[Step]) -> SimpleRunDetail:
    return SimpleRunDetail(
        summary=simple_run(view), messages=tuple(_messages(steps)), tool_calls=tuple(_tool_calls(steps))
    )


def _messages(steps: Iterable[Step]) -> Iterable[SimpleMessage]:
    for step in steps:
        match step:
            case RunRequested() if step.instructions:
                yield _message(step, "system", step.instructions)
            case UserRequest():
                yield _message(step, "user", step.content)
            case AgentThought() | AgentResponse():
                yield _message(step, "assistant", step.content)


def _message(step: Step, role: str, content: Text) -> SimpleMessage:
    call = step.model_call if isinstance(step, AgentThought | AgentResponse) else None
    return SimpleMessage(
        message_id=_step_id(step),
        role=role,
        content=content,
        timestamp=step.at,
        tokens=call.usage.output if call else None,
        finish_reason=call.finish_reason if call else None,
    )


def _tool_calls(steps: Iterable[Step]) -> Iterable[SimpleToolCall]:
    """A call that was refused before it ran has a result and no arguments; a running one no result."""
    calls: dict[str, tuple[ToolCall | None, ToolResult | None]] = {}
    for step in steps:
        match step:
            case ToolCall():
                calls[step.call_id] = (step, None)
            case ToolResult():
                calls[step.call_id] = (calls.get(step.call_id, (None, None))[0], step)
    for call_id, (call, result) in calls.items():
        yield SimpleToolCall(
            call_id=call_id,
            tool_name=call.tool if call else result.tool if result else "",
            args=call.arguments if call else None,
            return_value=result.result if result else None,
            latency_ms=result.latency_ms if result else None,
        )


def _step_id(step: Step) -> str:
    """The id that the database's views give the step too."""
    return str(UUID(hashlib.md5(f"{step.run_id}:{step.seq}".encode(), usedforsecurity=False).hexdigest()))
