"""Sessions that go on after a week: what was said comes from Postgres, since the broker has forgotten it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.gateway.runs import Runs
from shared.bus import RUNS, SESSIONS, jetstream
from shared.errors import Unavailable
from shared.provider_messages import messages_of
from shared.run_log import RunLog
from shared.run_state import fold
from shared.scrub import Scrubber
from shared.steps import CancelRequested, HistoryPart, RunRequested, RunWaiting, Step
from shared.stored import last_stored
from shared.subjects import RunKey, job_subject
from tests.support.fake_runner import Batches, FakeRunner, running_fake_runner
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.retention import accept_as_if, forget, forget_bodies, is_forgotten
from tests.support.steps import claimed, make, only
from tests.support.waiting import eventually

LARGE = "large " * 20_000


def wait(key: RunKey, _: RunRequested) -> Batches:
    return [[claimed(key, 1)], [make(RunWaiting, key, 2, reason="approval", call_id="call00001")]]


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with (
        running_gateway(nats_url, database_url) as running,
        projecting(running.nats, running.database),
    ):
        yield running


@pytest.fixture
async def runner(gateway: Gateway) -> AsyncIterator[FakeRunner]:
    async with running_fake_runner(gateway.nats) as serving:
        serving.scripts["wait"] = wait
        yield serving


async def steps_of(gateway: Gateway, run_id: str) -> list[Step]:
    return list((await RunLog(gateway.nats, Scrubber()).read(RunKey("default", run_id))).steps)


async def started(gateway: Gateway, prompt: str = "hi", **fields: Any) -> str:
    """The id of a run of the session that was accepted."""
    answer = await gateway.http.post("/api/runs", json={"prompt": prompt, "session_id": "s", **fields})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["run_id"])


async def history_of(gateway: Gateway, run_id: str) -> tuple[HistoryPart, ...]:
    return only(await steps_of(gateway, run_id), RunRequested)[0].history


async def old(gateway: Gateway, *prompts: str, status: str = "completed") -> list[tuple[str, list[Step]]]:
    """Runs of the session from eight days ago, one after the other, and their steps; the broker has nothing
    of them any more, nor of the session."""
    runs = []
    for prompt in prompts:
        with pytest.MonkeyPatch.context() as patch:
            accept_as_if(patch, days=8)
            run_id = await started(gateway, prompt)

        async def is_recorded() -> bool:
            view = (await gateway.http.get(f"/api/runs/{run_id}")).json()  # noqa: B023 - awaited here
            listed = (await gateway.http.get("/api/runs", params={"status": status})).json()["items"]
            return bool(view["status"] == status and run_id in [each["run_id"] for each in listed])  # noqa: B023

        await eventually(is_recorded)
        runs.append((run_id, await steps_of(gateway, run_id)))
    for run_id, _ in runs:
        await forget(gateway.nats, RunKey("default", run_id))
    await forget_bodies(gateway.nats)
    await jetstream(gateway.nats).purge_stream(f"KV_{SESSIONS}")
    return runs


def said(steps: list[Step]) -> list[dict[str, Any]]:
    return [dict(message) for message in messages_of(fold(steps).turns)]


async def test_what_was_said_in_forgotten_runs_is_handed_over_and_carried_on(
    gateway: Gateway, runner: FakeRunner
) -> None:
    (first, one), (second, two) = await old(gateway, "first", "second")
    third = await started(gateway)
    assert [part.model_dump() for part in await history_of(gateway, third)] == [
        {"run_id": first, "messages": said(one)},
        {"run_id": second, "messages": said(two)},
    ]
    assert said(two) == [
        {"role": "user", "content": "second"},
        {"role": "assistant", "content": "echo: second"},
    ]
    fourth = await started(gateway)
    assert [(part.run_id, part.messages) for part in await history_of(gateway, fourth)] == [
        (first, said(one)),
        (second, said(two)),
        (third, None),
    ]


async def test_a_large_conversation_travels_as_a_body_in_every_run_that_carries_it(
    gateway: Gateway, runner: FakeRunner
) -> None:
    [(run_id, steps)] = await old(gateway, LARGE)
    for _ in range(2):
        new = await started(gateway)
        stored = await last_stored(gateway.nats, RUNS, job_subject(RunKey("default", new)))
        assert stored is not None
        assert len(stored.data) < 10_000
        assert (await history_of(gateway, new))[0] == HistoryPart(run_id=run_id, messages=said(steps))


async def test_what_does_not_fit_is_left_out_the_oldest_first(
    gateway: Gateway, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.history.MOST_BYTES", 200)
    runs = await old(gateway, "first", "second", "third")
    history = await history_of(gateway, await started(gateway))
    assert [part.run_id for part in history] == [run_id for run_id, _ in runs[1:]]


async def test_a_value_that_is_too_large_to_carry_is_where_the_history_begins(
    gateway: Gateway, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.bodies.INFLATE_EACH", 1000)
    runs = await old(gateway, "first", LARGE, "third")
    history = await history_of(gateway, await started(gateway))
    assert [part.run_id for part in history] == [runs[2][0]]


async def test_of_a_forgotten_run_that_failed_nothing_is_told(gateway: Gateway, runner: FakeRunner) -> None:
    [(failed, _)] = await old(gateway, "fail", status="failed")
    assert await history_of(gateway, await started(gateway)) == (HistoryPart(run_id=failed, messages=[]),)


async def test_a_deleted_run_is_not_told_of_any_more_though_it_was_handed_over(
    gateway: Gateway, runner: FakeRunner
) -> None:
    (first, _), (second, steps) = await old(gateway, "first", "second")
    third = await started(gateway)
    assert (await history_of(gateway, third))[0].messages
    assert (await gateway.http.delete(f"/api/runs/{first}")).status_code == 204
    assert await history_of(gateway, await started(gateway)) == (
        HistoryPart(run_id=first, messages=[]),
        HistoryPart(run_id=second, messages=said(steps)),
        HistoryPart(run_id=third),
    )


async def test_a_forgotten_run_that_still_waits_makes_its_session_busy(
    gateway: Gateway, runner: FakeRunner
) -> None:
    [(waiting, steps)] = await old(gateway, "wait", status="waiting")
    refused = await gateway.http.post(
        "/api/runs", json={"prompt": "hi", "session_id": "s", "on_busy": "reject"}
    )
    assert (refused.status_code, refused.json()["run_id"]) == (409, waiting)
    assert await is_forgotten(gateway.nats, RunKey("default", waiting))
    behind = await started(gateway)
    assert await history_of(gateway, behind) == (HistoryPart(run_id=waiting),)
    assert await steps_of(gateway, waiting) == steps  # its runner will look there for the end


async def test_a_forgotten_run_that_still_waits_is_interrupted_when_asked_to(
    gateway: Gateway, runner: FakeRunner
) -> None:
    [(waiting, steps)] = await old(gateway, "wait", status="waiting")
    await started(gateway, on_busy="interrupt")
    after = await steps_of(gateway, waiting)
    assert after[: len(steps)] == steps
    assert len(only(after, CancelRequested)) == 1


async def test_a_session_begins_while_postgres_is_away(
    gateway: Gateway, runner: FakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any) -> None:
        raise Unavailable("away")

    monkeypatch.setattr(Runs, "newest_of_session", away)
    assert await history_of(gateway, await started(gateway)) == ()
