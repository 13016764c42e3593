"""Which failures of the model are worth another try, and how long to wait before it."""

import re
from collections.abc import Sequence
from typing import Final

from tenacity import RetryCallState, wait_random_exponential

from shared.steps import Attempt, Failure

RETRYABLE_STATUSES: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
CONTEXT_TOO_LONG: Final = re.compile(
    r"(?:prompt|input|messages?|request)[^.]{0,80}(?:too (?:long|large)|exceed|longer than)"
    r"|maximum context length"
    r"|(?:exceed|larger than)[^.]{0,80}(?:context|maximum)[^.]{0,40}(?:length|window|tokens)"
    r"|too many tokens",
    re.IGNORECASE,
)
UNKNOWN_MODEL: Final = re.compile(r"(?:invalid|unknown) model|model .*not (?:found|exist)", re.IGNORECASE)
DETAIL_LIMIT: Final = 500


class Stumble(Exception):
    """One failed try: `status` is the HTTP status, None when no (whole) answer came."""

    def __init__(self, status: int | None, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail[:DETAIL_LIMIT]
        self.retry_after_s = retry_after_s

    @property
    def is_retryable(self) -> bool:
        return self.status is None or self.status in RETRYABLE_STATUSES

    def attempt(self, wait_s: float = 0.0) -> Attempt:
        return Attempt(status=self.status, error=self.detail, wait_s=wait_s)

    def failure(self, before: Sequence[Attempt] = ()) -> Failure:
        """What a run ends with when this was the last try after those `before` it."""
        after = f" (after {len(before) + 1} tries)" if before else ""
        return Failure(
            type=self._type(),
            message=f"The model call failed{after}: {self._label()}: {self.detail}",
            retryable=self.is_retryable,
            attempts=(*before, self.attempt()),
        )

    def _label(self) -> str:
        return f"HTTP {self.status}" if self.status is not None else "no answer"

    def _type(self) -> str:
        match self.status:
            case None:
                return "model-unavailable"
            case 400 | 413 | 422 if CONTEXT_TOO_LONG.search(self.detail):
                return "context-too-long"
            case 401 | 403:
                return "model-unauthorized"
            case 400 | 422 if UNKNOWN_MODEL.search(self.detail):
                return "model-not-found"
            case 404:
                return "model-not-found"
            case 429:
                return "rate-limited"
            case status if status < 500:
                return "model-rejected"
        return "model-unavailable"


class wait_as_told(wait_random_exponential):  # noqa: N801 - named like the strategies it stands beside
    """Exponential backoff with jitter, but at least what Retry-After says, up to `longest` seconds."""

    def __init__(self, shortest: float, longest: float) -> None:
        super().__init__(multiplier=max(shortest, 0.001), max=longest, min=shortest)
        self._longest = longest

    def __call__(self, retry_state: RetryCallState) -> float:
        wait = super().__call__(retry_state)
        error = retry_state.outcome.exception() if retry_state.outcome else None
        told = error.retry_after_s if isinstance(error, Stumble) else None
        return min(max(wait, told or 0.0), self._longest)
