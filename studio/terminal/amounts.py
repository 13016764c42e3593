"""Numbers with their units: durations, money, tokens, ages."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from shared.steps import Usage
from studio.client.models import RunSummary

UNKNOWN: Final = "–"


def duration(seconds: float) -> str:
    """`12 ms`, `2.31 s`, `3 min 05 s`, `2 h 05 min`."""
    if seconds < 0.9995:
        return f"{max(seconds, 0) * 1000:.0f} ms"
    if seconds < 59.995:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def counted(number: int, noun: str) -> str:
    """`1 round`, `2 rounds`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def run_time(run: RunSummary) -> str:
    """From when the run was created to its end."""
    return duration(run.duration.total_seconds()) if run.duration is not None else UNKNOWN


def usd(amount: Decimal) -> str:
    """Six digits behind the point: a model call often costs less than a hundredth of a cent."""
    return f"{amount:.6f}" if amount else "0"


def cost(run: RunSummary) -> str:
    """The priced part, marked when it is not the whole; never zero for what is not known."""
    if run.total_cost_usd is None:
        return "unpriced" if run.unpriced else UNKNOWN
    known = usd(run.total_cost_usd)
    if run.unpriced:
        return f"{known} + {run.unpriced} unpriced"
    return f"≥ {known}" if run.lacks_charges else known


def sum_cost(amount: Decimal | None, unpriced: int) -> str:
    """Of many runs: the priced part, marked when it is not the whole; never zero for what is not known."""
    if amount is None:
        return "unpriced" if unpriced else UNKNOWN
    return f"{usd(amount)} + {unpriced} unpriced" if unpriced else usd(amount)


def price(run: RunSummary) -> str:
    """The cost where no heading says what the number is."""
    if run.total_cost_usd is not None:
        return f"{cost(run)} USD"
    if run.unpriced:
        return "unpriced"
    return "cost unknown" if run.model_calls else "no cost"


def tokens(usage: Usage) -> str:
    """Input and output tokens; how many of the input came from the provider's cache."""
    cached = f" ({usage.cached_input:,} cached)" if usage.cached_input else ""
    return f"{usage.input:,}{cached} → {usage.output:,} tokens"


def size(number: int) -> str:
    """`512 bytes`, `12.3 KiB`, `4.0 MiB`."""
    if number < 1024:
        return counted(number, "byte")
    return f"{number / 1024:,.1f} KiB" if number < 1024**2 else f"{number / 1024**2:,.1f} MiB"


def age(moment: datetime | None, now: datetime) -> str:
    """`12 s ago`, `3 min ago`, `2 h ago`, `5 d ago`."""
    return f"{_roughly(now - moment)} ago" if moment is not None else UNKNOWN


def ahead(moment: datetime, now: datetime) -> str:
    """`in 12 s`, `in 3 min`."""
    return f"in {_roughly(moment - now)}"


def _roughly(span: timedelta) -> str:
    seconds = max(0, int(span.total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def figure(value: float, *, sign: bool = False) -> str:
    """Three figures, or all before the point: `0.00357`, `31.2`, `1,234`."""
    if not 1e-6 <= abs(value) < 1000:
        return format(
            value, f"{'+' if sign and value else ''}{',.0f' if 1000 <= abs(value) < 1e15 else '.3g'}"
        )
    return format(Decimal(format(value, ".3g")), f"{'+' if sign else ''}f")
