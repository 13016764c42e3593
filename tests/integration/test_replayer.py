"""The replayer on a real broker and a real database, with a runner that plays a script."""

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from services.replayer.course import Course, next_course
from services.replayer.orders import Orders
from services.replayer.stragglers import Stragglers
from shared.bus import REPLAYER, REPLAYER_ENDS, WORK, jetstream
from shared.database import Database
from shared.dead_letters import resend
from shared.findings import Stretch
from shared.messages import Arm, Changes, ReplayCancelled, ReplayRequested, WantedMetric
from shared.replay_results import ReplayResult, RunMeasures, Trouble
from shared.steps import Edit, Parameters, ReplayPlan, ToolAnswer, now
from shared.stored import sequence_of, subject_of
from shared.subjects import replay_subject
from tests.support.broker import dead_letters, settled
from tests.support.fake_runner import answer, hold
from tests.support.proxy import proxied
from tests.support.replayer import (
    BASELINE,
    CANDIDATE,
    SUCCESS,
    Desk,
    desk,
    failing_after_rounds,
    order,
    playing,
    replayers,
    verifying,
)
from tests.support.waiting import eventually


@pytest.fixture
async def at(nats_url: str, database: Database) -> AsyncIterator[Desk]:
    async with desk(nats_url, database) as made:
        yield made


async def test_a_rerun_is_measured_and_compared_with_its_source(
    at: Desk, nats_url: str, database_url: str
) -> None:
    source = await at.source(prompt="What is 5 + 10?", metadata={"team": "blue"}, session_id="s-1")
    arm = Arm(name="replay", changes=Changes(model="mistral-small-latest", parameters=Parameters(top_p=0.5)))
    async with replayers(nats_url, database_url):
        ended = await at.ended(await at.send(order(source, arms=(arm,))))
    assert (ended.status, ended.error) == ("completed", None)
    [run], [diff] = ended.runs, ended.diffs
    assert run["status"] == "completed"
    request = await at.request_of(run)
    assert request.model == "mistral-small-latest"
    assert request.parameters.top_p == 0.5
    assert (request.prompt, request.metadata) == ("What is 5 + 10?", {"team": "blue"})
    assert (request.session_id, request.group, request.priority) == (None, None, "interactive")
    assert (str(diff["left_run_id"]), diff["right_run_id"]) == (source, run["run_id"])
    [measures] = ended.measures
    assert measures.values == {"success": 1.0, "tokens": 15.0}
    assert ended.result.runs.ended == ended.result.runs.most == 1


async def test_of_twenty_verifications_each_is_told(at: Desk, nats_url: str, database_url: str) -> None:
    sources = [await at.source() for _ in range(20)]
    at.runner.default = verifying(lambda source: source not in sources[:2])
    async with replayers(nats_url, database_url):
        ended = await at.ended(await at.send(order(*sources, mode="verify", metrics=())))
    assert ended.status == "completed"
    verification = ended.result.verification
    assert verification is not None
    assert (verification.equal, verification.diverged, verification.failed) == (18, 2, 0)
    assert {each.source_run_id for each in verification.not_equal} == set(sources[:2])
    assert [each.divergence and each.divergence.cause for each in verification.not_equal] == ["message"] * 2
    assert await at.jobs(ended.runs) == Counter({1: 20})


async def test_samples_stop_as_soon_as_the_verdict_is_plain(
    at: Desk, nats_url: str, database_url: str
) -> None:
    source = await at.source()
    at.runner.default = playing(lambda plan: (plan.arm == "candidate", 100 + plan.sample))
    asked = order(source, arms=(BASELINE, CANDIDATE), samples=60)
    async with replayers(nats_url, database_url):
        ended = await at.ended(await at.send(asked))
    verdict = ended.result.verdict
    assert verdict is not None
    [candidate] = verdict.candidates
    assert candidate.verdict == "better"
    assert ended.result.runs.ended == 2 * verdict.runs < 120
    assert [arm.metrics[0].mean for arm in ended.result.arms] == [0.0, 1.0]


async def test_a_fork_keeps_its_step_edits_and_tool_policy(
    at: Desk, nats_url: str, database_url: str
) -> None:
    source = await at.source()
    edit = Edit(step=2, field="content", value="What is 6 + 10?")
    asked = order(
        source,
        mode="fork",
        fork_step=2,
        arms=(Arm(name="replay", edits=(edit,)),),
        tools={"*": ToolAnswer(on_miss="fail")},
    )
    async with replayers(nats_url, database_url):
        ended = await at.ended(await at.send(asked))
    plan = (await at.request_of(ended.runs[0])).replay
    assert plan == ReplayPlan(
        mode="fork",
        source_run_id=source,
        replay_id=asked.replay_id,
        fork_step=2,
        edits=(edit,),
        tools={"*": ToolAnswer(on_miss="fail")},
    )


