"""What was measured: the values of one metric of one arm, by case and sample. How they are compared is
elsewhere."""

import math
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Metric(BaseModel):
    """What is measured, in which unit, and which direction is good.

    `bounds` are the least and the greatest value that can occur, where both are known; a binary metric has
    0 and 1.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    name: str = Field(min_length=1)
    better: Literal["higher", "lower"]
    unit: str = ""
    binary: bool = False
    bounds: tuple[float, float] | None = None

    @model_validator(mode="after")
    def _bounds_ascend(self) -> Self:
        if self.bounds and self.bounds[0] >= self.bounds[1]:
            raise ValueError(f"{self.name}: a lower bound and an upper one are needed, not {self.bounds}")
        return self

    @property
    def span(self) -> tuple[float, float] | None:
        return (0.0, 1.0) if self.binary else self.bounds

    def refusal(self, value: float) -> str | None:
        """Why this cannot be a value of the metric; None where it can."""
        if not math.isfinite(value):
            return f"{self.name}: {value} is no number; a run without a value has None"
        if self.binary and value not in (0.0, 1.0):
            return f"{self.name} is binary: {value} is neither 0 nor 1"
        if self.span and not self.span[0] <= value <= self.span[1]:
            return f"{self.name}: {value} lies outside {self.span[0]:g} to {self.span[1]:g}"
        return None


class Observations(BaseModel):
    """The values of one arm by case (a prompt, a source run) and sample; None where the run has no value:
    it failed before an answer, or its price is unknown. Such a run is counted as missing, never as zero."""

    model_config = ConfigDict(frozen=True)

    metric: Metric
    cases: Mapping[str, tuple[float | None, ...]]

    @model_validator(mode="after")
    def _values_fit_the_metric(self) -> Self:
        for case, values in self.cases.items():
            for value in values:
                if value is not None and (refusal := self.metric.refusal(value)):
                    raise ValueError(f"case {case}: {refusal}")
        return self

    @property
    def missing(self) -> int:
        return sum(value is None for values in self.cases.values() for value in values)

    def present(self, case: str) -> list[float]:
        return [value for value in self.cases.get(case, ()) if value is not None]
