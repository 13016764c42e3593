"""What cannot be stored goes aside alone; what can, waits for as long as Postgres is away."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from shared.database import Database
from shared.dead_letters import main as dead_letters_command
from shared.run_log import RunLog
from shared.service import Runtime
from shared.step_codec import encode_step, encode_steps
from shared.steps import AgentRef, Step
from shared.stored import sequence_of, subject_of
from shared.subjects import RunKey, job_subject, log_subject
from studio.stack.postgres import PostgresServer
from tests.support.migrations import migrate
from tests.support.recorders import buried, drained, dump, publish, recorders, run_row, seqs
from tests.support.run_samples import whole_run
from tests.support.steps import claimed, new_key, requested, result
from tests.support.waiting import eventually

OLD_RUN = "01890a5d-ac96-774b-bcce-b302099a8057"  # of the summer of 2023


async def test_an_undecodable_step_costs_only_itself(
    nats_url: str, database_url: str, database: Database
) -> None:
    steps = whole_run(key := new_key())
    good = [encode_step(step) for step in steps]
    broken = json.dumps({**json.loads(good[4]), "call_id": 5}).encode()
    subject = log_subject(key)
    async with recorders(nats_url, database_url):
        await publish(nats_url, [steps[:1]])
        await publish(nats_url, [b"[" + b",".join([*good[1:4], broken, *good[5:]]) + b"]"], subject)
        await drained(nats_url)
    assert await seqs(database, key.run_id) == [n for n in range(len(steps)) if n != 4]
    [letter] = await buried(nats_url)
    assert json.loads(letter.data) == [json.loads(broken)]
    headers = letter.headers or {}
    assert subject_of(letter).startswith("dead.recorder.undecodable.")
    assert (headers["Dead-Service"], headers["Dead-Subject"]) == ("recorder", subject)
    assert (headers["Dead-Sequence"], headers["Dead-Delivered"]) == ("2", "1")
    assert "call_id" in headers["Dead-Error"]


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (result(new_key(), 1, "a\x00b"), "NUL"),
        (result(RunKey("default", OLD_RUN), 1, "old"), "partition"),
        (requested(new_key(), session_id="".join(chr(0x4E00 + n) for n in range(9_000))), "index"),
        (requested(new_key(), agent=AgentRef(name="helper", version=2**40)), "int32"),
        (result(new_key(), 1, {"$body": "ab" * 32, "bytes": 70_000}), "neither on the bus"),
    ],
    ids=["nul", "no-partition", "too-long-for-an-index", "number-too-large", "body-nowhere"],
)
async def test_a_step_that_postgres_refuses_costs_only_itself(
    nats_url: str, database_url: str, database: Database, step: Step, reason: str
) -> None:
    logs = [whole_run(new_key()) for _ in range(4)]
    before, after = ([part for log in half for part in (log[:1], log[1:])] for half in (logs[:2], logs[2:]))
    await publish(nats_url, [*before, [step], *after])
    async with recorders(nats_url, database_url):
        await drained(nats_url)
    for log in logs:
        assert await seqs(database, log[0].run_id) == [each.seq for each in log]
    [letter] = await buried(nats_url)
    assert subject_of(letter).startswith("dead.recorder.permanent.")
    assert letter.data == encode_steps([step])
    assert reason in (letter.headers or {})["Dead-Error"]
    assert await seqs(database, step.run_id) == []


async def test_a_dead_letter_that_is_sent_again_becomes_a_row(
    nats_url: str,
    database_url: str,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("NATS_URL", nats_url)
    step = result(RunKey("default", OLD_RUN), 1, "old")
    async with recorders(nats_url, database_url):
        await publish(nats_url, [[step]])
        [letter] = await eventually(lambda: buried(nats_url))
        async with database.connection() as connection:
            await connection.execute("SELECT create_step_partitions('2023-06-30', '2023-06-30')")
        await dead_letters_command([])
        assert (
            f"{sequence_of(letter)}  dead.recorder.permanent.default.{OLD_RUN}  " in capsys.readouterr().out
        )
        await dead_letters_command([sequence_of(letter)])
        await eventually(lambda: seqs(database, OLD_RUN))
    assert await buried(nats_url) == []
    assert (await run_row(database, OLD_RUN))["steps"] == 1


async def test_a_message_that_is_no_batch_of_steps_goes_aside(
    nats_url: str, database_url: str, database: Database
) -> None:
    key = new_key()
    subject = job_subject(key)
    async with recorders(nats_url, database_url):
        await publish(nats_url, [b"not json", b'{"not": "a list"}', b"[]", b"[1]"], subject)
        await publish(nats_url, [[requested(key)]])
        await drained(nats_url)
    assert await seqs(database, key.run_id) == [0]
    assert len(await buried(nats_url)) == 3


async def test_large_bodies_are_in_postgres_before_their_step(
    run_log: RunLog, nats_url: str, database_url: str, database: Database
) -> None:
    key, text, small = new_key(), "ein großer Text\n" * 30_000, "b" * 65_000
    async with recorders(nats_url, database_url):
        await run_log.request(key, run_log.seal([requested(key, prompt=text)]))
        sealed = run_log.seal([claimed(key, 1), result(key, 2, {"page": text}), result(key, 3, small)])
        await run_log.append(key, sealed, 0)
        await drained(nats_url)
    tables = await dump(database)
    [row] = tables["runs"]
    assert row["prompt"] == text[:4096]
    refs = {ref for step in tables["steps"] for ref in step["body_refs"] or ()}
    assert {body["sha256"] for body in tables["bodies"]} == refs
    whole = next(body for body in tables["bodies"] if body["sha256"] == row["prompt_body"])
    assert json.loads(whole["content"]) == text
    assert whole["size"] == len(whole["content"])
    assert await buried(nats_url) == []


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path / "postgres") as server:
        migrate(server.url)
        yield server


async def test_nothing_is_lost_while_postgres_is_away(nats_url: str, own_server: PostgresServer) -> None:
    logs = [whole_run(new_key()) for _ in range(60)]
    database = Database(own_server.url)
    async with recorders(nats_url, own_server.url, count=2) as runtimes:
        await publish(nats_url, _messages(logs[:20]))
        own_server.kill()
        await publish(nats_url, _messages(logs[20:40]))
        await eventually(lambda: _not_ready(runtimes))
        await asyncio.to_thread(own_server.start)
        await publish(nats_url, _messages(logs[40:]))
        await drained(nats_url)
        assert await _not_ready(runtimes) == []
    for log in logs:
        assert await seqs(database, log[0].run_id) == [step.seq for step in log]
        assert (await run_row(database, log[0].run_id))["steps"] == len(log)
    assert await buried(nats_url) == []
    await database.close()


async def _not_ready(runtimes: Sequence[Runtime]) -> list[str]:
    verdicts = [verdict for runtime in runtimes for verdict in (await runtime.readiness()).values()]
    return [verdict for verdict in verdicts if verdict != "ok"]


def _messages(logs: Sequence[Sequence[Step]]) -> list[Sequence[Step]]:
    return [part for log in logs for part in (log[:1], log[1:4], log[4:])]