async def test_two_replayers_and_an_order_that_comes_three_times_ask_for_every_run_once(
    at: Desk, nats_url: str, database_url: str
) -> None:
    sources = [await at.source() for _ in range(5)]
    at.runner.default = playing(lambda plan: (True, 100))
    asked = order(*sources, arms=(BASELINE, CANDIDATE), samples=5)
    async with replayers(nats_url, database_url, count=2):
        ended = await at.ended(await at.send(asked, times=3))
    assert ended.status == "completed"
    assert await at.jobs(ended.runs) == Counter({1: 50})
    assert len({(run["source_run_id"], run["arm"], run["sample"]) for run in ended.runs}) == 50
    assert all(run["status"] == "completed" and run["ended_at"] for run in ended.runs)
    verdict = ended.result.verdict
    assert verdict is not None
    assert [each.verdict for each in verdict.candidates] == ["undecided"]
    assert at.runner.played == 55


async def test_a_broken_order_is_put_aside_and_can_be_sent_again(
    at: Desk, nats_url: str, database_url: str
) -> None:
    js, whole = jetstream(at.client), order(await at.source())
    subject = replay_subject("default", whole.replay_id)
    async with replayers(nats_url, database_url):
        await js.publish(subject, b'{"kind": "replay-requested", "replay_id": 7}', stream=WORK)
        [letter] = await eventually(lambda: dead_letters(at.client))
        assert subject_of(letter) == f"dead.replayer.undecodable.default.{whole.replay_id}"
        assert "replay_id" in (letter.headers or {})["Dead-Error"]
        assert await resend(at.client, sequence_of(letter)) == subject
        again = await eventually(lambda: _others(at.client, letter))
        assert subject_of(again[0]) == subject_of(letter)
        assert (await at.ended(await at.send(whole))).status == "completed"


async def test_a_cancelled_replay_stops_its_runs_and_starts_no_further_ones(
    at: Desk, nats_url: str, database_url: str
) -> None:
    source = await at.source()
    at.runner.default = hold
    async with replayers(nats_url, database_url, REPLAYER_PARALLEL="4"):
        replay_id = await at.send(order(source, samples=50))
        await eventually(lambda: at.under_way(replay_id, 4))
        await at.cancel(replay_id)
        for run in (under_way := await eventually(lambda: at.asked_to_stop(replay_id, 4))):
            await at.finish(run, "cancelled")
        ended = await at.ended(replay_id)
    assert ended.status == "cancelled"
    assert {run["run_id"] for run in ended.runs} == {run["run_id"] for run in under_way}
    assert ended.result.runs.cancelled == 4


async def test_a_cancellation_that_overtakes_its_order_holds(
    at: Desk, nats_url: str, database_url: str, database: Database
) -> None:
    asked = order(await at.source())
    await at.send(asked)
    called_off = ReplayCancelled(replay_id=asked.replay_id, project="default", at=now(), who="user")
    orders = Orders(database, at.client, lambda: None)
    await orders.take([called_off])
    await orders.take([asked])
    async with replayers(nats_url, database_url):
        ended = await at.ended(asked.replay_id)
    assert (ended.status, ended.runs) == ("cancelled", [])


async def test_runs_of_a_deleted_source_fail_and_say_so_and_the_others_go_on(
    at: Desk, nats_url: str, database_url: str
) -> None:
    gone, there = await at.source(), await at.source()
    await at.delete(gone)
    async with replayers(nats_url, database_url):
        ended = await at.ended(await at.send(order(gone, there)))
    assert (ended.status, ended.result.runs.failed, ended.result.runs.completed) == ("completed", 1, 1)
    [failed] = [each for each in ended.measures if each.error]
    assert failed.error == Trouble(type="gone", message=f"run {gone} was deleted")
    assert failed.values == {"success": None, "tokens": None}
    assert await at.jobs(ended.runs) == Counter({0: 1, 1: 1})


