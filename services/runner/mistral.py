"""The model behind the official client: streamed chat completions, retried, told live."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import httpx2
import structlog
from mistralai.client import Mistral
from mistralai.client.errors import MistralError, NoResponseError
from mistralai.client.models import BaseModelCard, CompletionChunk, FTModelCard, ToolCall, UsageInfo
from prometheus_client import Counter, Histogram
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from services.runner.model import Live, ModelFailed, ModelReply, ModelRequest
from services.runner.retry import Stumble, retry_after, wait_as_told
from services.runner.settings import Settings
from shared.steps import Attempt, RequestedToolCall, Usage

log = structlog.get_logger(__name__)

CALLS = Histogram("studio_model_call_seconds", "Time of a model call, all tries.", ["outcome"])
FIRST_TOKEN = Histogram("studio_model_first_token_seconds", "Time to a try's first token.")
MOST_TOKENS = 2**40
TRIES = Counter("studio_model_retries_total", "Tries of a model call that failed.", ["status"])


@dataclass
class _Gathered:
    """What has come of a streamed answer so far."""

    answered: str = ""
    request_id: str | None = None
    content: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[RequestedToolCall] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    finish_reason: str | None = None
    first_token_at: float | None = None


class MistralModel:
    """One client for the process: making one costs far more than a call."""

    def __init__(self, settings: Settings) -> None:
        self._client = Mistral(
            api_key=settings.mistral_api_key.get_secret_value(),
            server_url=settings.mistral_server_url,
            timeout_ms=int(settings.mistral_timeout_s * 1000),
        )
        self._timeout_s = settings.mistral_timeout_s
        self._stop = stop_after_attempt(settings.mistral_retry_max_attempts)
        self._wait = wait_as_told(settings.mistral_retry_min_wait, settings.mistral_retry_max_wait)

    async def names(self) -> list[str]:
        """The models that the provider offers, aliases included. Raises ModelFailed."""
        try:
            listed = await self._client.models.list_async(timeout_ms=10_000)
        except Exception as error:
            raise ModelFailed(_stumble(error).failure()) from error
        cards = [card for card in listed.data or [] if isinstance(card, BaseModelCard | FTModelCard)]
        return sorted({name for card in cards for name in (card.id, *(card.aliases or []))})

    async def complete(self, request: ModelRequest, live: Live) -> ModelReply:
        started = monotonic()
        attempts: list[Attempt] = []
        live.started(request.model)
        try:
            async for attempt in AsyncRetrying(
                stop=self._stop,
                wait=self._wait,
                retry=retry_if_exception(lambda error: isinstance(error, Stumble) and error.is_retryable),
                before_sleep=_noting(attempts, live),
                reraise=True,
            ):
                with attempt:
                    reply = await self._try(request, live)
        except Stumble as error:
            CALLS.labels("failed").observe(monotonic() - started)
            TRIES.labels(str(error.status)).inc()
            raise ModelFailed(error.failure(attempts)) from error
        CALLS.labels("answered").observe(monotonic() - started)
        return _reply(reply, request, started, tuple(attempts))

    async def _try(self, request: ModelRequest, live: Live) -> _Gathered:
        gathered = _Gathered()
        started = monotonic()
        try:
            async with asyncio.timeout(self._timeout_s):
                async for chunk in self._chunks(request):
                    _take(gathered, chunk, live)
                    if gathered.first_token_at is None:
                        gathered.first_token_at = monotonic()
                        FIRST_TOKEN.observe(gathered.first_token_at - started)
        except Exception as error:
            raise _stumble(error) from error
        if gathered.finish_reason is None:
            raise Stumble(None, "the stream was cut before its end")
        if gathered.finish_reason == "error":
            raise Stumble(None, "the provider broke its answer off with an error")
        return gathered

    async def _chunks(self, request: ModelRequest) -> AsyncIterator[CompletionChunk]:
        tools: Any = {"tools": list(request.tools), "tool_choice": "auto"} if request.tools else {}
        messages: Any = list(request.messages)
        parameters: Mapping[str, Any] = request.parameters
        stream = await self._client.chat.stream_async(
            model=request.model, messages=messages, retries=None, **tools, **parameters
        )
        async with stream:
            async for event in stream:
                yield event.data


def _take(gathered: _Gathered, chunk: CompletionChunk, live: Live) -> None:
    gathered.answered = chunk.model or gathered.answered
    gathered.request_id = chunk.id or gathered.request_id
    if chunk.usage is not None:
        gathered.usage = usage_of(chunk.usage)
    for choice in chunk.choices[:1]:
        gathered.finish_reason = choice.finish_reason or gathered.finish_reason
        _take_content(gathered, choice.delta.content, live)
        for call in choice.delta.tool_calls or []:
            _take_call(gathered, call)


def _take_content(gathered: _Gathered, content: Any, live: Live) -> None:
    """Text, or a list of chunks of which some are the model's thinking."""
    if isinstance(content, str):
        if content:
            gathered.content.append(content)
            live.delta(content)
        return
    for part in content if isinstance(content, list) else []:
        if part.type == "text":
            gathered.content.append(part.text)
            live.delta(part.text)
        elif part.type == "thinking":
            gathered.reasoning += [piece.text for piece in part.thinking if piece.type == "text"]


