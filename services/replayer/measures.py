"""What a run of a replay came to, from its steps. Pure: expressions are evaluated in `expressions`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from shared.messages import WantedMetric
from shared.price_book import NoQuote, PriceBook
from shared.provider_messages import text_of
from shared.replay_results import RunMeasures, Trouble, Verified
from shared.run_state import RunState
from shared.steps import AgentResponse, AgentThought, AnswerRejected, RunStatus, Step

DIVERGED: Final = "diverged"
GONE: Final = "gone"
SOURCE_GONE: Final = "source-gone"
"""The runner's word for a source that it cannot read."""
NOT_ENDED: Final = "not-ended"

Scalar = float | int | str | bool | None


@dataclass(frozen=True)
class Facts:
    """What metrics are made of; `answer` is None for a run that gave none."""

    answer: str | None
    status: str
    cost_usd: Decimal | None
    latency_ms: int
    tokens: int
    rounds: int
    tool_calls: int
    expected: str | None = None

    def inputs(self) -> dict[str, Scalar]:
        """By the names that an expression has for them."""
        cost = None if self.cost_usd is None else float(self.cost_usd)
        return {**vars(self), "cost_usd": cost}


def facts(state: RunState, steps: Iterable[Step], book: PriceBook) -> Facts:
    """Of a run that has ended. What it took over from its source has cost no money, tokens or time."""
    totals = state.finished.totals if state.finished else None
    return Facts(
        answer=text_of(state.response.content) if state.response is not None else None,
        status=state.status,
        cost_usd=cost(steps, book),
        latency_ms=totals.duration_ms if totals else 0,
        tokens=state.usage.total,
        rounds=state.rounds,
        tool_calls=state.tool_calls,
    )


def with_asked(known: Facts, asked: Sequence[Facts] | None) -> Facts:
    """With what the runs took that answered its calls; None: that is not known, and so is no sum."""
    costs = [known.cost_usd, *(each.cost_usd for each in asked or ())]
    is_known = asked is not None and None not in costs
    return replace(
        known,
        cost_usd=sum((each for each in costs if each is not None), Decimal()) if is_known else None,
        tokens=known.tokens + sum(each.tokens for each in asked or ()),
    )


def cost(steps: Iterable[Step], book: PriceBook) -> Decimal | None:
    """USD of the run's own calls of models; None when the price of one is not known."""
    amount = Decimal()
    for step in steps:
        if not isinstance(step, AgentThought | AnswerRejected | AgentResponse) or is_copied(step):
            continue
        call = step.model_call
        quote = book.quote(call.answered or call.asked, call.usage, step.at)
        if isinstance(quote, NoQuote):
            return None
        amount += quote.amount_usd
    return amount


def is_copied(step: AgentThought | AnswerRejected | AgentResponse) -> bool:
    return step.copied_from is not None


def expected_of(metric: WantedMetric, source: str) -> str | None:
    return metric.expected.get(source) if isinstance(metric.expected, Mapping) else metric.expected


TAKEN: Final = frozenset({"cost_usd", "latency_ms", "tokens", "rounds", "tool_calls"})


def value_of(metric: WantedMetric, known: Facts) -> tuple[float | None, str | None]:
    """The value of a metric that is no expression, or None and why there is none.

    A run without an answer has not given the one that was expected. What a run took that did not complete
    says nothing about what its arm takes: to fail at once is not cheap.
    """
    if metric.name in TAKEN and known.status != RunStatus.COMPLETED:
        return None, f"the run is {known.status}"
    match metric.name:
        case "success":
            return float(known.status == RunStatus.COMPLETED), None
        case "cost_usd":
            missing = "the price of a model that it called is not known"
            return (None, missing) if known.cost_usd is None else (float(known.cost_usd), None)
        case "exact" | "contains":
            if known.expected is None:
                return None, "no answer is expected of this source"
            answer, expected = (known.answer or "").strip(), known.expected.strip()
            is_so = answer == expected if metric.name == "exact" else expected in answer
            return float(is_so and known.answer is not None), None
        case "latency_ms" | "tokens" | "rounds" | "tool_calls":
            return float(getattr(known, metric.name)), None
        case "expression":
            raise ValueError("an expression is evaluated, not looked up")


def void(state: RunState) -> str | None:
    """Why the end of the run says nothing about its arm: somebody stopped it, or its source was not there."""
    if state.status is RunStatus.CANCELLED:
        return "it was cancelled"
    error = state.finished.error if state.finished else None
    return error.message if error is not None and error.type == SOURCE_GONE else None


def measures(state: RunState, known: Facts) -> RunMeasures:
    """All but the metrics, the divergence and the faults."""
    error = state.finished.error if state.finished else None
    verified = state.verified
    return RunMeasures(
        cost_usd=known.cost_usd,
        latency_ms=known.latency_ms,
        tokens=known.tokens,
        rounds=known.rounds,
        tool_calls=known.tool_calls,
        verified=verified
        and Verified(equal=verified.equal, steps=verified.steps, model_calls=verified.model_calls),
        divergence=verified.divergence if verified else None,
        error=Trouble(type=error.type, message=error.message) if error else None,
    )


def gone(why: str, metrics: Sequence[WantedMetric] = (), *, cost_usd: Decimal | None = None) -> RunMeasures:
    """Of a run that nobody can read any more, that was never begun or says nothing: no metric has a value."""
    return RunMeasures(
        cost_usd=cost_usd,
        values={metric.label: None for metric in metrics},
        error=Trouble(type=GONE, message=why),
    )
