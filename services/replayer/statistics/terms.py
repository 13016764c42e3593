"""On what terms arms are compared: the levels, and how much chance is drawn."""

from dataclasses import dataclass
from typing import Final

RESAMPLES: Final = 9_999


@dataclass(frozen=True)
class Terms:
    """`level` is the error that this comparison may make: its interval has the confidence 1 - level.
    `planned` is the level of the last look of the schedule, for which further samples are reckoned."""

    level: float = 0.05
    planned: float = 0.05
    resamples: int = RESAMPLES

    def __post_init__(self) -> None:
        if not (0 < self.level < 1 and 0 < self.planned < 1):
            raise ValueError(
                f"a level lies between 0 and 1, as 0.05 does; not {self.level} and {self.planned}"
            )
        if self.resamples < 1:
            raise ValueError(f"at least one resample is needed, not {self.resamples}")
