"""The views over the steps: messages, tool calls, memory snapshots and run steps, as tables of a run."""

import json
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest

from services.recorder.handlers import Recorder
from shared.bodies import BodyStore
from shared.bus import client_of, make_broker
from shared.database import Database
from shared.steps import (
    AgentResponse,
    AgentThought,
    Effect,
    MemorySnapshot,
    Step,
    ToolCall,
    Usage,
    UserRequest,
)
from shared.subjects import RunKey
from tests.support.run_samples import whole_run
from tests.support.steps import AT, call, claimed, make, model_call, new_key, requested, result

LARGE = "x" * 70_000


@pytest.fixture
async def objects(nats_url: str) -> AsyncIterator[BodyStore]:
    async with make_broker("recorder", nats_url) as broker:
        yield BodyStore(client_of(broker))


@pytest.fixture
async def key(database: Database, objects: BodyStore) -> RunKey:
    """A recorded run with a large prompt, three tool calls in three states, and a neighbour."""
    key, seq = new_key(), count(3)
    prompt = await objects.put(key.project, json.dumps(LARGE).encode())
    calls = tuple(call(name, call_id=name) for name in ("done", "refused", "open"))
    usage = model_call(usage=Usage(input=40, output=6), finish_reason="tool_calls")
    steps: list[Step] = [
        requested(key, instructions="Be brief.", prompt=prompt),
        claimed(key, 1),
        make(UserRequest, key, 2, content=prompt),
        make(AgentThought, key, next(seq), content="Hm.", tool_calls=calls, model_call=usage),
        _intent(key, next(seq), "done"),
        _intent(key, next(seq), "open"),
        result(key, next(seq), {"value": 15}, call_id="done", tool="done", latency_ms=7),
        result(key, next(seq), "no such tool", call_id="refused", tool="refused", status="error"),
        make(AgentResponse, key, next(seq), content="It is 15.", model_call=model_call()),
        make(MemorySnapshot, key, next(seq), memory={"notes": [1]}),
    ]
    await Recorder(database, objects).record([*steps, *whole_run(new_key())])
    return key


async def test_messages_have_role_content_and_tokens(database: Database, key: RunKey) -> None:
    columns = 'role, content, "timestamp", token_count, finish_reason'
    assert await _rows(database, f"SELECT {columns} FROM messages WHERE run_id = $1 ORDER BY seq", key) == [
        ("system", "Be brief.", AT, None, None),
        ("user", LARGE, AT, None, None),
        ("assistant", "Hm.", AT, 6, "tool_calls"),
        ("assistant", "It is 15.", AT, 5, None),
    ]


async def test_tool_calls_join_what_was_asked_with_how_it_ended(database: Database, key: RunKey) -> None:
    columns = "call_id, tool_name, args::text, return_value, status, latency_ms"
    found = await _rows(database, f"SELECT {columns} FROM tool_calls WHERE run_id = $1 ORDER BY seq", key)
    assert found == [
        ("done", "done", '{"value":1}', '{"value":15}', "ok", 7),
        ("open", "open", '{"value":1}', None, None, None),
        ("refused", "refused", None, "no such tool", "error", 0),
    ]


async def test_a_tool_call_names_the_message_that_asked_for_it(database: Database, key: RunKey) -> None:
    asked = await _rows(database, "SELECT DISTINCT message_id FROM tool_calls WHERE run_id = $1", key)
    thought = await _rows(
        database, "SELECT message_id FROM messages WHERE run_id = $1 AND content = 'Hm.'", key
    )
    assert asked == thought


async def test_memory_snapshots_hold_the_memory(database: Database, key: RunKey) -> None:
    columns = 'memory_json::text, "timestamp"'
    found = await _rows(database, f"SELECT {columns} FROM memory_snapshots WHERE run_id = $1", key)
    assert found == [('{"notes":[1]}', AT)]


async def test_run_steps_are_the_five_types_in_order(database: Database, key: RunKey) -> None:
    found = await _rows(
        database, 'SELECT type, "order" FROM run_steps WHERE run_id = $1 ORDER BY "order"', key
    )
    assert found == [
        ("user-request", 2),
        ("agent-thought", 3),
        ("tool-call", 4),
        ("tool-call", 5),
        ("tool-result", 6),
        ("tool-result", 7),
        ("agent-response", 8),
    ]


async def test_the_ids_of_a_view_are_unique_and_never_change(database: Database, key: RunKey) -> None:
    statement = 'SELECT id FROM run_steps WHERE run_id >= $1 ORDER BY run_id, "order"'
    first, second = await _rows(database, statement, key), await _rows(database, statement, key)
    assert first == second
    assert len(set(first)) == len(first) > 7


def _intent(key: RunKey, seq: int, name: str) -> ToolCall:
    fields: dict[str, Any] = {"arguments": {"value": 1}, "effect": Effect.PURE, "idempotency_key": name}
    return make(ToolCall, key, seq, call_id=name, tool=name, **fields)


async def _rows(database: Database, statement: str, key: RunKey) -> list[tuple[Any, ...]]:
    async with database.connection() as connection:
        return [tuple(row) for row in await connection.fetch(statement, key.run_id)]
