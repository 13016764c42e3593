"""What was measured: the values of one metric of one arm, by case and sample. How they are compared is
elsewhere."""

from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from shared.findings import Metric


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