async def test_with_a_deleted_source_its_texts_leave_what_was_found_about_it(
    at: Desk, nats_url: str, database_url: str
) -> None:
    gone, there = await at.source(prompt="my secret"), await at.source(prompt="no secret")
    at.runner.default = verifying(lambda _: False)
    tables = ("diffs", "replay_runs", "replays")
    async with replayers(nats_url, database_url):
        await at.ended(await at.send(order(gone, there, mode="verify", metrics=())))
        at.runner.default = playing(lambda _: (False, 100))
        rerun = await at.ended(await at.send(order(gone, there)))
        assert len(rerun.diffs) == 2
        before = [row for table in tables for row in await at.rows(f"SELECT * FROM {table}")]
        assert "my secret" in str(before)
        await at.delete(gone)
        await eventually(lambda: settled(at.client, REPLAYER_ENDS))
    after = [row for table in tables for row in await at.rows(f"SELECT * FROM {table}")]
    assert "my secret" not in str(after)
    assert "no secret" in str(after)
    told = [row for row in after if "measures" in row and str(row["source_run_id"]) == gone]
    assert len(told) == 2
    assert all(RunMeasures.model_validate_json(row["measures"]).divergence is None for row in told)
    [verified] = [row for row in after if row.get("mode") == "verify"]
    verification = ReplayResult.model_validate_json(verified["result"]).verification
    assert verification is not None
    parted = {each.source_run_id: each.divergence is not None for each in verification.not_equal}
    assert parted == {gone: False, there: True}


async def test_an_order_for_a_source_of_another_project_finds_nothing(
    at: Desk, nats_url: str, database_url: str
) -> None:
    foreign = await at.source(project="others")
    async with replayers(nats_url, database_url):
        ended = await at.ended(await at.send(order(foreign)))
        blamed = await at.ended(await at.send(order(foreign, mode="blame")))
    assert (ended.status, blamed.status) == ("failed", "failed")
    assert ended.error is not None
    assert ended.error.message == f"nothing came of all 1 runs: there is no run {foreign}"
    assert blamed.error == Trouble(type="cannot-blame", message=f"there is no run {foreign}")
    assert await at.jobs(ended.runs) == Counter({0: 1})


async def test_a_replay_of_too_many_runs_is_refused_in_words(
    at: Desk, nats_url: str, database_url: str
) -> None:
    source = await at.source()
    async with replayers(nats_url, database_url, REPLAYER_MOST_RUNS="10"):
        ended = await at.ended(await at.send(order(source, samples=11)))
    assert ended.status == "failed"
    assert ended.error == Trouble(
        type="too-many-runs", message="the replay would come to 11 runs; at most 10 are allowed"
    )


async def test_one_project_with_many_replays_does_not_keep_another_waiting(
    at: Desk, nats_url: str, database_url: str
) -> None:
    busy, quiet = await at.source(), await at.source(project="quiet")
    at.runner.default = lambda key, step: (hold if key.project == "default" else answer)(key, step)
    async with replayers(nats_url, database_url, REPLAYER_OPEN="1"):
        waiting = [await at.send(order(busy)) for _ in range(5)]
        await eventually(lambda: at.under_way(waiting[0], 1))
        ended = await at.ended(await at.send(order(quiet, project="quiet")))
        assert ended.status == "completed"
        assert [len(await at.runs(each)) for each in waiting] == [1, 0, 0, 0, 0]


async def test_the_step_to_blame_is_found_within_the_budget(
    at: Desk, nats_url: str, database_url: str
) -> None:
    at.runner.default = failing_after_rounds(8)
    source = await at.source()
    at.runner.default = playing(lambda plan: ((plan.fork_step or 0) < 11, 100))
    asked = order(source, mode="blame", samples=5, most_runs=60, metrics=(SUCCESS,))
    async with replayers(nats_url, database_url):
        ended = await at.ended(await at.send(asked))
    blame = ended.result.blame
    assert blame is not None
    assert (blame.verdict, blame.culprit and blame.culprit.stretch) == ("found", Stretch(after=8, until=11))
    assert len(ended.runs) <= 60
    assert {run["fork_step"] for run in ended.runs} <= {0, 5, 8, 11, 14, 17, 20, 23, 26}
    assert await at.jobs(ended.runs) == Counter({1: len(ended.runs)})


async def test_a_run_that_is_a_success_has_no_step_to_blame(
    at: Desk, nats_url: str, database_url: str
) -> None:
    asked = order(await at.source(), mode="blame", samples=5)
    async with replayers(nats_url, database_url):
        ended = await at.ended(await at.send(asked))
    assert (ended.status, ended.runs) == ("failed", [])
    assert ended.error is not None
    assert ended.error.message == "by success (1) the run is a success: no step is to blame"


async def test_people_can_measure_by_an_expression_of_their_own(
    at: Desk, nats_url: str, database_url: str
) -> None:
    at.runner.default = playing(lambda plan: (True, 100))
    metrics = tuple(
        WantedMetric(name="expression", label=label, higher_is_better=True, expression=text, expected="15")
        for label, text in {"right": "expected in answer and tokens < 200", "broken": "1/rounds"}.items()
    )
    asked = order(await at.source(), metrics=metrics)
    async with replayers(nats_url, database_url):
        [measures] = (await at.ended(await at.send(asked))).measures
    assert measures.values == {"right": 1.0, "broken": None}
    assert measures.faults == {"broken": "the expression: ZeroDivisionError: division by zero"}


