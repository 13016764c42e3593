"""The recorder's rows: the same whatever is delivered, how often, in which order and to how many."""

import json
import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.recorder.handlers import Recorder
from shared.bodies import BodyStore
from shared.bus import client_of, make_broker
from shared.database import Database
from shared.run_log import RunLog
from shared.run_state import fold
from shared.step_codec import decode_step, encode_step
from shared.steps import Step
from shared.subjects import RunKey
from tests.support.recorders import (
    drained,
    dump,
    empty,
    publish,
    recorders,
    run_row,
    seqs,
    together,
)
from tests.support.run_samples import deliveries, runs, unknown, whole_run
from tests.support.steps import new_key, result


@pytest.fixture
async def recorder(nats_url: str, database: Database) -> Any:
    async with make_broker("recorder", nats_url) as broker:
        yield Recorder(database, BodyStore(client_of(broker)))


async def test_a_run_is_queryable_as_its_steps_and_its_fold(recorder: Recorder, database: Database) -> None:
    steps = whole_run(new_key("blue"))
    await recorder.record(steps)
    row, state = await run_row(database, steps[0].run_id), fold(steps)
    assert (row["project"], row["status"], row["last_seq"]) == ("blue", "completed", len(steps) - 1)
    assert (row["agent"], row["agent_version"], row["model"]) == ("helper", 1, "mistral-large-latest")
    assert (row["prompt"], row["response"]) == ("What is 5 + 10?", "It is 15.")
    assert (row["session_id"], row["user_id"], row["group_name"]) == ("s-1", "default", "g-1")
    assert json.loads(row["metadata"]) == {"team": "blue"}
    assert (row["created_at"], row["started_at"]) == (steps[0].at, steps[1].at)
    assert (row["finished_at"], row["steps"]) == (steps[-1].at, len(steps))
    assert (row["input_tokens"], row["cached_input_tokens"]) == (150, 40)
    assert (row["output_tokens"], row["reasoning_tokens"]) == (21, 8)
    assert (row["rounds"], row["model_calls"], row["tool_calls"]) == (2, 3, 2)
    assert (row["attempt"], row["error"], row["deleted_at"]) == (state.attempt, None, None)


async def test_the_stored_payload_is_the_very_text_of_the_step(
    recorder: Recorder, database: Database
) -> None:
    key = new_key()
    value = {"z": 1e22, "a": [1.0, -0.0, None, True], "é": '\u2028 \\u0000 "$body"'}
    step = result(key, 7, value)
    await recorder.record([step])
    async with database.connection() as connection:
        row = await connection.fetchrow("SELECT * FROM steps")
    assert row is not None
    assert row["payload"].encode() == encode_step(step)
    assert decode_step(json.loads(row["payload"])) == step
    assert (row["run_id"], row["seq"], row["kind"]) == (UUID(key.run_id), 7, "tool-result")
    assert (row["project"], row["at"], row["body_refs"]) == (key.project, step.at, None)


async def test_an_unknown_kind_is_stored_like_any_other(recorder: Recorder, database: Database) -> None:
    steps: list[Step] = [*whole_run(key := new_key()), unknown(key, 12)]
    await recorder.record(steps)
    async with database.connection() as connection:
        payload = await connection.fetchval("SELECT payload FROM steps WHERE kind = 'not-yet-invented'")
    assert json.loads(payload)["colour"] == "blue"
    assert (await run_row(database, key.run_id))["last_seq"] == 12


async def test_three_deliveries_shuffled_over_two_recorders_make_the_rows_of_one_in_order(
    recorder: Recorder, database: Database, database_url: str, nats_url: str
) -> None:
    logs = [whole_run(new_key(), tools=n % 4) for n in range(40)]
    for steps in logs:
        await recorder.record(steps)
    expected = await dump(database)
    await empty(database)
    messages = [part for steps in logs for part in _messages(steps)] * 3
    random.Random(7).shuffle(messages)
    async with recorders(nats_url, database_url, count=2):
        await publish(nats_url, messages)
        await drained(nats_url)
    assert await dump(database) == expected


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
async def test_any_order_partition_and_repetition_of_a_run_makes_the_same_row(
    recorder: Recorder, database: Database, data: st.DataObject
) -> None:
    steps = data.draw(runs())
    other = new_key()
    await recorder.record(steps)
    for batch in data.draw(deliveries([step.model_copy(update={"run_id": other.run_id}) for step in steps])):
        await recorder.record(batch)
    expected = await run_row(database, steps[0].run_id)
    assert {**await run_row(database, other.run_id), "run_id": expected["run_id"]} == expected
    assert await seqs(database, other.run_id) == [step.seq for step in steps]


async def test_recorders_that_write_the_same_runs_at_once_never_wait_in_a_circle(
    recorder: Recorder, database: Database
) -> None:
    logs = [whole_run(new_key()) for _ in range(30)]
    for steps in logs:
        await recorder.record(steps)
    expected = await dump(database)
    await empty(database)
    batches = [[step for steps in logs for step in steps[place::3]] for place in range(3)]
    await together(*(recorder.record(order(batch)) for batch in batches for order in (list, _backwards)))
    assert await dump(database) == expected


async def test_what_goes_through_the_log_is_in_the_tables_soon(
    run_log: RunLog, nats_url: str, database_url: str, database: Database
) -> None:
    steps = whole_run(key := new_key())
    async with recorders(nats_url, database_url):
        run = RunKey(key.project, key.run_id)
        await run_log.request(run, run_log.seal(steps[:1]))
        last = await run_log.append(run, run_log.seal(steps[1:5]), 0)
        await run_log.append(run, run_log.seal(steps[5:]), last)
        await drained(nats_url)
    assert await seqs(database, key.run_id) == [step.seq for step in steps]
    assert (await run_row(database, key.run_id))["status"] == "completed"


def _messages(steps: Sequence[Step]) -> list[Sequence[Step]]:
    """As the log would hold them: the job alone, then some steps at a time."""
    return [steps[:1], *(steps[place : place + 2] for place in range(1, len(steps), 2))]


def _backwards(steps: Sequence[Step]) -> list[Step]:
    return list(reversed(steps))
