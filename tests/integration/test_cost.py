"""Charges on a real broker and a real database: each once, exact, and never made up."""

import json
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date
from decimal import Decimal
from typing import Any

import genai_prices
import pytest

from services.cost.charges import BILLABLE
from services.cost.handlers import CHARGES, MOST_NAMES, UNPRICED, Accountant
from shared.bus import COST, make_broker
from shared.database import Database
from shared.price_book import PriceBook
from shared.scrub import Scrubber
from shared.service import Runtime
from shared.steps import AgentResponse, Step, Usage
from shared.stored import subject_of
from tests.support.recorders import buried, drained, publish
from tests.support.run_samples import deletion, whole_run
from tests.support.steps import AT, make, model_call, new_key

BOOK = PriceBook()


@pytest.fixture
def accountant(database: Database) -> Accountant:
    return Accountant(database, BOOK)


async def test_a_charge_says_what_was_paid_by_which_price(accountant: Accountant, database: Database) -> None:
    step = _response("mistral-large-2512", Usage(input=1000, cached_input=400, output=50, reasoning=9))
    await accountant.charge([step])
    [row] = await _charges(database)
    assert row["amount_usd"] == Decimal("0.000395")
    assert json.loads(row["prices"]) == {
        "input_mtok": "0.5",
        "cache_read_mtok": "0.05",
        "output_mtok": "1.5",
    }
    assert (row["price_source"], row["price_version"]) == ("genai-prices", genai_prices.__version__)
    assert (row["price_date"], row["reason"]) == (date(2026, 11, 20), None)
    assert (row["input_tokens"], row["cached_input_tokens"]) == (1000, 400)
    assert (row["output_tokens"], row["reasoning_tokens"]) == (50, 9)
    assert (str(row["run_id"]), row["seq"], row["item"]) == (step.run_id, 3, "model")
    assert (row["kind"], row["provider"], row["model"]) == ("model", "mistral", "mistral-large-2512")
    assert (row["project"], row["at"]) == ("default", AT)


async def test_an_unknown_model_is_charged_without_a_sum_and_counted(
    accountant: Accountant, database: Database
) -> None:
    unpriced = UNPRICED.labels("nobodys-model")._value.get()
    step = _response("nobodys-model", Usage(input=1000, output=50))
    await accountant.charge([step])
    await accountant.charge([step])
    [row] = await _charges(database)
    assert (row["amount_usd"], row["prices"], row["price_date"], row["provider"]) == (None, None, None, None)
    assert row["reason"] == "the price book does not know the model 'nobodys-model'"
    assert row["input_tokens"] == 1000
    assert UNPRICED.labels("nobodys-model")._value.get() == unpriced + 1


async def test_ever_new_model_names_do_not_grow_the_metric(
    accountant: Accountant, database: Database
) -> None:
    other = UNPRICED.labels("other")._value.get()
    names = [f"stranger-{n}" for n in range(MOST_NAMES + 20)]
    await accountant.charge([_response(name, Usage(input=1)) for name in names])
    assert UNPRICED.labels("other")._value.get() == other + 20
    assert len(await _charges(database)) == len(names)


async def test_three_deliveries_shuffled_over_two_instances_are_charged_once(
    nats_url: str, database_url: str, database: Database
) -> None:
    logs = [whole_run(new_key(), tools=n % 3) for n in range(30)]
    parts = [log[place : place + 2] for log in logs for place in range(1, len(log), 2)]
    messages: list[Sequence[Step]] = [*parts, *([deletion(log)] for log in logs[:5])] * 3
    random.Random(7).shuffle(messages)
    priced = CHARGES.labels("yes")._value.get()
    async with _accountants(nats_url, database_url, count=2):
        await publish(nats_url, messages)
        await drained(nats_url, COST)
    found = {(str(row["run_id"]), row["seq"]): row["amount_usd"] for row in await _charges(database)}
    # mistral-large-2411 costs 2 and 6: a thought of 40 + 6 tokens 116, the answer of 70 + 9 tokens 194.
    prices = {"agent-thought": Decimal("0.000116"), "agent-response": Decimal("0.000194")}
    assert found == {
        (step.run_id, step.seq): prices[step.kind] for log in logs for step in log if step.kind in prices
    }
    assert CHARGES.labels("yes")._value.get() == priced + len(found)


async def test_a_charge_that_postgres_refuses_costs_only_itself(
    nats_url: str, database_url: str, database: Database
) -> None:
    log = whole_run(new_key())
    poison = _response("a\x00b", Usage(input=1))
    async with _accountants(nats_url, database_url):
        await publish(nats_url, [log[1:5], [poison], log[5:]])
        await drained(nats_url, COST)
    assert len(await _charges(database)) == 3
    [letter] = await buried(nats_url)
    assert subject_of(letter).startswith("dead.cost.permanent.")


@asynccontextmanager
async def _accountants(nats_url: str, database_url: str, count: int = 1) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for _ in range(count):
            broker = await stack.enter_async_context(make_broker("cost", nats_url))
            database = Database(database_url, size=2, name="cost")
            stack.push_async_callback(database.close)
            runtime = Runtime("cost", broker, Scrubber())
            accountant = Accountant(database, BOOK)
            await stack.enter_async_context(
                runtime.consuming(COST, accountant.charge, most_messages=20, only=BILLABLE)
            )
        yield


def _response(model: str, usage: Usage) -> AgentResponse:
    answer = model_call(answered=model, usage=usage)
    return make(AgentResponse, new_key(), 3, content="It is 15.", model_call=answer)


async def _charges(database: Database) -> list[dict[str, Any]]:
    async with database.connection() as connection:
        return [dict(row) for row in await connection.fetch("SELECT * FROM charges ORDER BY run_id, seq")]
