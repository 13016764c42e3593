"""Findings in words for people: one sentence or two."""

from shared.findings import Blame, CandidateVerdict, Comparison, Metric, Stretch


def describe(comparison: Comparison) -> str:
    """`better: tokens 31.2 lower, 969 instead of 1,000 (−3.1 %) [−50.0, −12.3] at 95 %, 40 samples each`"""
    if comparison.difference is None:
        return f"undecided: no value of {comparison.metric.name} to compare{_missing(comparison)}"
    return (
        f"{comparison.verdict}: {_change(comparison)}{_interval(comparison)}, {_samples(comparison)}"
        f"{_missing(comparison)}{_outlook(comparison)}"
    )


def summarise(candidates: tuple[CandidateVerdict, ...], more_runs: int) -> str:
    """The verdicts, and how it goes on."""
    verdicts = "; ".join(f"{each.candidate} is {each.verdict} after {each.runs} runs" for each in candidates)
    return f"{verdicts}; {more_runs} more runs per arm before the next look" if more_runs else verdicts


def number(value: float, sign: bool = False) -> str:
    """Three figures, or all before the point: `0.00357`, `31.2`, `1,234`; with a true minus."""
    size = abs(value)
    form = ",.0f" if 1000 <= size < 1e15 else ".3g"
    return format(value, f"{'+' if sign else ''}{form}").replace("-", "−")


def _change(comparison: Comparison) -> str:
    metric, difference = comparison.metric, comparison.difference or 0.0
    left, right = (_quantity(metric, arm.mean or 0.0) for arm in (comparison.baseline, comparison.candidate))
    if difference == 0:
        return f"{metric.name} the same, {right}"
    size = f"{number(abs(difference) * 100)} points" if metric.binary else _quantity(metric, abs(difference))
    direction = "higher" if difference > 0 else "lower"
    known = comparison.relative is not None and not metric.binary
    share = f" ({number((comparison.relative or 0.0) * 100, True)} %)" if known else ""
    return f"{metric.name} {size} {direction}, {right} instead of {left}{share}"


def _quantity(metric: Metric, value: float) -> str:
    if metric.binary:
        return f"{number(value * 100)} %"
    return f"{number(value)} {'' if metric.unit == metric.name else metric.unit}".rstrip()


def _interval(comparison: Comparison) -> str:
    if comparison.interval is None:
        single = comparison.test == "none"
        return ", no interval from a single value" if single else ", no interval, for no spread was seen"
    scale = 100 if comparison.metric.binary else 1
    low, high = (number(end * scale, True) for end in (comparison.interval.low, comparison.interval.high))
    return f" [{low}, {high}] at {number(comparison.confidence * 100)} %"


def _samples(comparison: Comparison) -> str:
    left, right = comparison.baseline.n, comparison.candidate.n
    each = "one sample each" if left == 1 else f"{left:,} samples each"
    samples = each if left == right else f"{left:,} and {right:,} samples"
    return samples if comparison.cases == 1 else f"{samples}, {comparison.cases} cases"


def _missing(comparison: Comparison) -> str:
    left, right = comparison.baseline.missing, comparison.candidate.missing
    return (
        f" (runs without a value: {left} of the baseline, {right} of the candidate)" if left or right else ""
    )


def _outlook(comparison: Comparison) -> str:
    if comparison.verdict != "undecided":
        return ""
    if comparison.difference == 0:
        return "; with no difference seen, no number of samples can be named"
    if comparison.samples_needed is None:
        return "; how many samples would decide it cannot be told"
    more = comparison.samples_needed - max(comparison.baseline.n, comparison.candidate.n)
    return f"; {more:,} more per arm would show such a difference, eight times of ten"


def describe_blame(blame: Blame) -> str:
    """`behind step 7, up to step 11: …`, with what was seen on both sides."""
    seen = "; ".join(
        f"forked behind step {each.point}, {each.successes} of {each.tries} runs succeed"
        for each in blame.points
        if blame.culprit is None or each.point in (blame.culprit.stretch.after, blame.culprit.stretch.until)
    )
    tries = sum(each.tries for each in blame.points)
    if blame.verdict == "from-start":
        return f"no step is to blame, the run fails from the start: {seen}"
    if blame.verdict == "undecided" or blame.culprit is None:
        within = _where(blame.within)
        return f"undecided after {tries} runs: no stretch stands out; if one is to blame, it lies {within}"
    return f"to blame is what happened {_where(blame.culprit.stretch)}: {seen}{_drop(blame)}"


def _drop(blame: Blame) -> str:
    culprit = blame.culprit
    if culprit is None or culprit.drop is None or culprit.interval is None:
        return ""
    low, high = number(culprit.interval.low * 100), number(culprit.interval.high * 100)
    return f", a drop of {number(culprit.drop * 100)} points [{low}, {high}]"


def _where(stretch: Stretch) -> str:
    after = "from the beginning on" if stretch.after is None else f"behind step {stretch.after}"
    return f"{after}, up to {'the end' if stretch.until is None else f'step {stretch.until}'}"
