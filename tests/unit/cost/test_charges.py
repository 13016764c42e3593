"""Which steps are charged, and for which model."""

from services.cost.charges import BILLABLE, Charge, charges
from shared.price_book import NoQuote, PriceBook
from shared.steps import AgentResponse, AgentThought, AnswerRejected, Usage
from tests.support.run_samples import deletion, whole_run
from tests.support.steps import make, model_call, new_key, only

BOOK = PriceBook()


def test_every_answer_of_the_model_is_charged_once_and_nothing_else() -> None:
    steps = whole_run(new_key("blue"), tools=2)
    found = charges([*reversed(steps), deletion(steps), *steps], BOOK)
    answers: list[AgentThought | AgentResponse] = [*only(steps, AgentThought), *only(steps, AgentResponse)]
    assert {step.kind for step in answers} == BILLABLE - {"answer-rejected"}
    assert [charge.seq for charge in found] == [step.seq for step in answers]
    assert [charge.usage for charge in found] == [step.model_call.usage for step in answers]
    assert {(charge.project, charge.item, charge.kind) for charge in found} == {("blue", "model", "model")}


def test_an_answer_that_was_rejected_is_charged_too() -> None:
    fields = {"content": "no JSON", "problem": "not JSON", "model_call": model_call()}
    [charge] = charges([make(AnswerRejected, new_key(), 3, **fields)], BOOK)
    assert (charge.seq, charge.usage) == (3, Usage(input=10, output=5))


def test_what_a_replay_took_from_its_source_costs_nothing() -> None:
    steps = whole_run(new_key(), tools=2)
    copied = [
        step.model_copy(update={"copied_from": step.seq}) if isinstance(step, AgentThought) else step
        for step in steps
    ]
    [charge] = charges(copied, BOOK)
    assert charge.seq == only(steps, AgentResponse)[0].seq


def test_the_model_that_answered_is_charged() -> None:
    [charge] = _charged(asked="mistral-large-latest", answered="mistral-large-2512")
    assert charge.model == "mistral-large-2512"


def test_without_an_answered_model_the_asked_one_is_charged() -> None:
    [charge] = _charged(asked="mistral-large-latest", answered="")
    assert charge.model == "mistral-large-latest"


def test_an_unknown_model_is_charged_without_a_price() -> None:
    [charge] = _charged(asked="mistral-large-latest", answered="somebody-elses")
    assert isinstance(charge.quote, NoQuote)
    assert charge.usage == Usage(input=10, output=5)


def _charged(**fields: str) -> list[Charge]:
    response = whole_run(new_key(), tools=0)[3]
    return charges([response.model_copy(update={"model_call": model_call(**fields)})], BOOK)
