"""A runner process whose model and tools do what the prompt says, and note in a file what they did.

The prompt is a JSON object: `tool` (or none), `rounds` of it, `calls` at once, `model_s`, `tool_s` to take,
`arguments` of the calls in place of the time, `answers` (the last is repeated).
The file is named by TEST_NOTES; a line is `model <run's words>` or `act <tool> <idempotency key>`.
"""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from faststream.asgi import AsgiFastStream
from pydantic import JsonValue

from services.runner.app import make_app as make_runner
from services.runner.model import Live, ModelReply
from services.runner.tools.base import BaseTool, ToolContext, ToolParameters
from services.runner.tools.registry import ToolRegistry
from shared.model_request import ModelRequest
from shared.steps import Effect, RequestedToolCall, Usage


def note(line: str) -> None:
    with Path(os.environ["TEST_NOTES"]).open("a") as notes:
        notes.write(line + "\n")


class ObedientModel:
    async def complete(self, request: ModelRequest, live: Live) -> ModelReply:
        words = next(str(m["content"]) for m in request.messages if m["role"] == "user")
        plan = json.loads(words)
        live.started(request.model)
        note(f"model {plan.get('name', '')} {request.model}")
        await asyncio.sleep(plan.get("model_s", 0))
        rounds = sum(message["role"] == "assistant" for message in request.messages)
        usage = Usage(input=10 * len(request.messages), output=5)
        if rounds >= plan.get("rounds", 0):
            answers = plan.get("answers", ["Done."])
            answer = answers[min(rounds - plan.get("rounds", 0), len(answers) - 1)]
            return ModelReply(request.model, content=answer, usage=usage, finish_reason="stop")
        arguments = json.dumps(plan.get("arguments", {"seconds": plan.get("tool_s", 0)}))
        calls = tuple(
            RequestedToolCall(call_id=f"r{rounds:03d}c{n:04d}", tool=plan["tool"], arguments=arguments)
            for n in range(plan.get("calls", 1))
        )
        return ModelReply(request.model, tool_calls=calls, usage=usage, finish_reason="tool_calls")


class Seconds(ToolParameters):
    seconds: float = 0.0


class NotingTool(BaseTool[Seconds]):
    display_name, description, icon = "Noting", "Notes that it acted and takes its time.", "IconNote"
    Parameters = Seconds

    def __init__(self, effect: Effect) -> None:
        self.name, self.effect = effect.value, effect  # type: ignore[misc]  # one class for all effects

    async def execute(self, arguments: Seconds, context: ToolContext) -> JsonValue:
        note(f"act {self.name} {context.idempotency_key}")
        await asyncio.sleep(arguments.seconds)
        return "noted"


def make_app() -> AsgiFastStream:
    def discover(cls: type[ToolRegistry], _: Any) -> ToolRegistry:
        return cls({effect.value: NotingTool(effect) for effect in Effect})

    ToolRegistry.discover = classmethod(discover)  # type: ignore[method-assign, assignment]  # own process
    return make_runner(ObedientModel())
