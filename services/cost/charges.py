"""Which steps cost something, and the charges for them. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.price_book import NoQuote, PriceBook, Quote
from shared.steps import AgentResponse, AgentThought, AnswerRejected, Step, Usage

MODEL_CALL: Final = "model"
BILLABLE: Final = frozenset({"agent-thought", "answer-rejected", "agent-response"})
"""The kinds that `charges` looks at."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What one item of a step cost; `quote` says at which price, or why there is none."""

    run_id: str
    seq: int
    item: str
    project: str
    at: datetime
    kind: str
    model: str
    usage: Usage
    quote: Quote | NoQuote


def charges(steps: Iterable[Step], book: PriceBook) -> list[Charge]:
    """A charge for every step that an answer of the model made, in the order of their keys, each once; none
    for those that a replay took from its source."""
    billable = {
        (step.run_id, step.seq): step
        for step in steps
        if (type(step) is AgentThought or type(step) is AgentResponse or type(step) is AnswerRejected)
        and step.copied_from is None
    }
    return [_charge(billable[key], book) for key in sorted(billable)]


def _charge(step: AgentThought | AnswerRejected | AgentResponse, book: PriceBook) -> Charge:
    call = step.model_call
    model = call.answered or call.asked
    return Charge(
        run_id=step.run_id,
        seq=step.seq,
        item=MODEL_CALL,
        project=step.project,
        at=step.at,
        kind=MODEL_CALL,
        model=model,
        usage=call.usage,
        quote=book.quote(model, call.usage, step.at),
    )
