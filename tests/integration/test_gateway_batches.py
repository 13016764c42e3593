"""Batches: many runs in one request, each on disk before it is acknowledged, and all in their turn."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import httpx
import pytest

from services.gateway.backlog import queue
from services.gateway.batches import lines
from services.gateway.examples import ANSWERS, BATCH_ID, RUN_ID
from shared.bus import jetstream
from shared.run_log import RunLog
from shared.scrub import Scrubber
from shared.steps import RunRequested
from shared.subjects import RunKey
from tests.integration.test_gateway_examples import announce_example, play, refused, settled
from tests.support.fake_runner import FakeRunner, announce, running_fake_runner
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.waiting import eventually

NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        await announce(running.nats)
        yield running


@pytest.fixture
async def runner(gateway: Gateway) -> AsyncIterator[FakeRunner]:
    """Plays what is released, and what it did is recorded."""
    async with running_fake_runner(gateway.nats) as serving, projecting(gateway.nats, gateway.database):
        yield serving


def ndjson(values: Iterable[Any]) -> bytes:
    return "".join(f"{json.dumps(value)}\n" for value in values).encode()


def prompts(count: int, word: str = "hi") -> list[dict[str, Any]]:
    return [{"prompt": f"{word} {number}"} for number in range(count)]


async def send(gateway: Gateway, values: Iterable[Any], key: str = "", query: str = "") -> httpx.Response:
    headers = {**NDJSON, **({"Idempotency-Key": key} if key else {})}
    return await gateway.http.post(f"/api/runs/batch{query}", content=ndjson(values), headers=headers)


def answers(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 202, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in response.text.splitlines()]


async def state(gateway: Gateway, response: httpx.Response) -> dict[str, Any]:
    found = await gateway.http.get(response.headers["location"])
    assert found.status_code == 200, found.text
    view: dict[str, Any] = found.json()
    return view


async def jobs(gateway: Gateway) -> int:
    info = await jetstream(gateway.nats).stream_info("RUNS", subjects_filter="run.job.>")
    return sum((info.state.subjects or {}).values())


async def finished(gateway: Gateway, response: httpx.Response, within_s: float = 30.0) -> dict[str, Any]:
    async def is_over() -> dict[str, Any] | None:
        view = await state(gateway, response)
        return view if view["status"] == "finished" else None

    return await eventually(is_over, within_s=within_s, every_s=0.1)


async def test_every_line_becomes_a_run_in_the_same_order(gateway: Gateway, runner: FakeRunner) -> None:
    response = await send(gateway, prompts(250), query="?name=questions")
    lines_given = answers(response)
    assert [line["index"] for line in lines_given] == list(range(250))
    assert len({line["run_id"] for line in lines_given}) == 250
    over = await finished(gateway, response)
    assert (over["name"], over["size"], over["accepted"]) == ("questions", 250, 250)
    assert over["runs"]["completed"] == 250
    assert over["total_tokens"] == 250 * 15
    run = (await gateway.http.get(f"/api/runs/{lines_given[7]['run_id']}")).json()
    assert (run["prompt"], run["response"]) == ("hi 7", "echo: hi 7")
    assert run["steps"][0]["priority"] == "batch"


async def test_a_line_that_is_no_run_is_told_and_the_others_are_taken(gateway: Gateway) -> None:
    body = (
        b'{"prompt": "a"}\n\n{"promt": "b"}\n{"prompt": \nnull\n'
        b'{"prompt": "c", "tools": ["shell"]}\n{"prompt": "d"}'
    )
    response = await gateway.http.post("/api/runs/batch", content=body, headers=NDJSON)
    given = answers(response)
    assert [("run_id" in line, line.get("problem", {}).get("status")) for line in given] == [
        (True, None),
        (False, 422),
        (False, 422),
        (False, 422),
        (False, 422),
        (True, None),
    ]
    assert "unknown field; the fields here are" in given[1]["problem"]["detail"]
    assert "unknown tool 'shell'" in given[4]["problem"]["detail"]
    view = await state(gateway, response)
    assert (view["size"], view["accepted"]) == (6, 2)


async def test_defaults_hold_where_a_line_does_not_say_otherwise(gateway: Gateway) -> None:
    defaults = {"defaults": {"group": "night", "max_rounds": 3, "parameters": {"temperature": 0}}}
    given = answers(await send(gateway, [defaults, {"prompt": "a"}, {"prompt": "b", "group": "day"}]))
    first, second = [
        (await gateway.http.get(f"/api/runs/{line['run_id']}")).json()["steps"][0] for line in given
    ]
    assert (first["group"], first["max_rounds"], first["parameters"]["temperature"]) == ("night", 3, 0)
    assert (second["group"], second["max_rounds"]) == ("day", 3)


async def test_defaults_that_no_run_may_have_are_refused(gateway: Gateway) -> None:
    answer = await send(gateway, [{"defaults": {"max_rounds": 0}}, {"prompt": "a"}])
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "max_rounds")


async def test_an_array_of_runs_is_a_batch_too(gateway: Gateway) -> None:
    given = answers(await gateway.http.post("/api/runs/batch", json=prompts(3)))
    assert [set(line) for line in given] == [{"index", "batch_id", "run_id"}] * 3
    for wrong in ([], ["hi"], {"prompt": "hi"}):
        assert (await gateway.http.post("/api/runs/batch", json=wrong)).status_code == 422
    body = '[{"prompt": "a", "metadata": {"x": NaN}}]'
    json_type = {"Content-Type": "application/json"}
    refused_line = answers(await gateway.http.post("/api/runs/batch", content=body, headers=json_type))[0]
    assert "NaN and Infinity are no JSON" in refused_line["problem"]["detail"]


async def test_an_accepted_run_is_there_before_its_turn(gateway: Gateway) -> None:
    """No runner is at work: what is not in the broker's queue waits, and can be read and cancelled."""
    response = await send(gateway, prompts(80))
    run_id = answers(response)[-1]["run_id"]
    assert await jobs(gateway) < 80
    run = (await gateway.http.get(f"/api/runs/{run_id}")).json()
    assert (run["status"], run["prompt"], run["step_count"]) == ("queued", "hi 79", 1)
    assert (await gateway.http.post(f"/api/runs/{run_id}/cancel")).status_code == 202
    async with running_fake_runner(gateway.nats), projecting(gateway.nats, gateway.database):
        kinds = [step.kind for step in (await _log(gateway, run_id)).steps]
        assert kinds == ["cancel-requested"]
        await eventually(lambda: _is_released(gateway, run_id))
    kinds = [step.kind for step in (await _log(gateway, run_id)).steps]
    assert kinds == ["run-requested", "cancel-requested"]


