"""Nobody waits behind the masses of another: interactive runs before batches, projects in turn."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from services.gateway.backlog.crowding import Crowding
from services.gateway.backlog.feeder import MOST_WAITING
from shared.bus import RUNNER, RUNS
from shared.puller import Puller
from shared.run_log import RunLog
from shared.scrub import Scrubber
from shared.step_codec import decode_steps
from shared.steps import RunFinished, RunRequested, Step
from shared.subjects import RunKey
from shared.tasks import end
from tests.support.events import following
from tests.support.fake_runner import announce, running_fake_runner
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.steps import claimed, make
from tests.support.waiting import eventually

QUEUED, BATCH = 100, 40
ENVIRON = {"GATEWAY_QUEUED_RUNS": str(QUEUED), "GATEWAY_BATCH_RUNS": str(BATCH)}
PLACES = 8


@dataclass
class SlowRunner:
    """Takes one job after the other, asking for a few at a time, and notes whose it was and of what kind."""

    log: RunLog
    started: list[tuple[str, str]] = field(default_factory=list)
    runs: set[str] = field(default_factory=set)

    async def serve(self, puller: Puller) -> None:
        while True:
            for message in await puller.take(1):
                key = RunKey.of_subject(message.subject)
                job = decode_steps(message.data)[0]
                assert isinstance(job, RunRequested)
                self.started.append((key.project, job.priority))
                assert key.run_id not in self.runs, "a run was queued twice"
                self.runs.add(key.run_id)
                steps: list[Step] = [
                    claimed(key, 1),
                    make(RunFinished, key, 2, status="completed", attempt=1),
                ]
                await self.log.append(key, self.log.seal(steps), 0)
                await message.ack()

    def before(self, project: str) -> Counter[tuple[str, str]]:
        """What was started before the first run of that project."""
        projects = [project for project, _ in self.started]
        return Counter(self.started[: projects.index(project)])


@asynccontextmanager
async def slow_runner(gateway: Gateway) -> AsyncIterator[SlowRunner]:
    runner = SlowRunner(RunLog(gateway.nats, Scrubber()))
    async with (
        projecting(gateway.nats, gateway.database),
        Puller(gateway.nats, RUNS, RUNNER.name, limit=PLACES) as puller,
    ):
        serving = asyncio.create_task(runner.serve(puller))
        try:
            yield runner
            assert not serving.done(), serving.exception()
        finally:
            await end(serving)


async def batch(gateway: Gateway, key: str, count: int) -> None:
    body = "".join(json.dumps({"prompt": f"batch {number}"}) + "\n" for number in range(count))
    headers = {"Content-Type": "application/x-ndjson", "Authorization": f"Bearer {key}"}
    answer = await gateway.http.post("/api/runs/batch", content=body, headers=headers)
    assert answer.status_code == 202
    assert all("run_id" in line for line in answer.text.splitlines())


async def interactive(gateway: Gateway, key: str, count: int) -> None:
    async def post() -> httpx.Response:
        async with places:
            return await gateway.http.post("/api/runs", json={"prompt": "hi"}, headers=headers)

    places, headers = asyncio.Semaphore(32), {"Authorization": f"Bearer {key}"}
    responses = await asyncio.gather(*(post() for _ in range(count)))
    assert {response.status_code for response in responses} == {202}


async def test_one_run_of_another_project_waits_behind_few_of_the_many(
    nats_url: str, database_url: str
) -> None:
    async with running_gateway(nats_url, database_url, ENVIRON) as gateway:
        await announce(gateway.nats)
        await batch(gateway, gateway.key, 2000)
        await interactive(gateway, gateway.key, 500)
        await interactive(gateway, await gateway.key_for("other"), 1)
        async with slow_runner(gateway) as runner:
            await eventually(lambda: len(runner.started) == 2501, within_s=60)
        before = runner.before("other")
        assert before["default", "interactive"] <= QUEUED
        assert before["default", "batch"] <= MOST_WAITING
        kinds = [priority for _, priority in runner.started]
        last_interactive = len(kinds) - 1 - kinds[::-1].index("interactive")
        assert kinds[:last_interactive].count("batch") <= MOST_WAITING


async def test_batches_of_projects_take_turns_and_several_gateways_queue_each_run_once(
    nats_url: str, database_url: str
) -> None:
    async with (
        running_gateway(nats_url, database_url, ENVIRON) as gateway,
        running_gateway(nats_url, database_url, ENVIRON) as second,
    ):
        await announce(gateway.nats)
        await batch(gateway, gateway.key, 1000)
        await batch(second, await second.key_for("other"), 100)
        async with slow_runner(gateway) as runner:
            await eventually(lambda: len(runner.started) == 1100, within_s=60)
        projects = [project for project, _ in runner.started]
        last = len(projects) - 1 - projects[::-1].index("other")
        assert projects[:last].count("default") <= 100 + BATCH + MOST_WAITING


async def test_a_run_that_waits_for_its_turn_is_answered_followed_and_repeated_like_any_other(
    nats_url: str, database_url: str
) -> None:
    async with running_gateway(nats_url, database_url, {"GATEWAY_QUEUED_RUNS": "1"}) as gateway:
        await announce(gateway.nats)
        await interactive(gateway, gateway.key, 3 * MOST_WAITING)
        asked, once = {"prompt": "the last one"}, {"Idempotency-Key": "k1"}
        accepted = (await gateway.http.post("/api/runs", json=asked, headers=once)).json()
        path = f"/api/runs/{accepted['run_id']}"
        assert await _is_held(gateway, accepted["run_id"])
        again = await gateway.http.post("/api/runs", json=asked, headers=once)
        assert (again.json(), again.headers["idempotent-replayed"]) == (accepted, "true")
        assert (await gateway.http.get(path)).json()["prompt"] == "the last one"
        batched = {"prompt": "no hurry", "priority": "batch"}
        async with asyncio.TaskGroup() as group, following(gateway.http, accepted["run_id"]) as events:
            waits = [group.create_task(_waited(gateway, body)) for body in (asked, batched)]
            async with running_fake_runner(gateway.nats), projecting(gateway.nats, gateway.database):
                seen = [event async for event in events if event.name == "step"]
                assert [(await task)["status"] for task in waits] == ["completed"] * 2
        assert [event.id for event in seen] == [str(seq) for seq in range(len(seen))]
        assert seen[-1].data["kind"] == "run-finished"


async def _waited(gateway: Gateway, body: dict[str, str]) -> dict[str, str]:
    answer = await gateway.http.post("/api/runs?wait=25", json=body)
    view: dict[str, str] = answer.json()
    return view


async def _is_held(gateway: Gateway, run_id: str) -> bool:
    async with gateway.database.connection() as connection:
        held = "SELECT released_at IS NULL FROM queued_runs WHERE run_id = $1"
        return bool(await connection.fetchval(held, run_id))


async def test_runs_of_a_project_with_few_in_the_queue_never_become_rows(
    nats_url: str, database_url: str
) -> None:
    async with running_gateway(nats_url, database_url, ENVIRON) as gateway:
        await announce(gateway.nats)
        await interactive(gateway, gateway.key, QUEUED)
        async with gateway.database.connection() as connection:
            assert await connection.fetchval("SELECT count(*) FROM queued_runs") == 0
        crowding = Crowding(gateway.nats, QUEUED)
        assert await crowding.waiting("default") == QUEUED
        assert await crowding.waiting("other") == 0
