"""When a request is made again, and how long is waited before it. Pure but for the jitter.

Every request of this client may be repeated: those that create something carry an idempotency key.
"""

import random
from dataclasses import dataclass
from typing import Final

from studio.backoff import doubled
from studio.client.errors import ApiError, StudioError, Unreachable


@dataclass(frozen=True)
class RetryPolicy:
    """At most `tries` tries in a row. The wait doubles from `shortest_s`, at least what the server asks for.

    A server that asks for more than `longest_s` is not waited for: its error is raised at once.
    """

    tries: int = 5
    shortest_s: float = 0.25
    longest_s: float = 30.0


USUAL: Final = RetryPolicy()


class Tries:
    """The tries of one request, or of one stream's connections."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self.failed = 0

    def reset(self) -> None:
        """Something was gained: later failures count from the start."""
        self.failed = 0

    def wait_after(self, error: StudioError) -> float:
        """Seconds to wait before the next try; raises the error when there is none."""
        self.failed += 1
        told = (error.retry_after_s or 0.0) if isinstance(error, ApiError) else 0.0
        if not _may_pass(error) or self.failed >= self._policy.tries or told > self._policy.longest_s:
            raise error
        wait = doubled(self._policy.shortest_s, self._policy.longest_s, self.failed)
        return max(told, wait * random.uniform(0.5, 1.0))


def _may_pass(error: StudioError) -> bool:
    return isinstance(error, Unreachable) or (isinstance(error, ApiError) and error.retryable)
