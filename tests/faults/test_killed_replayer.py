"""kill -9 of the replayer in the middle of a replay: every run is asked for, measured and judged once."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from services.replayer.replay_runs import Planned, ReplayRun
from services.replayer.verdicts import schedule, verdict
from shared.bus import REPLAYER, REPLAYER_ENDS, jetstream
from shared.database import Database
from shared.steps import RunStatus
from tests.support.processes import ServiceProcess, service
from tests.support.replayer import BASELINE, CANDIDATE, Desk, Ended, desk, order, playing
from tests.support.waiting import eventually

SAMPLES = 50


@pytest.fixture
async def at(nats_url: str, database: Database) -> AsyncIterator[Desk]:
    async with desk(nats_url, database) as made:
        for durable in (replace(REPLAYER, ack_wait_s=2), replace(REPLAYER_ENDS, ack_wait_s=2)):
            await jetstream(made.client).add_consumer(durable.stream, durable.config(1))
        made.runner.default = playing(lambda plan: (True, 100 + plan.sample % 7))
        yield made


async def test_a_replayer_killed_again_and_again_comes_to_the_same_verdict(
    at: Desk, nats_url: str, database_url: str, tmp_path: Path
) -> None:
    asked = order(await at.source(), arms=(BASELINE, CANDIDATE), samples=SAMPLES, stop_early=False)
    environment = {"NATS_URL": nats_url, "DATABASE_URL": database_url}
    await at.send(asked)
    for number, measured in enumerate((0, 10, 40, 80)):
        async with _replayer(environment, tmp_path / f"{number}.log") as process:
            await _until_measured(at, asked.replay_id, measured)
            process.end()
    async with _replayer(environment, tmp_path / "last.log"):
        ended = await at.ended(asked.replay_id, within_s=60)
    await _all_once(at, ended)
    assert ended.result.verdict == verdict(asked, _as_read(ended), schedule(asked)[-1], None)


async def test_two_replayers_of_which_one_is_killed_lose_nothing(
    at: Desk, nats_url: str, database_url: str, tmp_path: Path
) -> None:
    asked = order(await at.source(), arms=(BASELINE, CANDIDATE), samples=SAMPLES, stop_early=False)
    environment = {"NATS_URL": nats_url, "DATABASE_URL": database_url}
    async with (
        _replayer(environment, tmp_path / "one.log") as one,
        _replayer(environment, tmp_path / "other.log"),
    ):
        await at.send(asked)
        await _until_measured(at, asked.replay_id, 20)
        one.end()
        await _all_once(at, await at.ended(asked.replay_id, within_s=60))


@asynccontextmanager
async def _replayer(environment: dict[str, str], log: Path) -> AsyncIterator[ServiceProcess]:
    async with service("services.replayer.app:make_app", environment, log) as process:
        yield process


async def _until_measured(at: Desk, replay_id: str, least: int) -> None:
    async def measured() -> bool:
        return sum(run["ended_at"] is not None for run in await at.runs(replay_id)) >= least

    await eventually(measured, within_s=30)


async def _all_once(at: Desk, ended: Ended) -> None:
    assert ended.status == "completed"
    assert len(ended.runs) == 2 * SAMPLES
    assert await at.jobs(ended.runs) == Counter({1: 2 * SAMPLES})
    assert at.runner.played == 2 * SAMPLES + 1
    assert {run["status"] for run in ended.runs} == {"completed"}
    assert sorted(run.values["tokens"] or 0 for run in ended.measures) == sorted(
        100.0 + sample % 7 for sample in [*range(SAMPLES)] * 2
    )
    found = ended.result.verdict
    assert found is not None
    assert [(each.verdict, each.runs) for each in found.candidates] == [("undecided", SAMPLES)]
    assert len(ended.diffs) == 2


def _as_read(ended: Ended) -> list[ReplayRun]:
    return [
        ReplayRun(
            run_id=str(row["run_id"]),
            planned=Planned(row["place"], row["arm"], row["sample"]),
            status=RunStatus(row["status"]),
            measures=measures,
        )
        for row, measures in zip(ended.runs, ended.measures, strict=True)
    ]
