"""How long a model takes: the waits before and between the parts of an answer, scaled by a setting.

In: durations. Out: waiting itself (`streaming`).
"""

from dataclasses import dataclass

from services.simulator.models import Model

MAX_ANSWER_S = 120.0
"""No answer takes longer, however long its text and whatever the scale."""


@dataclass
class LatencyScale:
    """The scale in force, changed by an admin while the service runs."""

    scale: float


@dataclass(frozen=True)
class Pace:
    """Seconds until the first token and for each further one."""

    first: float
    per_token: float

    @property
    def instant(self) -> bool:
        return self.first == 0.0 and self.per_token == 0.0


def pace_of(model: Model, scale: float, tokens: int, trickle: float | None) -> Pace:
    """The pace of an answer of so many tokens; `trickle` seconds are spread over its tokens in addition."""
    first = model.first_token_ms / 1000 * scale
    per_token = scale / model.tokens_per_second
    bound = MAX_ANSWER_S / max(MAX_ANSWER_S, first + per_token * tokens)
    return Pace(first * bound, per_token * bound + (trickle or 0.0) / max(1, tokens))
