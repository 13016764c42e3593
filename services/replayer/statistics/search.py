"""Where a search for the step to blame stands: the points, and what was tried at each."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.replayer.statistics.change_point import Tally


class Search(BaseModel):
    """Where a search stands. `points` are the steps (seq) that one can fork behind, ascending, the first
    the start; `tallies` the successes and tries so far by point; `runs_left` what the budget still allows."""

    model_config = ConfigDict(frozen=True)

    points: tuple[int, ...] = Field(min_length=1)
    tallies: Mapping[int, Tally] = {}
    runs_left: int = Field(ge=0)
    runs_per_point: int = Field(default=5, ge=1)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)

    @model_validator(mode="after")
    def _tallies_belong_to_points(self) -> Self:
        if any(left >= right for left, right in pairwise(self.points)):
            raise ValueError(f"the points must ascend: {self.points}")
        for point, (successes, tries) in self.tallies.items():
            if point not in self.points:
                raise ValueError(f"step {point} is none of the points {self.points}")
            if not 0 <= successes <= tries:
                raise ValueError(f"step {point}: {successes} of {tries} tries cannot have succeeded")
        return self

    @property
    def in_order(self) -> list[Tally]:
        """The tally of each point, (0, 0) where nothing was tried."""
        return [self.tallies.get(point, (0, 0)) for point in self.points]