async def _log(gateway: Gateway, run_id: str) -> Any:
    return await RunLog(gateway.nats, Scrubber()).read(RunKey("default", run_id), fresh=True)


async def _is_released(gateway: Gateway, run_id: str) -> bool:
    return bool((await _log(gateway, run_id)).steps[0].kind == "run-requested")


async def test_the_same_upload_again_gives_the_same_runs(gateway: Gateway, runner: FakeRunner) -> None:
    first, second = await send(gateway, prompts(30), "k1"), await send(gateway, prompts(30), "k1")
    assert answers(first) == answers(second)
    assert first.headers["location"] == second.headers["location"]
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    await finished(gateway, first)
    assert runner.played == 30
    assert await jobs(gateway) == 30


async def test_uploads_of_one_key_at_the_same_time_give_the_same_runs(gateway: Gateway) -> None:
    responses = await asyncio.gather(*(send(gateway, prompts(120), "k1") for _ in range(4)))
    given = [answers(response) for response in responses]
    assert all(each == given[0] for each in given)
    assert (await state(gateway, responses[0]))["accepted"] == 120


async def test_an_upload_that_broke_off_is_taken_up_where_it_was(gateway: Gateway) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield ndjson(prompts(150))
        await eventually(has_taken)
        raise ConnectionError

    async def has_taken() -> bool:
        items = (await gateway.http.get("/api/batches")).json()["items"]
        return [each["accepted"] for each in items] == [100]

    with pytest.raises(ConnectionError):
        await gateway.http.post(
            "/api/runs/batch", content=broken(), headers={**NDJSON, "Idempotency-Key": "k1"}
        )
    (batch,) = (await gateway.http.get("/api/batches")).json()["items"]
    assert (batch["status"], batch["size"], batch["accepted"]) == ("receiving", None, 100)
    whole = await send(gateway, prompts(200), "k1")
    assert len({line["run_id"] for line in answers(whole)}) == 200
    view = await state(gateway, whole)
    assert (view["batch_id"], view["size"], view["accepted"]) == (batch["batch_id"], 200, 200)


