"""Models that answer from a script; the answer depends on the conversation alone, and so stays the same."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from services.runner.model import Live, ModelFailed, ModelReply
from shared.model_request import ModelRequest
from shared.steps import Failure, RequestedToolCall, Usage

Answer = str | Sequence[RequestedToolCall] | ModelReply | Failure | Exception


def reply_of(request: ModelRequest, answer: str | Sequence[RequestedToolCall]) -> ModelReply:
    usage = Usage(input=10 * len(request.messages), output=7)
    if isinstance(answer, str):
        return ModelReply(request.model, content=answer, usage=usage, finish_reason="stop")
    return ModelReply(request.model, tool_calls=tuple(answer), usage=usage, finish_reason="tool_calls")


@dataclass
class ScriptedModel:
    """Answers by how many assistant messages there are so far; the last answer is repeated."""

    answers: Sequence[Answer]
    requests: list[ModelRequest] = field(default_factory=list)
    gate: Callable[[], "asyncio.Event | None"] = lambda: None

    async def complete(self, request: ModelRequest, live: Live) -> ModelReply:
        live.started(request.model)
        self.requests.append(request)
        if (event := self.gate()) is not None:
            await event.wait()
        await asyncio.sleep(0)
        rounds = sum(message["role"] == "assistant" for message in request.messages)
        answer = self.answers[min(rounds, len(self.answers) - 1)]
        if isinstance(answer, Failure):
            raise ModelFailed(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, ModelReply) else reply_of(request, answer)
