"""A model call as the runner sees it, whoever answers it. Pure: no client, no network."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NoReturn, Protocol

from pydantic import JsonValue

from shared.errors import StudioError
from shared.steps import Attempt, Failure, ModelCall, RequestedToolCall, Usage

JsonObject = Mapping[str, JsonValue]
canonical: Final = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


strictly_decoded: Final = json.JSONDecoder(parse_constant=_no_number).decode
"""Text as JSON. Raises RecursionError, and ValueError also for NaN and Infinity, which Python would take."""


class Tools(tuple[JsonObject, ...]):
    """Tools in the provider's JSON form. Many requests share them, and so their canonical text."""

    @cached_property
    def canonical(self) -> str:
        return canonical(self)


@dataclass(frozen=True)
class ModelRequest:
    """One chat completion: messages in the provider's JSON form, parameters that are set."""

    model: str
    messages: Sequence[JsonObject]
    tools: Tools = field(default_factory=Tools)
    parameters: JsonObject = field(default_factory=dict)

    def hash(self) -> str:
        """sha256 over the canonical JSON of the request: equal requests, equal hashes."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    def canonical(self) -> str:
        """The request as JSON: one text for equal requests."""
        fields = {"messages": self.messages, "model": self.model, **self.parameters}
        texts = {"tools": self.tools.canonical} | {name: canonical(value) for name, value in fields.items()}
        body = ",".join(f'"{name}":{texts[name]}' for name in sorted(texts))
        return f"{{{body}}}"


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