async def test_another_line_under_the_same_key_is_refused(gateway: Gateway) -> None:
    first = answers(await send(gateway, prompts(3), "k1"))
    again = answers(await send(gateway, [{"prompt": "hi 0"}, {"prompt": "other"}, {"prompt": "hi 2"}], "k1"))
    assert [again[0], again[2]] == [first[0], first[2]]
    assert again[1]["problem"]["type"].endswith(":idempotency-key-reused")
    other = await send(gateway, [{"defaults": {"max_rounds": 2}}, *prompts(3)], "k1")
    assert (other.status_code, other.json()["type"].rpartition(":")[2]) == (409, "idempotency-key-reused")


async def test_what_is_too_large_is_refused_and_says_what_was_taken(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await send(gateway, [{"prompt": "x" * 1_100_000}])
    assert answer.status_code == 413
    monkeypatch.setattr("services.gateway.batches.upload.MOST_LINES", 100)
    answer = await send(gateway, prompts(101))
    assert (answer.status_code, "at most 100 runs" in answer.json()["detail"]) == (413, True)


async def test_when_too_many_wait_that_is_said(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MOST_HELD", 150)
    answer = await send(gateway, prompts(400), "k1")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")
    async with running_fake_runner(gateway.nats), projecting(gateway.nats, gateway.database):
        async with asyncio.timeout(30):
            while answer.status_code == 429:
                await asyncio.sleep(0.1)
                answer = await send(gateway, prompts(400), "k1")
        assert len({line["run_id"] for line in answers(answer)}) == 400


async def test_a_cancelled_batch_ends_without_a_model_call_for_those_that_wait(gateway: Gateway) -> None:
    response = await send(gateway, prompts(300, "hold"))
    path = f"{response.headers['location']}/cancel"
    await eventually(lambda: _has_jobs(gateway))
    cancelled = (await gateway.http.post(path)).json()
    assert cancelled["waiting"] + cancelled["running"] == 300
    assert cancelled["waiting"] > 200
    assert (await gateway.http.post(path)).status_code == 202
    log = RunLog(gateway.nats, Scrubber())
    async with running_fake_runner(gateway.nats):
        for line in answers(response)[::50]:
            run = RunKey("default", line["run_id"])
            await eventually(lambda run=run: _is_cancelled(log, run))  # type: ignore[misc]  # bound at once
    view = await state(gateway, response)
    assert view["cancelled_at"]
    late = await send(gateway, prompts(1), "late")
    assert (await state(gateway, late))["cancelled_at"] is None


async def test_runs_of_a_batch_that_share_a_session_continue_each_other_in_order(gateway: Gateway) -> None:
    lines = [{**prompt, "session_id": "abc"[index % 3]} for index, prompt in enumerate(prompts(12))]
    run_ids = [line["run_id"] for line in answers(await send(gateway, lines))]
    alone = await gateway.http.post("/api/runs", json={"prompt": "hi", "session_id": "a"})
    log, line = RunLog(gateway.nats, Scrubber()), [*run_ids[::3], alone.json()["run_id"]]

    async def has_jobs() -> list[tuple[str, ...]] | None:
        logs = [(await log.read(RunKey("default", run_id))).steps for run_id in line]
        requests = [step for steps in logs for step in steps if isinstance(step, RunRequested)]
        histories = [tuple(part.run_id for part in request.history) for request in requests]
        return histories if len(histories) == len(line) else None

    assert await eventually(has_jobs) == [tuple(line[:count]) for count in range(len(line))]


async def test_a_cancelled_run_of_a_batch_does_not_wait_for_its_turn_to_end(gateway: Gateway) -> None:
    last = answers(await send(gateway, prompts(200, "hold")))[-1]["run_id"]
    assert (await gateway.http.post(f"/api/runs/{last}/cancel")).status_code == 202
    log = RunLog(gateway.nats, Scrubber())
    async with running_fake_runner(gateway.nats):
        await eventually(lambda: _is_cancelled(log, RunKey("default", last)))


async def test_a_group_counts_and_stops_runs_that_wait_for_their_turn(gateway: Gateway) -> None:
    async with projecting(gateway.nats, gateway.database):
        marked = [{"defaults": {"group": "nightly"}}, *prompts(100, "hold")]
        last = answers(await send(gateway, marked))[-1]["run_id"]
        answers(await send(gateway, prompts(20, 'hold {"group":"nightly"}')))

        async def is_counted() -> bool:
            found = (await gateway.http.get("/api/groups/nightly")).json()
            return bool(found.get("by_status") == {"queued": 100} and found["runs"] == 100)

        async def all_are_asked() -> bool:  # of one on its way from here to the recorder only then
            asked.append((await gateway.http.post("/api/groups/nightly/cancel")).json()["asked"])
            return sum(asked) == 100

        asked: list[int] = []
        await eventually(is_counted)
        await eventually(all_are_asked)
        log = RunLog(gateway.nats, Scrubber())
        async with running_fake_runner(gateway.nats):
            await eventually(lambda: _is_cancelled(log, RunKey("default", last)))


async def _has_jobs(gateway: Gateway) -> bool:
    return await jobs(gateway) > 0


async def _is_cancelled(log: RunLog, run: RunKey) -> bool:
    return [step.kind for step in (await log.read(run)).steps][:2] == ["run-requested", "cancel-requested"]


async def test_a_batch_belongs_to_its_project(gateway: Gateway) -> None:
    response = await send(gateway, prompts(1))
    stranger = {"Authorization": f"Bearer {await gateway.key_for('other')}"}
    path = response.headers["location"]
    assert (await gateway.http.get(path, headers=stranger)).status_code == 404
    assert (await gateway.http.post(f"{path}/cancel", headers=stranger)).status_code == 404
    assert (await gateway.http.get("/api/batches", headers=stranger)).json()["items"] == []
    run_id = answers(response)[0]["run_id"]
    assert (await gateway.http.get(f"/api/runs/{run_id}", headers=stranger)).status_code == 404


async def test_batches_are_listed_newest_first_page_by_page(gateway: Gateway) -> None:
    made = [(await send(gateway, prompts(1))).headers["location"] for _ in range(3)]
    first = (await gateway.http.get("/api/batches?limit=2")).json()
    second = (await gateway.http.get(f"/api/batches?limit=2&cursor={first['next_cursor']}")).json()
    listed = [f"/api/batches/{each['batch_id']}" for each in first["items"] + second["items"]]
    assert (listed, second["next_cursor"]) == (made[::-1], None)
    assert lines.MOST_LINES == 10_000


def like_example(value: Any, batch_id: str, run_id: str) -> Any:
    """With the ids of the examples, and without what differs from batch to batch."""
    text = json.dumps(value).replace(batch_id, BATCH_ID)
    return settled(json.loads(text), run_id)


async def test_a_batch_is_as_in_the_examples(gateway: Gateway, runner: FakeRunner) -> None:
    await announce_example(gateway)
    runner.scripts["What"] = play(8)
    body = ANSWERS["batch-upload"].value
    response = await gateway.http.post("/api/runs/batch?name=nightly questions", content=body, headers=NDJSON)
    given = answers(response)
    batch_id, run_id = given[0]["batch_id"], given[0]["run_id"]
    shown = [json.loads(line) for line in ANSWERS["batch-lines"].value.splitlines()]
    assert like_example(given, batch_id, run_id) == shown

    async def is_over() -> bool:
        view = await state(gateway, response)
        return bool((view["status"], view["total_cost_usd"]) == ("finished", "0.001176"))

    await eventually(is_over)
    example = settled(ANSWERS["batch"].value, RUN_ID)
    assert like_example(await state(gateway, response), batch_id, run_id) == example
    page = (await gateway.http.get("/api/batches")).json()
    assert like_example(page, batch_id, run_id) == settled(ANSWERS["batch-list"].value, RUN_ID)
    cancelled = (await gateway.http.post(f"/api/batches/{batch_id}/cancel")).json()
    assert like_example(cancelled, batch_id, run_id) == ANSWERS["batch-cancelled"].value
    array = await gateway.http.post("/api/runs/batch", json=ANSWERS["batch-array"].value)
    assert ["run_id" in line for line in answers(array)] == [True, False]


async def test_batches_are_refused_as_in_the_examples(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send(gateway, prompts(1), "k1")
    refused("batch-key-reused", await send(gateway, prompts(1), "k1", "?name=other"))
    refused("empty-batch", await gateway.http.post("/api/runs/batch", content=b"\n", headers=NDJSON))
    refused("no-such-batch", await gateway.http.get(f"/api/batches/{BATCH_ID}"))
    monkeypatch.setattr(queue, "MOST_HELD", 0)
    refused("too-many-runs", await send(gateway, prompts(1)), ("100,000", "0"))
