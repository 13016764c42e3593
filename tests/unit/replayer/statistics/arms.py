"""Arms with given values, for the tests of the statistics."""

from collections.abc import Iterable

from services.replayer.statistics.observations import Observations
from shared.findings import Metric

COST = Metric(name="cost", better="lower", unit="USD")
TOKENS = Metric(name="tokens", better="lower", unit="tokens")
SCORE = Metric(name="score", better="higher", bounds=(0.0, 1.0))
SUCCESS = Metric(name="success", better="higher", binary=True)


def one_case(metric: Metric, values: Iterable[float | None]) -> Observations:
    return by_case(metric, [values])


def by_case(metric: Metric, cases: Iterable[Iterable[float | None]]) -> Observations:
    return Observations(
        metric=metric, cases={f"case {index}": tuple(values) for index, values in enumerate(cases)}
    )