def _take_call(gathered: _Gathered, call: ToolCall) -> None:
    """A tool call comes whole or in pieces; pieces share an index, and only the first has the id.

    Servers that leave the index out send each call's first piece with another id.
    """
    raw = call.function.arguments
    text = raw if isinstance(raw, str) else json.dumps(raw)
    call_id = call.id if call.id and call.id != "null" else ""
    index = call.index or 0
    place = gathered.places.get(index)
    if place is None or (call_id and call_id != gathered.calls[place].call_id):
        gathered.places[index] = len(gathered.calls)
        gathered.calls.append(RequestedToolCall(call_id=call_id, tool=call.function.name, arguments=text))
        return
    known = gathered.calls[place]
    gathered.calls[place] = known.model_copy(
        update={"arguments": f"{known.arguments}{text}", "tool": known.tool or call.function.name}
    )


def usage_of(info: UsageInfo) -> Usage:
    """Cached tokens come as an extra field in one of two shapes; they are a part of the prompt's."""
    extra: Mapping[str, Any] = info.model_extra or {}
    details = extra.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    prompt = _count(info.prompt_tokens)
    known = _count(cached if cached is not None else extra.get("num_cached_tokens"))
    return Usage(input=prompt, cached_input=min(known, prompt), output=_count(info.completion_tokens))


def _count(value: object) -> int:
    """A count of tokens as a provider sends it; what cannot be one counts as none."""
    return value if isinstance(value, int) and 0 <= value <= MOST_TOKENS else 0


def _reply(
    gathered: _Gathered, request: ModelRequest, started: float, attempts: tuple[Attempt, ...]
) -> ModelReply:
    first = gathered.first_token_at
    return ModelReply(
        answered=gathered.answered or request.model,
        content="".join(gathered.content),
        reasoning="".join(gathered.reasoning) or None,
        tool_calls=tuple(gathered.calls),
        usage=gathered.usage,
        finish_reason=gathered.finish_reason,
        latency_ms=round((monotonic() - started) * 1000),
        time_to_first_token_ms=round((first - started) * 1000) if first is not None else None,
        attempts=attempts,
        provider_request_id=gathered.request_id,
    )


def _noting(attempts: list[Attempt], live: Live) -> Callable[[RetryCallState], None]:
    def note(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Stumble):
            attempts.append(error.attempt(round(state.upcoming_sleep, 3)))
            TRIES.labels(str(error.status)).inc()
            live.retrying(attempts[-1])

    return note


def _stumble(error: Exception) -> Stumble:
    """What went wrong, in the client's own terms; errors of our own code pass through."""
    match error:
        case Stumble():
            return error
        case MistralError() if error.status_code >= 400:
            return Stumble(error.status_code, _detail(error), retry_after(error.headers))
        case MistralError():
            return Stumble(None, f"an answer that is none: {error}")
        case TimeoutError():
            return Stumble(None, "no answer in time")
        case NoResponseError() | httpx2.HTTPError() | httpx2.StreamError() | OSError():
            return Stumble(None, f"{type(error).__name__}: {error}")
        case ValueError() | RecursionError():  # broken JSON, wrong shape, bytes that are no UTF-8
            return Stumble(None, f"an answer that cannot be read ({type(error).__name__})")
    raise error


def _detail(error: MistralError) -> str:
    """The server's message out of the error body, which has one of several shapes."""
    try:
        body = json.loads(error.body)
    except (ValueError, RecursionError):
        return error.body or str(error)
    if isinstance(body, dict):
        message = body.get("message") or body.get("detail") or body.get("error") or body
        return message if isinstance(message, str) else json.dumps(message)
    return str(body)
