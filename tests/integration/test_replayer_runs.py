"""Replayer and runner together: what the runner really replays is what the replayer counts and compares."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.database import Database
from shared.messages import Arm, Changes
from shared.steps import Edit, HistoryPart
from tests.support.fake_runner import FakeRunner
from tests.support.replayer import BASELINE, Desk, order, replayers
from tests.support.run_samples import whole_run
from tests.support.runner_field import Field, field_at
from tests.support.steps import new_key


@pytest.fixture
async def field(nats_url: str, tmp_path: Path) -> AsyncIterator[Field]:
    async with field_at(nats_url, tmp_path) as field:
        await field.runner()
        yield field


@pytest.fixture
async def at(field: Field, database: Database) -> Desk:
    client = field.log._client
    return Desk(client, field.log, database, FakeRunner(client))


async def test_untouched_runs_verify_as_equal_and_a_forged_one_does_not(
    field: Field, at: Desk, nats_url: str, database_url: str
) -> None:
    sources = [await field.send(tool="pure", rounds=rounds) for rounds in (0, 1, 4)]
    for source in sources:
        await field.finished(source)
    forged = new_key()
    first, *rest = whole_run(forged)
    asked = order(*(key.run_id for key in (*sources, forged)), mode="verify", metrics=())
    await field.log.append(forged, field.log.seal(rest), 0)
    await field.log.request(forged, field.log.seal([first]))
    models = field.notes("model")
    async with replayers(nats_url, database_url):
        ended = await at.ended(await at.send(asked))
    verification = ended.result.verification
    assert verification is not None
    assert (verification.equal, verification.diverged, verification.failed) == (3, 1, 0)
    [parted] = verification.not_equal
    assert parted.source_run_id == forged.run_id
    assert parted.divergence is not None
    assert (parted.divergence.step, parted.divergence.cause) == (3, "code-version")
    assert field.notes("model") == models, "nothing was asked of a model"
    assert ended.result.cost_usd == 0


async def test_forks_with_an_edit_are_compared_with_those_without(
    field: Field, at: Desk, nats_url: str, database_url: str
) -> None:
    source = await field.send(tool="pure", rounds=3)
    await field.finished(source)
    words = json.dumps({"tool": "pure", "rounds": 1, "name": "edited"})
    edited = Arm(name="edited", edits=(Edit(step=2, field="content", value=words),))
    asked = order(source.run_id, mode="fork", fork_step=2, arms=(BASELINE, edited), samples=8)
    async with replayers(nats_url, database_url):
        ended = await at.ended(await at.send(asked))
    assert ended.status == "completed"
    assert [arm.metrics[1].mean for arm in ended.result.arms] == [180.0, 50.0]
    assert {measures.rounds for measures in ended.measures} == {1, 3}
    parted = {measures.divergence.cause for measures in ended.measures if measures.divergence}
    assert parted == {"message"}
    assert len(ended.diffs) == 16


async def test_a_rerun_that_asks_for_the_same_does_not_diverge_and_what_was_said_before_counts(
    field: Field, at: Desk, nats_url: str, database_url: str
) -> None:
    earlier = await field.send(rounds=0, answers=["It is 15."])
    await field.finished(earlier)
    prompt = json.dumps({"tool": "pure", "rounds": 1})
    source = await field.send_with({"prompt": prompt, "history": (HistoryPart(run_id=earlier.run_id),)})
    await field.finished(source)
    silent = Arm(name="silent", changes=Changes(instructions="Say nothing."))
    async with replayers(nats_url, database_url):
        ended = await at.ended(await at.send(order(source.run_id, arms=(BASELINE, silent))))
    same, other = ended.measures
    assert (same.divergence, same.faults, other.faults) == (None, {}, {})
    assert other.divergence is not None
    assert (other.divergence.step, other.divergence.cause) == (3, "instructions")
    assert "+" in other.divergence.diff
    assert "Say nothing." in other.divergence.diff
    assert len(ended.diffs) == 2
