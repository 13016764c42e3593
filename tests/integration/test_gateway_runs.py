"""Runs over HTTP: started, waited for, found, listed, cancelled, deleted; on the real broker and database."""

import asyncio
import json
from collections.abc import AsyncIterator
from time import monotonic

import pytest
import uuid_utils

from shared.payload import INLINE_LIMIT
from shared.run_log import RunLog
from shared.scrub import Scrubber
from shared.steps import CancelRequested, RunFinished, RunRequested
from shared.subjects import RunKey
from tests.support.fake_runner import Batches, FakeRunner, hold, running_fake_runner
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.steps import make, result
from tests.support.waiting import eventually


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with running_gateway(nats_url, database_url) as running:
        yield running


@pytest.fixture
async def runner(gateway: Gateway) -> AsyncIterator[FakeRunner]:
    async with running_fake_runner(gateway.nats) as serving:
        yield serving


async def finished(gateway: Gateway, prompt: str = "hi") -> str:
    """The id of a run that has finished."""
    answer = await gateway.http.post("/api/runs?wait=20", json={"prompt": prompt})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["run_id"])


async def held(gateway: Gateway) -> str:
    """The id of a run that a runner has claimed and left at that."""
    run_id = (await gateway.http.post("/api/runs", json={"prompt": "hold it"})).json()["run_id"]

    async def is_claimed() -> bool:
        return bool((await gateway.http.get(f"/api/runs/{run_id}")).json()["status"] == "running")

    await eventually(is_claimed)
    return str(run_id)


async def test_a_202_names_a_run_that_is_on_the_brokers_disk(gateway: Gateway, runner: FakeRunner) -> None:
    answer = await gateway.http.post("/api/runs", json={"prompt": "hi", "metadata": {"a": [1, None]}})
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    key = RunKey("default", answer.json()["run_id"])
    assert answer.headers["location"] == f"/api/runs/{key.run_id}"
    job = (await RunLog(gateway.nats, Scrubber()).read(key)).steps[0]
    assert isinstance(job, RunRequested)
    assert (job.prompt, job.metadata, job.parameters.temperature) == ("hi", {"a": [1, None]}, 0.6)
    assert [tool.name for tool in job.tools] == ["calculator", "http_fetch"]


async def test_step_0_carries_everything_that_was_asked_for(gateway: Gateway, runner: FakeRunner) -> None:
    asked = {
        "prompt": "hi",
        "model": "mistral-small-latest",
        "instructions": "Be brief.",
        "messages": [{"role": "user", "content": "before"}, {"role": "assistant", "content": "yes"}],
        "parameters": {"temperature": 0, "top_p": 0.5, "max_tokens": 7, "random_seed": 42},
        "tools": ["http_fetch"],
        "session_id": "s1",
        "user_id": "u1",
        "group": "g1",
        "max_rounds": 9,
        "timeout_s": 12.5,
    }
    run_id = (await gateway.http.post("/api/runs", json=asked)).json()["run_id"]
    step = (await gateway.http.get(f"/api/runs/{run_id}")).json()["steps"][0]
    assert {name: step[name] for name in asked if name not in {"tools", "messages"}} == {
        name: value for name, value in asked.items() if name not in {"tools", "messages"}
    }
    assert [tool["name"] for tool in step["tools"]] == ["http_fetch"]
    assert step["messages"] == asked["messages"]


async def test_a_run_is_readable_at_once_and_equal_from_log_and_database(
    gateway: Gateway, runner: FakeRunner
) -> None:
    run_id = await finished(gateway, "tool please")
    from_log = (await gateway.http.get(f"/api/runs/{run_id}")).json()
    assert from_log["status"] == "completed"
    async with projecting(gateway.nats, gateway.database):

        async def is_charged() -> bool:
            return (await gateway.http.get(f"/api/runs/{run_id}")).json()["total_cost_usd"] is not None

        await eventually(is_charged)
    listed = (await gateway.http.get("/api/runs")).json()["items"][0]
    from_database = (await gateway.http.get(f"/api/runs/{run_id}")).json()
    charged = {"total_cost_usd": "0.0001", "unpriced": 0, "charged": 2}
    assert from_database == {**from_log, **charged}
    assert listed == {
        name: value for name, value in from_database.items() if name not in {"steps", "next_after"}
    }


async def test_waiting_answers_with_the_finished_run(gateway: Gateway, runner: FakeRunner) -> None:
    view = (await gateway.http.post("/api/runs?wait=20", json={"prompt": "tool please"})).json()
    assert (view["status"], view["response"]) == ("completed", "The result is 15.")
    assert (view["step_count"], view["rounds"], view["tool_calls"], view["total_tokens"]) == (8, 1, 1, 30)


