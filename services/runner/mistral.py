"""The model behind the official client: chat completions, retried and told live.

How a streamed answer is put together is in `answer`, which failures are worth another try in `retry`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

import httpx2
from mistralai.client import Mistral
from mistralai.client.errors import MistralError, NoResponseError
from mistralai.client.models import BaseModelCard, CompletionChunk, FTModelCard
from prometheus_client import Counter, Histogram
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from services.runner.answer import StreamedAnswer
from services.runner.model import Live, ModelFailed, ModelReply
from services.runner.retry import Stumble, wait_as_told
from services.runner.settings import Settings
from shared.model_request import ModelRequest
from shared.retry_after import retry_after
from shared.steps import Attempt

CALLS = Histogram("studio_model_call_seconds", "Time of a model call, all tries.", ["outcome"])
FIRST_TOKEN = Histogram("studio_model_first_token_seconds", "Time to a try's first token.")
TRIES = Counter("studio_model_retries_total", "Tries of a model call that failed.", ["status"])


class MistralModel:
    """One client for the process: making one costs far more than a call."""

    def __init__(self, settings: Settings) -> None:
        # By default a hundred connections, of which twenty stay open: further runs would wait in line for
        # one, and most calls would begin with a handshake.
        most = settings.runner_concurrency + 1
        limits = httpx2.Limits(max_connections=most, max_keepalive_connections=most)
        self._client = Mistral(
            api_key=settings.mistral_api_key.get_secret_value(),
            server_url=settings.mistral_server_url,
            timeout_ms=int(settings.mistral_timeout_s * 1000),
            async_client=httpx2.AsyncClient(limits=limits, follow_redirects=True),
        )
        self._timeout_s = settings.mistral_timeout_s
        self._stop = stop_after_attempt(settings.mistral_retry_max_attempts)
        self._wait = wait_as_told(settings.mistral_retry_min_wait, settings.mistral_retry_max_wait)

    async def names(self) -> list[str]:
        """The models that the provider offers, aliases included. Raises ModelFailed."""
        try:
            with _stumbling():
                listed = await self._client.models.list_async(timeout_ms=10_000)
        except Stumble as error:
            raise ModelFailed(error.failure()) from error
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
                    answer, first_token_at = await self._try(request, live)
        except Stumble as error:
            CALLS.labels("failed").observe(monotonic() - started)
            TRIES.labels(str(error.status)).inc()
            raise ModelFailed(error.failure(attempts)) from error
        CALLS.labels("answered").observe(monotonic() - started)
        return answer.reply(
            latency_ms=round((monotonic() - started) * 1000),
            time_to_first_token_ms=round((first_token_at - started) * 1000),
            attempts=tuple(attempts),
        )

    async def _try(self, request: ModelRequest, live: Live) -> tuple[StreamedAnswer, float]:
        """The whole answer, and when its first piece came. Raises Stumble."""
        answer = StreamedAnswer(answered=request.model)
        started = monotonic()
        first_token_at = None
        with _stumbling():
            async with asyncio.timeout(self._timeout_s):
                async for chunk in self._chunks(request):
                    answer.take(chunk, live)
                    if first_token_at is None:
                        first_token_at = monotonic()
                        FIRST_TOKEN.observe(first_token_at - started)
        if first_token_at is None or answer.finish_reason is None:
            raise Stumble(None, "the stream was cut before its end")
        if answer.finish_reason == "error":
            raise Stumble(None, "the provider broke its answer off with an error")
        return answer, first_token_at

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


def _noting(attempts: list[Attempt], live: Live) -> Callable[[RetryCallState], None]:
    def note(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Stumble):
            attempts.append(error.attempt(round(state.upcoming_sleep, 3)))
            TRIES.labels(str(error.status)).inc()
            live.retrying(attempts[-1])

    return note


@contextmanager
def _stumbling() -> Iterator[None]:
    """Turn what the client raises into a Stumble; errors of our own code pass through."""
    try:
        yield
    except MistralError as error:
        if error.status_code >= 400:
            told = retry_after(error.headers.get("retry-after", ""))
            raise Stumble(error.status_code, _detail(error), told) from error
        raise Stumble(None, f"an answer that is none: {error}") from error
    except TimeoutError as error:
        raise Stumble(None, "no answer in time") from error
    except (NoResponseError, httpx2.HTTPError, httpx2.StreamError, OSError) as error:
        raise Stumble(None, f"{type(error).__name__}: {error}") from error
    except (ValueError, RecursionError) as error:  # broken JSON, wrong shape, bytes that are no UTF-8
        raise Stumble(None, f"an answer that cannot be read ({type(error).__name__})") from error


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
