"""A model call as the runner sees it, whoever answers it. Pure: no client, no network."""

import json
from dataclasses import dataclass, field
from typing import Final, NoReturn, Protocol

from shared.errors import StudioError
from shared.model_request import ModelRequest
from shared.provider_messages import text_of
from shared.steps import (
    AgentResponse,
    AgentThought,
    AnswerRejected,
    Attempt,
    Failure,
    ModelCall,
    RequestedToolCall,
    Usage,
)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


strictly_decoded: Final = json.JSONDecoder(parse_constant=_no_number).decode
"""Text as JSON. Raises RecursionError, and ValueError also for NaN and Infinity, which Python would take."""


@dataclass(frozen=True)
class ModelReply:
    """The assistant's message and what is known of the call. `tool_calls` keep the model's raw text."""

    answered: str
    content: str = ""
    reasoning: str | None = None
    tool_calls: tuple[RequestedToolCall, ...] = ()
    usage: Usage = field(default_factory=Usage)
    finish_reason: str | None = None
    latency_ms: int = 0
    time_to_first_token_ms: int | None = None
    attempts: tuple[Attempt, ...] = ()
    provider_request_id: str | None = None

    def call(self, request: ModelRequest) -> ModelCall:
        return ModelCall(
            asked=request.model,
            answered=self.answered,
            request_hash=request.hash(),
            usage=self.usage,
            finish_reason=self.finish_reason,
            latency_ms=self.latency_ms,
            time_to_first_token_ms=self.time_to_first_token_ms,
            attempts=self.attempts,
            provider_request_id=self.provider_request_id,
        )


def reply_of(turn: AgentThought | AnswerRejected | AgentResponse) -> ModelReply:
    """The reply that is recorded in this step."""
    call = turn.model_call
    reasoning = None if isinstance(turn, AnswerRejected) else turn.reasoning
    return ModelReply(
        answered=call.answered,
        content=text_of(turn.content),
        reasoning=None if reasoning is None else text_of(reasoning),
        tool_calls=turn.tool_calls if isinstance(turn, AgentThought) else (),
        usage=call.usage,
        finish_reason=call.finish_reason,
        latency_ms=call.latency_ms,
        time_to_first_token_ms=call.time_to_first_token_ms,
        attempts=call.attempts,
        provider_request_id=call.provider_request_id,
    )


class ModelFailed(StudioError):
    """The model gave no answer; `failure` is what the run ends with."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Live(Protocol):
    """Where a model call tells what is going on right now. Must not block and must not raise."""

    def started(self, model: str) -> None: ...

    def delta(self, text: str) -> None: ...

    def retrying(self, attempt: Attempt) -> None: ...


class Model(Protocol):
    """Answers chat completions."""

    async def complete(self, request: ModelRequest, live: Live) -> ModelReply:
        """Raises ModelFailed once there is no point in another try."""
        ...
