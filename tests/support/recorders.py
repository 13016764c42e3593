"""A recorder on a real broker and a real database, without the process around it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

from nats.aio.msg import Msg
from nats.js.api import Header

from services.recorder.handlers import Recorder
from shared.bodies import BodyStore
from shared.bus import KINDS_HEADER, RECORDER, RUNS, Durable, client_of, jetstream, make_broker
from shared.database import Database
from shared.scrub import Scrubber
from shared.service import Runtime
from shared.step_codec import encode_steps
from shared.steps import Step
from shared.subjects import RunKey, job_subject, log_subject
from tests.support.broker import dead_letters, settled
from tests.support.waiting import eventually

TABLES = {"runs": "run_id", "steps": "run_id, seq", "bodies": "project, sha256"}


@asynccontextmanager
async def recorders(nats_url: str, database_url: str, count: int = 1) -> AsyncIterator[list[Runtime]]:
    """That many recorders, each with its own connections, consuming while the block runs."""
    async with AsyncExitStack() as stack:
        runtimes = []
        for _ in range(count):
            broker = await stack.enter_async_context(make_broker("recorder", nats_url))
            database = Database(database_url, size=4, name="recorder")
            stack.push_async_callback(database.close)
            runtime = Runtime("recorder", broker, Scrubber(), started=True)
            recorder = Recorder(database, BodyStore(runtime.client))
            await stack.enter_async_context(runtime.consuming(RECORDER, recorder.record, most_messages=50))
            runtimes.append(runtime)
        yield runtimes


async def publish(nats_url: str, messages: Sequence[bytes | Sequence[Step]], subject: str = "") -> None:
    """Store messages in the stream as they are, past the log's door; steps go where their run's go."""
    async with make_broker("sender", nats_url) as broker:
        js = jetstream(client_of(broker))
        batch = uuid4()
        for place, message in enumerate(messages):
            data = message if isinstance(message, bytes) else encode_steps(message)
            headers: dict[str, str] = {Header.MSG_ID: f"{place}:{batch}"}
            if not isinstance(message, bytes):
                headers[KINDS_HEADER] = ",".join(step.kind for step in message)
            await js.publish(subject or _subject(message), data, stream=RUNS, headers=headers)


async def drained(nats_url: str, consumer: Durable = RECORDER, within_s: float = 20.0) -> None:
    """Until every message of the stream was delivered and acknowledged."""
    async with make_broker("watcher", nats_url) as broker:
        await eventually(lambda: settled(client_of(broker), consumer), within_s=within_s)


async def buried(nats_url: str) -> list[Msg]:
    """The dead letters."""
    async with make_broker("watcher", nats_url) as broker:
        return await dead_letters(client_of(broker))


async def dump(database: Database) -> dict[str, list[dict[str, Any]]]:
    """All rows of the recorder's tables, without the times at which they were written."""
    async with database.connection() as connection:
        rows = {
            table: await connection.fetch(f"SELECT * FROM {table} ORDER BY {key}")
            for table, key in TABLES.items()
        }
    for body in (bodies := [dict(row) for row in rows["bodies"]]):
        del body["created_at"]
    return {**{table: [dict(row) for row in each] for table, each in rows.items()}, "bodies": bodies}


async def empty(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute(f"TRUNCATE {', '.join(TABLES)}")


async def run_row(database: Database, run_id: str) -> dict[str, Any]:
    async with database.connection() as connection:
        row = await connection.fetchrow("SELECT * FROM runs WHERE run_id = $1", run_id)
    assert row is not None, f"run {run_id} has no row"
    return dict(row)


async def seqs(database: Database, run_id: str) -> list[int]:
    """The steps of the run that are stored."""
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT seq FROM steps WHERE run_id = $1 ORDER BY seq", run_id)
    return [row["seq"] for row in rows]


async def together(*work: Any) -> None:
    """All at once; the first failure fails the test."""
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for each in work:
            group.create_task(each)


def _subject(message: Any) -> str:
    step = message[0]
    place = job_subject if step.seq == 0 else log_subject
    return place(RunKey(step.project, step.run_id))
