"""Sessions: what the runs of one session_id add up to, and the notes that agents keep there."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.gateway.examples import ANSWERS, NOTE_INPUT, RUN_ID
from shared.memory import Memory, Owner
from tests.integration.test_gateway_examples import announce_example, charged_run, play, refused, settled
from tests.support.fake_runner import FakeRunner, running_fake_runner
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.waiting import eventually


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        yield running


@pytest.fixture
async def runner(gateway: Gateway) -> AsyncIterator[FakeRunner]:
    async with running_fake_runner(gateway.nats) as serving, projecting(gateway.nats, gateway.database):
        yield serving


async def run_in(gateway: Gateway, session_id: str, prompt: str = "hi") -> str:
    """A run of the session that has ended, recorded and charged."""
    body = {"prompt": prompt, "session_id": session_id}
    run_id = str((await gateway.http.post("/api/runs?wait=20", json=body)).json()["run_id"])

    async def is_recorded() -> bool:
        newest = (await gateway.http.get("/api/runs?limit=1")).json()["items"]
        return [(each["run_id"], each["charged"]) for each in newest] == [(run_id, 1)]

    await eventually(is_recorded)
    return run_id


async def listed(gateway: Gateway, query: str = "") -> dict[str, Any]:
    answer = await gateway.http.get(f"/api/sessions{query}")
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def test_a_session_adds_up_its_runs(gateway: Gateway, runner: FakeRunner) -> None:
    runs = [await run_in(gateway, "s1", f"hi {number}") for number in range(3)]
    await run_in(gateway, "s2")
    session = next(each for each in (await listed(gateway))["items"] if each["session_id"] == "s1")
    assert (session["runs"], session["total_tokens"], session["last_run_id"]) == (3, 45, runs[-1])
    assert session["last_status"] == "completed"
    assert session["first_at"] < session["last_at"]
    one = (await gateway.http.get(f"/api/runs/{runs[0]}")).json()
    assert float(session["total_cost_usd"]) == pytest.approx(3 * float(one["total_cost_usd"]))


async def test_the_session_used_last_comes_first_page_by_page(gateway: Gateway, runner: FakeRunner) -> None:
    for session_id in ("a", "b", "c", "b", "a"):
        await run_in(gateway, session_id)
    first = await listed(gateway, "?limit=2")
    second = await listed(gateway, f"?limit=2&cursor={first['next_cursor']}")
    assert [each["session_id"] for each in first["items"] + second["items"]] == ["a", "b", "c"]
    assert second["next_cursor"] is None


async def test_the_status_is_that_of_the_last_run(gateway: Gateway, runner: FakeRunner) -> None:
    await run_in(gateway, "s1")
    await gateway.http.post("/api/runs?wait=20", json={"prompt": "fail", "session_id": "s1"})

    async def has_failed() -> bool:
        items = (await listed(gateway))["items"]
        return [(each["runs"], each["last_status"]) for each in items] == [(2, "failed")]

    await eventually(has_failed)


async def test_a_session_shows_its_runs_in_order_with_what_was_remembered(
    gateway: Gateway, runner: FakeRunner
) -> None:
    runs = [await run_in(gateway, "s/1 ü", f"hi {number}") for number in range(3)]
    first = (await gateway.http.get("/api/sessions/s%2F1%20%C3%BC?limit=2")).json()
    second = (await gateway.http.get(f"/api/sessions/s/1 ü?limit=2&cursor={first['next_cursor']}")).json()
    assert [each["run_id"] for each in first["items"] + second["items"]] == runs
    assert [each["prompt"] for each in first["items"]] == ["hi 0", "hi 1"]
    assert [each["memory"] for each in first["items"]] == [{}, {}]
    assert (first["runs"], second["next_cursor"]) == (3, None)


async def test_a_deleted_run_is_no_part_of_its_session(gateway: Gateway, runner: FakeRunner) -> None:
    kept, deleted = await run_in(gateway, "s1"), await run_in(gateway, "s1")
    assert (await gateway.http.delete(f"/api/runs/{deleted}")).status_code in (202, 204)
    session = (await gateway.http.get("/api/sessions/s1")).json()
    assert (session["runs"], session["last_run_id"]) == (1, kept)
    assert [each["run_id"] for each in session["items"]] == [kept]
    assert (await gateway.http.delete(f"/api/runs/{kept}")).status_code in (202, 204)
    assert (await gateway.http.get("/api/sessions/s1")).status_code == 404


async def test_a_session_belongs_to_its_project(gateway: Gateway, runner: FakeRunner) -> None:
    await run_in(gateway, "s1")
    stranger = {"Authorization": f"Bearer {await gateway.key_for('other')}"}
    assert (await gateway.http.get("/api/sessions/s1", headers=stranger)).status_code == 404
    assert (await gateway.http.get("/api/sessions", headers=stranger)).json()["items"] == []
    path = "/api/sessions/s1/memory/tone"
    assert (await gateway.http.put(path, json={"text": "mine"})).status_code == 200
    assert (await gateway.http.get(path, headers=stranger)).status_code == 404
    assert (await gateway.http.delete(path, headers=stranger)).status_code == 404


async def test_notes_are_what_agents_read_and_write(gateway: Gateway) -> None:
    memory, owner = Memory(gateway.nats), Owner("default", "session", "s/1")
    await memory.put(owner, "tone", "friendly")
    path = "/api/sessions/s%2F1/memory"
    assert (await gateway.http.get(f"{path}/tone")).json()["text"] == "friendly"
    written = await gateway.http.put(f"{path}/language", json={"text": "Answer in French."})
    assert (written.status_code, written.json()["key"]) == (200, "language")
    note = await memory.get(owner, "language")
    assert note is not None
    assert note.text == "Answer in French."
    keys = [each["key"] for each in (await gateway.http.get(path)).json()["items"]]
    assert keys == ["language", "tone"]
    assert (await gateway.http.delete(f"{path}/tone")).status_code == 204
    assert (await gateway.http.get(f"{path}/tone")).status_code == 404
    assert await memory.get(owner, "tone") is None


async def test_a_note_that_cannot_be_kept_is_refused(gateway: Gateway) -> None:
    path = "/api/sessions/s1/memory/tone"
    for body in ({"text": "x" * 16_385}, {"text": "é" * 16_384}, {"words": "x"}, {}):
        assert (await gateway.http.put(path, json=body)).status_code == 422, body


def like_example(value: Any, run_id: str) -> Any:
    """With the run's id of the examples, and without what differs from run to run."""
    times = {"first_at", "last_at", "updated_at"}
    if isinstance(value, dict):
        known = {name: like_example(item, run_id) for name, item in value.items() if name not in times}
        return settled(known, run_id) | dict.fromkeys(times & value.keys(), "time")
    return [like_example(item, run_id) for item in value] if isinstance(value, list) else value


async def test_sessions_and_notes_are_as_in_the_examples(gateway: Gateway, runner: FakeRunner) -> None:
    await announce_example(gateway)
    runner.scripts["What"] = play(8)
    run_id = await charged_run(gateway, session_id="session-7")
    path = "/api/sessions/session-7/memory"
    written = await gateway.http.put(f"{path}/language", json=NOTE_INPUT["language"].value)
    for name, given in {
        "session-list": await listed(gateway),
        "session": (await gateway.http.get("/api/sessions/session-7")).json(),
        "note": written.json(),
        "note-list": (await gateway.http.get(path)).json(),
    }.items():
        assert like_example(given, run_id) == like_example(ANSWERS[name].value, RUN_ID), name


async def test_sessions_are_refused_as_in_the_examples(gateway: Gateway) -> None:
    refused("no-such-session", await gateway.http.get("/api/sessions/session-8"))
    refused("no-such-note", await gateway.http.get("/api/sessions/session-7/memory/tone"))
    long = {"text": "x" * 20_000}
    refused("long-note", await gateway.http.put("/api/sessions/session-7/memory/tone", json=long))
