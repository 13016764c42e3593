"""Deleting a run leaves a tombstone and nothing else, whoever comes late."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from itertools import permutations

import pytest
from nats.aio.client import Client

from services.recorder.handlers import Recorder
from shared.bodies import BodyMissing, BodyStore
from shared.bus import client_of, make_broker
from shared.database import Database
from shared.errors import Unavailable
from shared.steps import BodyRef, Step, UserRequest
from tests.support.recorders import drained, dump, empty, publish, recorders, run_row, seqs, together
from tests.support.run_samples import deletion, whole_run
from tests.support.steps import AT, make, new_key, requested

LARGE = json.dumps("large " * 20_000).encode()


class AwayStore(BodyStore):
    """A store of bodies that answers everything but a deletion."""

    async def delete(self, project: str, sha256: str) -> None:
        raise Unavailable("the bus is away")


@pytest.fixture
async def client(nats_url: str) -> AsyncIterator[Client]:
    async with make_broker("recorder", nats_url) as broker:
        yield client_of(broker)


@pytest.fixture
def objects(client: Client) -> BodyStore:
    return BodyStore(client)


@pytest.fixture
def recorder(database: Database, objects: BodyStore) -> Recorder:
    return Recorder(database, objects)


async def test_a_deleted_run_is_only_a_tombstone(recorder: Recorder, database: Database) -> None:
    steps = whole_run(new_key("blue"))
    await recorder.record(steps)
    await recorder.record([gone := deletion(steps)])
    row = await run_row(database, steps[0].run_id)
    kept = {name: value for name, value in row.items() if value not in (None, 0, -1)}
    assert kept == {"run_id": row["run_id"], "project": "blue", "status": "queued", "deleted_at": gone.at}
    assert await seqs(database, steps[0].run_id) == []


async def test_the_order_of_steps_and_deletion_does_not_matter(
    recorder: Recorder, database: Database
) -> None:
    steps = whole_run(new_key())
    parts: list[Sequence[Step]] = [steps[:4], steps[4:], [deletion(steps)]]
    outcomes = []
    for order in permutations(parts):
        for part in (*order, *order):
            await recorder.record(part)
        outcomes.append(await dump(database))
        await empty(database)
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert outcomes[0]["steps"] == []


async def test_a_deletion_in_the_same_batch_as_the_steps_erases_them(
    recorder: Recorder, database: Database
) -> None:
    steps, others = whole_run(new_key()), whole_run(new_key())
    await recorder.record([deletion(steps), *steps, *others])
    assert await seqs(database, steps[0].run_id) == []
    assert await seqs(database, others[0].run_id) == [step.seq for step in others]


async def test_the_first_deletion_counts_when_there_are_two(recorder: Recorder, database: Database) -> None:
    steps = whole_run(new_key())
    gone = deletion(steps)
    later = gone.model_copy(update={"seq": gone.seq + 1, "at": gone.at + timedelta(hours=1)})
    await recorder.record([later, gone])
    await recorder.record([later])
    assert (await run_row(database, steps[0].run_id))["deleted_at"] == gone.at


@pytest.mark.parametrize("attempt", range(5))
async def test_a_deletion_that_races_with_late_steps_wins(
    recorder: Recorder, database: Database, attempt: int
) -> None:
    logs = [whole_run(new_key()) for _ in range(20)]
    steps = [step for log in logs for step in log]
    gone = [deletion(log) for log in logs]
    await recorder.record(steps[attempt::3])
    await together(*(recorder.record(part) for part in (steps[::2], gone, steps[1::2], gone[::-1], steps)))
    tables = await dump(database)
    assert tables["steps"] == []
    assert {row["steps"] for row in tables["runs"]} == {0}
    assert len(tables["runs"]) == len(logs)


async def test_deleted_runs_leave_nothing_behind_with_two_recorders_and_three_deliveries(
    nats_url: str, database_url: str, database: Database
) -> None:
    logs = [whole_run(new_key()) for _ in range(20)]
    messages: list[Sequence[Step]] = [log[place : place + 3] for log in logs for place in (0, 3, 6, 9)]
    deletions: list[Sequence[Step]] = [[deletion(log)] for log in logs[:10]]
    async with recorders(nats_url, database_url, count=2):
        await publish(nats_url, [*messages, *deletions, *messages[::-1], *deletions, *messages])
        await drained(nats_url)
    tables = await dump(database)
    deleted = {row["run_id"] for row in tables["runs"] if row["deleted_at"]}
    assert len(deleted) == 10
    assert not deleted & {row["run_id"] for row in tables["steps"]}
    assert {row["steps"] for row in tables["runs"] if not row["deleted_at"]} == {len(logs[0])}


async def test_the_bodies_of_a_deleted_run_are_erased_in_both_places(
    recorder: Recorder, database: Database, objects: BodyStore
) -> None:
    steps = await _large_run(objects)
    await recorder.record(steps)
    assert len((await dump(database))["bodies"]) == 1
    await recorder.record([deletion(steps)])
    assert (await dump(database))["bodies"] == []
    with pytest.raises(BodyMissing):
        await objects.get(steps[0].project, _ref(steps).sha256)


async def test_a_body_that_another_run_of_the_project_needs_stays(
    recorder: Recorder, database: Database, objects: BodyStore
) -> None:
    first, second, foreign = [await _large_run(objects, project) for project in ("a", "a", "b")]
    for steps in (first, second, foreign):
        await recorder.record(steps)
    await recorder.record([deletion(first)])
    assert [row["project"] for row in (await dump(database))["bodies"]] == ["a", "b"]
    assert await objects.get("a", _ref(second).sha256) == LARGE
    await recorder.record([deletion(second)])
    assert [row["project"] for row in (await dump(database))["bodies"]] == ["b"]
    assert await objects.get("b", _ref(foreign).sha256) == LARGE


async def test_late_steps_of_a_deleted_run_do_not_bring_its_bodies_back(
    recorder: Recorder, database: Database, objects: BodyStore
) -> None:
    steps = await _large_run(objects)
    await recorder.record([deletion(steps)])
    await recorder.record(steps)
    await objects.delete(steps[0].project, _ref(steps).sha256)
    await recorder.record(steps)
    tables = await dump(database)
    assert (tables["steps"], tables["bodies"]) == ([], [])


async def test_runs_that_share_a_body_and_are_deleted_at_once_take_it_with_them(
    recorder: Recorder, database: Database, objects: BodyStore
) -> None:
    logs = [await _large_run(objects) for _ in range(4)]
    for steps in logs:
        await recorder.record(steps)
    await together(*(recorder.record([deletion(steps)]) for steps in logs))
    tables = await dump(database)
    assert (tables["steps"], tables["bodies"]) == ([], [])
    with pytest.raises(BodyMissing):
        await objects.get(logs[0][0].project, _ref(logs[0]).sha256)


async def test_an_erasure_that_was_cut_short_is_completed_by_the_next_delivery(
    recorder: Recorder, database: Database, client: Client, objects: BodyStore
) -> None:
    steps = await _large_run(objects)
    await recorder.record(steps)
    with pytest.raises(Unavailable):
        await Recorder(database, AwayStore(client)).record([deletion(steps)])
    assert (await run_row(database, steps[0].run_id))["deleted_at"] is not None
    await recorder.record([deletion(steps)])
    tables = await dump(database)
    assert (tables["steps"], tables["bodies"]) == ([], [])
    with pytest.raises(BodyMissing):
        await objects.get(steps[0].project, _ref(steps).sha256)


async def _large_run(objects: BodyStore, project: str = "default") -> list[Step]:
    key = new_key(project)
    ref = await objects.put(project, LARGE)
    return [requested(key, prompt=ref), make(UserRequest, key, 1, content=ref, at=AT)]


def _ref(steps: Sequence[Step]) -> BodyRef:
    content = steps[1].model_dump()["content"]
    return BodyRef.model_validate(content)