async def test_waiting_ends_with_the_time_and_the_run_as_it_is(gateway: Gateway, runner: FakeRunner) -> None:
    begun = monotonic()
    answer = await gateway.http.post("/api/runs?wait=0.3", json={"prompt": "hold it"})
    assert (answer.status_code, answer.json()["status"]) == (202, "running")
    assert 0.3 <= monotonic() - begun < 3


async def test_a_failed_run_is_a_finished_run_with_an_error(gateway: Gateway, runner: FakeRunner) -> None:
    answer = await gateway.http.post("/api/runs?wait=20", json={"prompt": "fail please"})
    assert answer.status_code == 200
    error = answer.json()["error"]
    assert (error["type"], error["message"], error["retryable"]) == (
        "model-error",
        "the provider said no",
        True,
    )


async def test_lists_are_filtered_and_paged_newest_first(gateway: Gateway, runner: FakeRunner) -> None:
    async with projecting(gateway.nats, gateway.database):
        for index in range(7):
            body = {
                "prompt": f"fail {index}" if index == 3 else f"p{index}",
                "group": ["even", "odd"][index % 2],
            }
            await gateway.http.post("/api/runs?wait=20", json=body)

        async def all_there() -> bool:
            items = (await gateway.http.get("/api/runs")).json()["items"]
            return len(items) == 7 and all(item["finished_at"] for item in items)

        await eventually(all_there)

    async def prompts(query: str) -> list[str]:
        found, cursor = [], ""
        while True:
            answer = await gateway.http.get(f"/api/runs?limit=2{query}{cursor}")
            page = answer.json()
            found += [item["prompt"] for item in page["items"]]
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    assert await prompts("") == ["p6", "p5", "p4", "fail 3", "p2", "p1", "p0"]
    assert await prompts("&group=even") == ["p6", "p4", "p2", "p0"]
    assert await prompts("&status=failed") == ["fail 3"]
    assert await prompts("&status=failed&group=even") == []
    assert await prompts("&agent=assistant&user_id=default&model=mistral-large-latest") != []
    assert await prompts("&session_id=nobody") == []


async def test_steps_come_in_windows(gateway: Gateway, runner: FakeRunner) -> None:
    run_id = await finished(gateway, "tool please")
    seqs: list[int] = []
    after = -1
    while True:
        page = (await gateway.http.get(f"/api/runs/{run_id}/steps?after={after}&limit=3")).json()
        seqs += [step["seq"] for step in page["items"]]
        if page["next_after"] is None:
            break
        after = page["next_after"]
    assert seqs == list(range(8))


async def test_a_large_value_is_put_back_or_named_and_can_be_fetched(
    gateway: Gateway, runner: FakeRunner
) -> None:
    middle, large = "m" * (INLINE_LIMIT + 1), "l" * 300_000

    def with_bodies(key: RunKey, request: RunRequested) -> Batches:
        return [
            *hold(key, request),
            [result(key, 2, middle)],
            [result(key, 3, large)],
            [make(RunFinished, key, 4, status="completed")],
        ]

    runner.scripts["bodies"] = with_bodies
    run_id = await finished(gateway, "bodies please")

    async def check(*, is_recorded: bool) -> None:
        steps = (await gateway.http.get(f"/api/runs/{run_id}/steps")).json()["items"]
        assert steps[2]["result"] == middle
        ref = steps[3]["result"]
        assert ref["bytes"] == len(large) + 2
        body = await gateway.http.get(f"/api/runs/{run_id}/bodies/{ref['$body']}")
        assert body.json() == large
        missing = await gateway.http.get(f"/api/runs/{run_id}/bodies/{'0' * 64}")
        assert missing.status_code == 404
        # A run opens what its own steps point to, whatever its texts say.
        other = await gateway.http.post(
            "/api/runs?wait=20", json={"prompt": json.dumps(ref, separators=(",", ":")), "metadata": ref}
        )
        other_id = other.json()["run_id"]
        if is_recorded:
            await eventually(lambda: _row_is_whole(gateway, other_id))
        stranger = await gateway.http.get(f"/api/runs/{other_id}/bodies/{ref['$body']}")
        assert stranger.status_code == 404

    await check(is_recorded=False)
    async with projecting(gateway.nats, gateway.database):
        await eventually(lambda: _row_is_whole(gateway, run_id))
        await check(is_recorded=True)


async def _row_is_whole(gateway: Gateway, run_id: str) -> bool:
    async with gateway.database.connection() as connection:
        status = await connection.fetchval("SELECT status FROM runs WHERE run_id = $1", run_id)
    return bool(status == "completed")


async def test_a_long_prompt_is_shown_by_its_beginning_and_kept_whole(
    gateway: Gateway, runner: FakeRunner
) -> None:
    prompt = "word " * 20_000
    run_id = (await gateway.http.post("/api/runs?wait=20", json={"prompt": prompt})).json()["run_id"]
    view = (await gateway.http.get(f"/api/runs/{run_id}")).json()
    assert view["prompt"] == prompt[:4096]
    body = await gateway.http.get(f"/api/runs/{run_id}/bodies/{view['prompt_body']}")
    assert body.json() == prompt