async def test_a_run_that_the_broker_has_lost_counts_as_failed(
    at: Desk, nats_url: str, database_url: str, database: Database
) -> None:
    source = await at.source()
    at.runner.default = hold
    async with replayers(nats_url, database_url):
        replay_id = await at.send(order(source))
        [run] = await eventually(lambda: at.under_way(replay_id, 1))
        await at.lose(run)
        await Stragglers(database, at.client, at.log, lambda: None, 3600).look(0)
        ended = await at.ended(replay_id)
    [measures] = ended.measures
    assert measures.error == Trouble(type="gone", message=f"there is no run {run['run_id']}")
    assert (ended.status, ended.runs[0]["status"]) == ("failed", "failed")


async def test_a_run_that_never_ends_is_cancelled_and_counts_as_failed(
    at: Desk, nats_url: str, database_url: str
) -> None:
    source = await at.source()
    at.runner.default = hold
    async with replayers(nats_url, database_url, REPLAYER_RUN_LIMIT_S="0.5"):
        replay_id = await at.send(order(source))
        await eventually(lambda: at.asked_to_stop(replay_id, 1))
        ended = await at.ended(replay_id)
    [measures] = ended.measures
    assert measures.error is not None
    assert measures.error.message == "it has not ended within 0.5 s, and was cancelled"


async def test_a_run_that_is_retried_is_measured_at_its_second_end(
    at: Desk, nats_url: str, database_url: str
) -> None:
    source = await at.source()
    at.runner.default = hold
    async with replayers(nats_url, database_url):
        replay_id = await at.send(order(source))
        [run] = await eventually(lambda: at.under_way(replay_id, 1))
        await at.finish(run, "failed", then_retried=True)
        await eventually(lambda: settled(at.client, REPLAYER_ENDS))
        await eventually(lambda: at.is_open(replay_id))
        await at.finish(run, "completed")
        ended = await at.ended(replay_id)
    assert [row["status"] for row in ended.runs] == ["completed"]


async def test_a_run_that_is_deleted_before_it_was_measured_counts_as_failed(
    at: Desk, nats_url: str, database_url: str
) -> None:
    source = await at.source()
    at.runner.default = hold
    async with replayers(nats_url, database_url):
        replay_id = await at.send(order(source))
        [run] = await eventually(lambda: at.under_way(replay_id, 1))
        await at.delete(str(run["run_id"]))
        ended = await at.ended(replay_id)
    [measures] = ended.measures
    assert measures.error == Trouble(type="gone", message=f"run {run['run_id']} was deleted")


async def test_a_replay_that_nobody_can_go_on_with_is_ended_in_words_and_costs_only_itself(
    at: Desk, nats_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = await at.source()
    broken = order(source)

    def course(asked: ReplayRequested, *rest: Any) -> Course:
        if asked.replay_id == broken.replay_id:
            raise RuntimeError("a fault of ours")
        return next_course(asked, *rest)

    monkeypatch.setattr("services.replayer.advance.next_course", course)
    async with replayers(nats_url, database_url):
        failed = await at.ended(await at.send(broken))
        assert (await at.ended(await at.send(order(source)))).status == "completed"
    assert (failed.status, failed.error) == (
        "failed",
        Trouble(type="broken", message="RuntimeError: a fault of ours"),
    )


async def test_a_replay_goes_on_when_the_broker_was_away(at: Desk, nats_url: str, database_url: str) -> None:
    source = await at.source()
    at.runner.default = playing(lambda plan: (True, 100))
    for durable in (replace(REPLAYER, ack_wait_s=2), replace(REPLAYER_ENDS, ack_wait_s=2)):
        await jetstream(at.client).add_consumer(durable.stream, durable.config(1))
    async with proxied(nats_url) as proxy, replayers(proxy.url, database_url):
        replay_id = await at.send(order(source, samples=60))
        await eventually(lambda: at.under_way(replay_id, 1))
        proxy.deaf = True
        proxy.cut()
        known = proxy.connections
        await eventually(lambda: proxy.connections > known + 1)
        proxy.deaf = False
        proxy.cut()
        ended = await at.ended(replay_id, within_s=60)
    assert (ended.status, ended.result.runs.completed) == ("completed", 60)
    assert await at.jobs(ended.runs) == Counter({1: 60})
    assert await dead_letters(at.client) == []


async def _others(client: Client, letter: Msg) -> list[Msg]:
    """The dead letters but for this one."""
    return [each for each in await dead_letters(client) if sequence_of(each) != sequence_of(letter)]
