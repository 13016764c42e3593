"""Runs that outlive the broker's seven days: their logs are put back from Postgres before they go on."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from nats.aio.msg import Msg

from services.gateway.log_reader import LogReader, lasts
from services.gateway.openapi.problem_examples import PROBLEMS
from services.gateway.problems import Problem
from services.gateway.restoration import Restoration
from shared.bodies import BodyMissing
from shared.bus import RUNS
from shared.errors import Unavailable
from shared.run_log import AGAIN_HEADER, RunLog, Sealed
from shared.run_state import LogGap, fold
from shared.scrub import Scrubber
from shared.step_codec import encode_step
from shared.steps import (
    AgentThought,
    ApprovalRequested,
    ApprovalResolved,
    BodyRef,
    CancelRequested,
    Failure,
    OutcomeResolved,
    RunDeleted,
    RunFinished,
    RunRequested,
    RunRetried,
    RunWaiting,
    Step,
    ToolCall,
    ToolResult,
    UserRequest,
    now,
)
from shared.stored import sequence_of, stored_messages
from shared.subjects import RunKey, job_subject, log_subject
from tests.support.events import following, steps_until_end
from tests.support.fake_runner import Batches, FakeRunner, announce, running_fake_runner
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.retention import accept_as_if, aged_id, forget, forget_bodies, is_forgotten
from tests.support.steps import call, claimed, make, model_call, only, requested
from tests.support.waiting import eventually

HASH = "0" * 64
CALL: dict[str, Any] = {"call_id": "call00001", "tool": "calculator", "arguments": {"expression": "5+10"}}
APPROVE = {"decision": "approve", "arguments_hash": HASH}
LARGE = "large " * 20_000


def begin(key: RunKey, request: RunRequested) -> list[Sequence[Step]]:
    """Three messages; the result is large."""
    first = call("calculator", call_id="call00000")
    intent = {**CALL, "call_id": "call00000", "effect": "pure", "idempotency_key": "k"}
    done = {"call_id": "call00000", "tool": "calculator", "status": "ok", "result": LARGE}
    asked = call("calculator", call_id=CALL["call_id"])
    return [
        [claimed(key, 1), make(UserRequest, key, 2, content=request.prompt)],
        [
            make(AgentThought, key, 3, tool_calls=(first,), model_call=model_call()),
            make(ToolCall, key, 4, **intent),
        ],
        [
            make(ToolResult, key, 5, **done),
            make(AgentThought, key, 6, tool_calls=(asked,), model_call=model_call()),
        ],
    ]


def asks(key: RunKey, request: RunRequested) -> Batches:
    late = now() - timedelta(seconds=1) if "late" in str(request.prompt) else None
    question = make(ApprovalRequested, key, 7, **CALL, arguments_hash=HASH, expires_at=late)
    waiting = make(RunWaiting, key, 8, reason="approval", call_id=CALL["call_id"], until=late, at=now())
    return [*begin(key, request), [question], [waiting]]


def dies(key: RunKey, request: RunRequested) -> Batches:
    intent = make(ToolCall, key, 7, **CALL, effect="irreversible", idempotency_key="k")
    waiting = make(RunWaiting, key, 9, reason="unknown-outcome", call_id=CALL["call_id"], at=now())
    return [*begin(key, request), [intent], [claimed(key, 8, attempt=2)], [waiting]]


def fails(key: RunKey, request: RunRequested) -> Batches:
    error = Failure(type="model-error", message="the provider said no", retryable=True)
    return [*begin(key, request), [make(RunFinished, key, 7, status="failed", error=error, at=now())]]


SCRIPTS = {"ask": asks, "die": dies, "fail": fails}
DECISIONS: dict[str, tuple[str, str, dict[str, Any] | None, type[Any] | None]] = {
    "approve": ("ask", f"approvals/{CALL['call_id']}", APPROVE, ApprovalResolved),
    "settle": ("die", f"outcomes/{CALL['call_id']}", {"decision": "did-not-happen"}, OutcomeResolved),
    "retry": ("fail", "retry", None, RunRetried),
    "cancel": ("ask", "cancel", None, CancelRequested),
    "resume": ("ask", "resume", None, None),
}
LEFT = [*((decision, None) for decision in DECISIONS), ("approve", 2), ("retry", 2)]
"""Each decision once nothing is left of the log; and two when all is but its first messages."""


@pytest.fixture
async def gateway(
    nats_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Gateway]:
    accept_as_if(monkeypatch, days=8)
    async with running_gateway(nats_url, database_url) as running:
        yield running


@pytest.fixture
async def runner(gateway: Gateway) -> AsyncIterator[FakeRunner]:
    async with running_fake_runner(gateway.nats) as serving:
        serving.scripts |= SCRIPTS
        yield serving


@pytest.fixture
async def recorded(gateway: Gateway) -> AsyncIterator[None]:
    async with projecting(gateway.nats, gateway.database):
        yield


async def steps_of(gateway: Gateway, run: RunKey) -> list[Step]:
    return list((await RunLog(gateway.nats, Scrubber()).read(run, fresh=True)).steps)


async def rows_of(gateway: Gateway, run: RunKey) -> dict[str, Any]:
    """All that Postgres has of the run."""
    async with gateway.database.connection() as connection:
        tables = {
            table: [
                dict(row)
                for row in await connection.fetch(f"SELECT * FROM {table} WHERE run_id = $1", run.run_id)
            ]
            for table in ("runs", "steps", "charges", "webhook_deliveries")
        }
        return {**tables, "bodies": await connection.fetchval("SELECT count(*) FROM bodies")}


async def jobs_of(gateway: Gateway, run: RunKey) -> list[str | None]:
    """Why the job is in the queue, each time."""
    stored = stored_messages(gateway.nats, RUNS, job_subject(run))
    return [(each.headers or {}).get(AGAIN_HEADER) async for each in stored]


async def settled_as(gateway: Gateway, prompt: str, status: str) -> RunKey:
    """A run that is recorded, and its model calls charged."""
    answer = await gateway.http.post("/api/runs", json={"prompt": prompt, "metadata": {"large": LARGE}})
    run = RunKey("default", answer.json()["run_id"])

    async def is_recorded() -> bool:
        rows = await rows_of(gateway, run)
        return [row["status"] for row in rows["runs"]] == [status] and len(rows["charges"]) == 2

    await eventually(is_recorded)
    return run


STATUSES = {"ask": "waiting", "die": "waiting", "fail": "failed"}


@pytest.mark.parametrize(("decision", "gone"), LEFT)
async def test_what_a_person_decides_after_more_than_a_week_stands_behind_the_whole_log(
    gateway: Gateway, runner: FakeRunner, recorded: None, decision: str, gone: int | None
) -> None:
    prompt, path, said, kind = DECISIONS[decision]
    hook = {"url": "https://example.com/hook", "events": ["run.waiting", "run.failed", "run.finished"]}
    assert (await gateway.http.post("/api/webhooks", json=hook)).status_code == 201
    run = await settled_as(gateway, prompt, STATUSES[prompt])
    before, rows = await steps_of(gateway, run), await rows_of(gateway, run)
    assert len(rows["webhook_deliveries"]) == 1
    await forget(gateway.nats, run, most=gone)
    await forget_bodies(gateway.nats)
    shown = (await gateway.http.get(f"/api/runs/{run.run_id}")).json()
    assert (shown["status"], len(shown["steps"])) == (STATUSES[prompt], len(before))
    answer = await gateway.http.post(f"/api/runs/{run.run_id}/{path}", json=said)
    assert answer.status_code == 202, answer.text
    after = await steps_of(gateway, run)
    assert [encode_step(step) for step in after[: len(before)]] == [encode_step(step) for step in before]
    assert [type(step) for step in after[len(before) :]] == ([kind] if kind else [])
    assert len(await jobs_of(gateway, run)) == 2  # with the log, and for what was decided
    assert None not in await jobs_of(gateway, run)

    async def is_recorded() -> bool:
        return len((await rows_of(gateway, run))["steps"]) == len(after)

    await eventually(is_recorded)
    assert of_the_first(len(before), await rows_of(gateway, run)) == of_the_first(len(before), rows)


def of_the_first(count: int, rows: dict[str, Any]) -> dict[str, Any]:
    """What the first so many steps have left in Postgres."""
    sums = ("model_calls", "tool_calls", "rounds", "input_tokens", "output_tokens", "prompt", "created_at")
    steps = sorted((row["seq"], row["payload"]) for row in rows["steps"])
    assert rows["runs"][0]["steps"] == len(steps)
    return {
        **{name: rows["runs"][0][name] for name in sums},
        "steps": steps[:count],
        "charges": rows["charges"],
        "events": [row["event_id"] for row in rows["webhook_deliveries"]],
        "bodies": rows["bodies"],
    }


class Killed(Exception):
    """The process has ended here."""


class MortalLog(RunLog):
    """Dies before its action number `dies_at`."""

    def __init__(self, gateway: Gateway, dies_at: int = 0) -> None:
        super().__init__(gateway.nats, Scrubber())
        self._left = dies_at
        put = self.bodies.put

        async def put_or_die(project: str, data: bytes) -> BodyRef:
            self._live()
            return await put(project, data)

        self.bodies.put = put_or_die  # type: ignore[method-assign]  # of this one

    def _live(self) -> None:
        self._left -= 1
        if self._left == 0:
            raise Killed

    async def append(self, run: RunKey, sealed: Sealed, expected: int, *, patience_s: float = 30.0) -> int:
        self._live()
        return await super().append(run, sealed, expected, patience_s=patience_s)

    async def erase(self, sequences: Iterable[int], stream: str = RUNS) -> None:
        for sequence in sequences:
            self._live()
            await super().erase([sequence], stream)

    async def requeue(self, run: RunKey, *, cause: str, job: bytes | None = None) -> None:
        self._live()
        await super().requeue(run, cause=cause, job=job)


def restoration(gateway: Gateway, dies_at: int = 0) -> Restoration:
    return Restoration(MortalLog(gateway, dies_at), LogReader(gateway.nats), gateway.database)


@pytest.fixture
async def waiting(
    gateway: Gateway, recorded: None, monkeypatch: pytest.MonkeyPatch
) -> tuple[RunKey, list[Step]]:
    """A run that waits, and its steps; put back, its log has several messages."""
    async with running_fake_runner(gateway.nats) as runner:
        runner.scripts |= SCRIPTS
        run = await settled_as(gateway, "ask", "waiting")
    monkeypatch.setattr("services.gateway.restoration.INLINE_LIMIT", 1500)
    return run, await steps_of(gateway, run)


async def is_half(gateway: Gateway, run: RunKey, whole: list[Step]) -> bool:
    """Whether a runner that looks at the log now would take a part of it for all of it."""
    try:
        steps = await steps_of(gateway, run)
        fold(steps)
    except (BodyMissing, LogGap, Unavailable):
        return False
    return 0 < len(steps) < len(whole) and steps[0].seq == 0


@pytest.mark.parametrize("job", ["gone", "put back by another"])
async def test_a_crash_between_any_two_actions_leaves_no_half_log_and_the_next_try_completes_it(
    gateway: Gateway, waiting: tuple[RunKey, list[Step]], job: str
) -> None:
    run, steps = waiting
    log, tried = RunLog(gateway.nats, Scrubber()), 0
    for dies_at in count(1):
        await log.requeue(run, cause=f"child:{dies_at}")
        await forget(gateway.nats, run, most=1, job=job == "gone")
        await forget_bodies(gateway.nats)
        try:
            await restoration(gateway, dies_at).put_back(run, run)
            break
        except Killed:
            tried += 1
        assert not await is_half(gateway, run, steps)
        await restoration(gateway).put_back(run, run)
        assert await steps_of(gateway, run) == steps
    assert tried >= 8  # the rest of the log erased, two bodies, several messages, the job
    assert await steps_of(gateway, run) == steps


async def test_several_gateways_put_a_log_back_once(
    gateway: Gateway, waiting: tuple[RunKey, list[Step]]
) -> None:
    run, steps = waiting
    await forget(gateway.nats, run, most=1)
    await asyncio.gather(*(restoration(gateway).put_back(run, run) for _ in range(6)))
    assert await steps_of(gateway, run) == steps
    assert len(await jobs_of(gateway, run)) == 1


async def test_of_many_decisions_of_two_gateways_about_a_forgotten_run_one_counts(
    gateway: Gateway, waiting: tuple[RunKey, list[Step]], nats_url: str, database_url: str
) -> None:
    run, steps = waiting
    await forget(gateway.nats, run)
    async with running_gateway(nats_url, database_url) as other:
        path = f"/api/runs/{run.run_id}/approvals/{CALL['call_id']}"
        answers = await asyncio.gather(
            *(each.http.post(path, json=APPROVE) for each in (gateway, other) for _ in range(4))
        )
    assert sorted(answer.status_code for answer in answers) == [202, *[409] * 7]
    assert (await steps_of(gateway, run))[: len(steps)] == steps
    assert len(await steps_of(gateway, run)) == len(steps) + 1


@pytest.mark.parametrize("path", ["cancel", f"approvals/{CALL['call_id']}", "resume"])
async def test_for_what_is_refused_nothing_is_put_back(
    gateway: Gateway, runner: FakeRunner, recorded: None, path: str
) -> None:
    run = await settled_as(gateway, "fail", "failed")
    await forget(gateway.nats, run)
    said = APPROVE if "approvals" in path else None
    answer = await gateway.http.post(f"/api/runs/{run.run_id}/{path}", json=said)
    assert answer.status_code == 409, answer.text
    assert await is_forgotten(gateway.nats, run)


async def test_a_log_whose_renewal_broke_off_is_not_taken_for_that_of_a_new_run(
    gateway: Gateway, waiting: tuple[RunKey, list[Step]]
) -> None:
    run, steps = waiting
    await forget(gateway.nats, run, job=False)
    shown = (await gateway.http.get(f"/api/runs/{run.run_id}")).json()
    assert (shown["status"], len(shown["steps"])) == ("waiting", len(steps))
    assert (await gateway.http.post(f"/api/runs/{run.run_id}/cancel")).status_code == 202
    after = await steps_of(gateway, run)
    assert after[: len(steps)] == steps
    assert [step.seq for step in only(after, CancelRequested)] == [len(steps)]


async def test_a_run_that_nobody_began_within_a_week_can_be_cancelled(
    gateway: Gateway, recorded: None
) -> None:
    await announce(gateway.nats)
    run = RunKey("default", (await gateway.http.post("/api/runs", json={"prompt": "hi"})).json()["run_id"])

    async def is_recorded() -> bool:
        return bool((await rows_of(gateway, run))["steps"])

    await eventually(is_recorded)
    await forget(gateway.nats, run)
    assert (await gateway.http.post(f"/api/runs/{run.run_id}/cancel")).status_code == 202
    assert [step.kind for step in await steps_of(gateway, run)] == ["run-requested", "cancel-requested"]
    assert await jobs_of(gateway, run) == ["queued"]


async def test_what_postgres_does_not_have_yet_is_neither_erased_nor_left_out(
    gateway: Gateway, waiting: tuple[RunKey, list[Step]]
) -> None:
    run, _ = waiting
    async with gateway.database.transaction() as connection:
        await connection.execute("DELETE FROM steps WHERE run_id = $1 AND seq = 8", run.run_id)
    await forget(gateway.nats, run, most=2)
    left = [each async for each in stored_messages(gateway.nats, RUNS, log_subject(run))]
    path = f"/api/runs/{run.run_id}/approvals/{CALL['call_id']}"
    answer = await gateway.http.post(path, json=APPROVE)
    assert (answer.status_code, answer.json()["detail"]) == (503, PROBLEMS["database-away"].detail)
    still = [each async for each in stored_messages(gateway.nats, RUNS, log_subject(run))]
    assert [each.data for each in still] == [each.data for each in left]


async def test_a_log_that_would_leave_while_its_run_works_is_renewed_before_that_goes_on(
    gateway: Gateway, waiting: tuple[RunKey, list[Step]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, steps = waiting
    monkeypatch.setattr("services.gateway.log_reader.LASTS", timedelta(seconds=1))
    reader = LogReader(gateway.nats)

    async def first() -> Msg:
        return (await anext(reader.messages(run)))[0]

    async def is_old() -> bool:
        return not lasts(await first())

    await eventually(is_old)
    before = sequence_of(await first())
    path = f"/api/runs/{run.run_id}/approvals/{CALL['call_id']}"
    assert (await gateway.http.post(path, json=APPROVE)).status_code == 202
    assert sequence_of(await first()) > before
    assert (await steps_of(gateway, run))[: len(steps)] == steps


async def test_a_question_about_a_forgotten_run_expires_by_itself(
    gateway: Gateway, runner: FakeRunner, recorded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.gateway.clock.reads.late_runs", _nothing_late)
    run = await settled_as(gateway, "ask late", "waiting")
    before = await steps_of(gateway, run)
    await forget(gateway.nats, run)
    monkeypatch.undo()

    async def resolved() -> list[ApprovalResolved]:
        return only(await steps_of(gateway, run), ApprovalResolved)

    assert (await eventually(resolved))[0].decision == "expired"
    assert (await steps_of(gateway, run))[: len(before)] == before


async def _nothing_late(*_: Any) -> list[RunKey]:
    return []


@pytest.mark.parametrize("most", [None, 2])
async def test_a_forgotten_run_is_deleted_without_being_put_back(
    gateway: Gateway, runner: FakeRunner, recorded: None, most: int | None
) -> None:
    run = await settled_as(gateway, "fail", "failed")
    await forget(gateway.nats, run, most=most)
    assert (await gateway.http.delete(f"/api/runs/{run.run_id}")).status_code == 204
    assert (await gateway.http.post(f"/api/runs/{run.run_id}/retry")).status_code == 404
    assert [type(step) for step in await steps_of(gateway, run)] == [RunDeleted]
    with pytest.raises(Problem):
        await restoration(gateway).put_back(run, run)


async def test_with_a_run_those_of_its_tree_that_wait_for_it_are_put_back(
    gateway: Gateway, recorded: None
) -> None:
    log, parent = RunLog(gateway.nats, Scrubber()), RunKey("default", aged_id())
    child = RunKey("default", aged_id())
    await log.request(parent, log.seal([requested(parent)]))
    asked = make(RunWaiting, parent, 2, reason="child-run", call_id=CALL["call_id"])
    await log.append(parent, log.seal([claimed(parent, 1), asked]), 0)
    below = {"parent_run_id": parent.run_id, "root_run_id": parent.run_id}
    request = requested(child, **below)
    await log.request(child, log.seal([request]))
    position = 0
    for batch in asks(child, request):
        position = await log.append(child, log.seal(batch), position)
    before = await steps_of(gateway, parent)

    async def are_recorded() -> bool:
        rows = [row for each in (parent, child) for row in (await rows_of(gateway, each))["runs"]]
        return [row["status"] for row in rows] == ["waiting", "waiting"]

    await eventually(are_recorded)
    await forget(gateway.nats, parent)
    await forget(gateway.nats, child)
    path = f"/api/runs/{child.run_id}/approvals/{CALL['call_id']}"
    assert (await gateway.http.post(path, json=APPROVE)).status_code == 202
    assert await steps_of(gateway, parent) == before
    await log.requeue(parent, cause=f"child:{child.run_id}")  # as the child's runner will


async def test_who_watches_a_forgotten_run_sees_each_step_once_when_it_goes_on(
    gateway: Gateway, waiting: tuple[RunKey, list[Step]]
) -> None:
    run, steps = waiting
    await forget(gateway.nats, run)
    async with following(gateway.http, run.run_id) as events:
        seen = asyncio.create_task(steps_until_end(events))
        path = f"/api/runs/{run.run_id}/approvals/{CALL['call_id']}"
        assert (await gateway.http.post(path, json=APPROVE)).status_code == 202
        log = RunLog(gateway.nats, Scrubber())
        read = await log.read(run, fresh=True)
        end = make(RunFinished, run, len(read.steps), status="cancelled")
        await log.append(run, log.seal([end]), read.sequence)
        assert await asyncio.wait_for(seen, 10) == list(range(len(steps) + 2))