async def test_cancelling_appends_once_and_nudges_the_runner(gateway: Gateway, runner: FakeRunner) -> None:
    run_id = await held(gateway)
    nudges = await gateway.nats.subscribe(f"run.nudge.default.{run_id}")
    await gateway.nats.flush()
    for _ in range(2):
        answer = await gateway.http.post(f"/api/runs/{run_id}/cancel", json={"why": "enough"})
        assert (answer.status_code, answer.json()) == (202, {"run_id": run_id, "status": "running"})
    assert await nudges.next_msg(timeout=2)
    await nudges.unsubscribe()
    steps = (await RunLog(gateway.nats, Scrubber()).read(RunKey("default", run_id))).steps
    cancels = [step for step in steps if isinstance(step, CancelRequested)]
    assert [(step.seq, step.why) for step in cancels] == [(2, "enough")]


async def test_a_queued_run_can_be_cancelled_without_a_body(gateway: Gateway, runner: FakeRunner) -> None:
    runner.default = lambda key, request: []
    run_id = (await gateway.http.post("/api/runs", json={"prompt": "hi"})).json()["run_id"]
    assert (await gateway.http.post(f"/api/runs/{run_id}/cancel")).status_code == 202


async def test_a_cancel_wins_against_a_writer_that_keeps_writing(
    gateway: Gateway, runner: FakeRunner
) -> None:
    run_id = await held(gateway)
    key, log = RunKey("default", run_id), RunLog(gateway.nats, Scrubber())
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            read = await log.read(key)
            step = result(key, len(read.steps), "tick")
            try:
                await log.append(key, log.seal([step]), read.sequence)
            except Exception:  # noqa: BLE001 - the race is the point
                await asyncio.sleep(0)

    writing = asyncio.create_task(write())
    answers = await asyncio.gather(*(gateway.http.post(f"/api/runs/{run_id}/cancel") for _ in range(5)))
    stop.set()
    await writing
    assert {answer.status_code for answer in answers} == {202}
    steps = (await log.read(key)).steps
    assert [step.seq for step in steps] == list(range(len(steps)))
    assert sum(isinstance(step, CancelRequested) for step in steps) == 1


async def test_a_finished_run_cannot_be_cancelled(gateway: Gateway, runner: FakeRunner) -> None:
    answer = await gateway.http.post(f"/api/runs/{await finished(gateway)}/cancel")
    assert (answer.status_code, answer.json()["type"].split(":")[-1]) == (409, "run-finished")


PLACES = ("", "/steps", "/events", f"/bodies/{'0' * 64}")


async def test_another_projects_run_does_not_exist(gateway: Gateway, runner: FakeRunner) -> None:
    run_id = await finished(gateway)
    async with projecting(gateway.nats, gateway.database):
        await eventually(lambda: _row_is_whole(gateway, run_id))
    stranger = {"Authorization": f"Bearer {await gateway.key_for('other')}"}
    unknown = await gateway.http.get(f"/api/runs/{uuid_utils.uuid7()}", headers=stranger)
    for place in PLACES:
        answer = await gateway.http.get(f"/api/runs/{run_id}{place}", headers=stranger)
        assert answer.status_code == 404
    foreign = await gateway.http.get(f"/api/runs/{run_id}", headers=stranger)
    assert set(foreign.json()) == set(unknown.json())
    assert (await gateway.http.get("/api/runs", headers=stranger)).json()["items"] == []
    for method, place in (("POST", "/cancel"), ("DELETE", "")):
        refused = await gateway.http.request(method, f"/api/runs/{run_id}{place}", headers=stranger)
        assert refused.status_code == 404


async def test_secrets_in_a_prompt_are_redacted_before_they_are_stored(
    gateway: Gateway, runner: FakeRunner
) -> None:
    view = (
        await gateway.http.post("/api/runs?wait=20", json={"prompt": f"my key is {gateway.key}\x00"})
    ).json()
    assert view["prompt"] == "my key is [redacted]\N{REPLACEMENT CHARACTER}"


async def test_the_run_a_runner_cannot_see_yet_is_not_lost_when_nobody_consumes(gateway: Gateway) -> None:
    async with running_fake_runner(gateway.nats):
        pass  # only the announcement
    run_id = (await gateway.http.post("/api/runs", json={"prompt": "hi"})).json()["run_id"]
    view = (await gateway.http.get(f"/api/runs/{run_id}")).json()
    assert (view["status"], view["step_count"]) == ("queued", 1)
    async with running_fake_runner(gateway.nats):

        async def is_finished() -> bool:
            return bool((await gateway.http.get(f"/api/runs/{run_id}")).json()["status"] == "completed")

        await eventually(is_finished)
