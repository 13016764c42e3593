"""What a comparison of arms has shown: a table by metric, and the verdict in a sentence."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from shared.findings import CandidateVerdict, Comparison, Metric, Verdict
from shared.replay_results import ArmResult, MetricSummary
from studio.terminal.amounts import UNKNOWN, figure, usd
from studio.terminal.grid import table
from studio.terminal.text import plain

STYLES: Final = {"better": "green", "worse": "red", "undecided": "yellow"}


def verdict_view(verdict: Verdict, *, narrow: bool = False) -> Iterator[RenderableType]:
    """A table and a sentence for each candidate. `narrow`: without test and p."""
    for candidate in verdict.candidates:
        yield _table(candidate, narrow=narrow)
        yield Text()
        yield sentence(candidate)


def sentence(candidate: CandidateVerdict) -> Text:
    """The deciding metric in full, of the others what they say."""
    first, *others = candidate.comparisons
    says = Text.assemble(
        (plain(candidate.candidate), "bold"), " is ", (plain(first.words), STYLES[first.verdict])
    )
    told = "; ".join(_brief(other) for other in others)
    return says.append(f"; {plain(told)}") if told else says


def arms_table(arms: Sequence[ArmResult]) -> Table:
    """What the runs of each arm came to, where nothing is compared."""
    labels = [plain(summary.label) for summary in arms[0].metrics] if arms else []
    rows = (
        (arm.name, f"{arm.runs:,}", f"{arm.failed:,}", *map(_summary, arm.metrics), _spent(arm))
        for arm in arms
    )
    titles = ("arm", "runs", "failed", *labels, "USD spent")
    return table(titles, rows, right=titles[1:])


def _table(candidate: CandidateVerdict, *, narrow: bool) -> Table:
    made = Table(box=None, padding=(0, 1 if narrow else 2, 0, 0), header_style="dim")
    confidence = f"{figure(candidate.comparisons[0].confidence * 100)} %"
    made.add_column("metric", no_wrap=True)
    for title in ("baseline", plain(candidate.candidate), "difference"):
        made.add_column(title, justify="right", no_wrap=True)
    made.add_column(confidence if narrow else f"interval ({confidence})", no_wrap=True)
    if not narrow:
        made.add_column("test", no_wrap=True)
        made.add_column("p", justify="right", no_wrap=True)
    made.add_column("verdict", no_wrap=True)
    for each in candidate.comparisons:
        test = (
            ()
            if narrow
            else (f"{plain(each.test)}, n={each.baseline.n}/{each.candidate.n}", figure(each.p_value))
        )
        made.add_row(*_figures(each), *test, Text(each.verdict, STYLES[each.verdict]))
    return made


def _figures(each: Comparison) -> tuple[str, ...]:
    arms = (_quantity(each.metric, arm.mean) for arm in (each.baseline, each.candidate))
    return (plain(each.metric.name), *arms, _difference(each), _interval(each))


def _brief(each: Comparison) -> str:
    if each.verdict == "undecided":
        more = (each.samples_needed or 0) - max(each.baseline.n, each.candidate.n)
        needed = f" (about {more:,} more samples an arm would decide)" if more > 0 else ""
        return f"undecided on {each.metric.name}{needed}"
    return f"{each.verdict} on {each.metric.name} ({_difference(each)})"


def _quantity(metric: Metric, value: float | None) -> str:
    if value is None:
        return UNKNOWN
    unit = "" if metric.unit in ("", metric.name) else f" {metric.unit}"
    return f"{figure(value * 100)} %" if metric.binary else f"{figure(value)}{unit}"


def _difference(each: Comparison) -> str:
    """In points for shares, else relative where that says something."""
    if each.difference is None:
        return UNKNOWN
    if each.metric.binary:
        return f"{figure(each.difference * 100, sign=True)} points"
    if each.relative is not None:
        return f"{figure(each.relative * 100, sign=True)} %"
    return figure(each.difference, sign=True)


def _interval(each: Comparison) -> str:
    """As the difference is shown."""
    if each.interval is None:
        return UNKNOWN
    is_share = not each.metric.binary and each.relative is not None and each.baseline.mean
    scale = 100 / abs(each.baseline.mean or 1) if is_share else 100 if each.metric.binary else 1
    low, high = (figure(end * scale, sign=True) for end in (each.interval.low, each.interval.high))
    return f"[{low}, {high}]"


def _summary(summary: MetricSummary) -> str:
    return UNKNOWN if summary.mean is None else figure(summary.mean)


def _spent(arm: ArmResult) -> str:
    return usd(arm.cost_usd) + (f" + {arm.unpriced} unpriced" if arm.unpriced else "")
