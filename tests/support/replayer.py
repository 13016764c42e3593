"""Replays on a real broker and a real database: sources, orders, replayers, and what came of it."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from nats.aio.client import Client

from services.replayer.app import make_app
from shared.bus import RUNS, WORK, client_of, jetstream, make_broker
from shared.database import Database
from shared.messages import (
    Arm,
    ReplayCancelled,
    ReplayMessage,
    ReplayRequested,
    WantedMetric,
    replay_messages,
)
from shared.replay_results import ReplayResult, RunMeasures, Trouble
from shared.run_log import RunLog
from shared.scrub import Scrubber
from shared.steps import (
    AgentResponse,
    CancelRequested,
    Failure,
    MemorySnapshot,
    ReplayPlan,
    RunDeleted,
    RunFinished,
    RunRequested,
    RunRetried,
    RunVerified,
    Step,
    Usage,
    UserRequest,
    now,
)
from shared.stored import count_stored
from shared.subjects import RunKey, job_subject, log_subject, replay_subject
from tests.support.fake_runner import Batches, FakeRunner, answer, running_fake_runner
from tests.support.run_samples import whole_run
from tests.support.serving import serving
from tests.support.steps import claimed, make, model_call, new_key, only, requested
from tests.support.waiting import eventually

SUCCESS = WantedMetric(name="success", label="success", higher_is_better=True)
TOKENS = WantedMetric(name="tokens", label="tokens", higher_is_better=False)
BASELINE, CANDIDATE = Arm(name="baseline"), Arm(name="candidate")
Row = Mapping[str, Any]
Outcome = Callable[[ReplayPlan], tuple[bool, int]]
"""Of a run that replays: whether it completes, and the tokens of its one call of the model."""


@dataclass(frozen=True)
class Ended:
    """The row of a replay that has ended, and those of its runs."""

    status: str
    result: ReplayResult
    error: Trouble | None
    runs: Sequence[Row]
    diffs: Sequence[Row]

    @property
    def measures(self) -> list[RunMeasures]:
        return [RunMeasures.model_validate_json(run["measures"]) for run in self.runs]


@dataclass
class Desk:
    """What a test of replays holds; `runner` plays the runs that are asked for."""

    client: Client
    log: RunLog
    database: Database
    runner: FakeRunner

    async def source(self, *, project: str = "default", **fields: Any) -> str:
        """A run that has ended, as the runner plays it."""
        key = new_key(project)
        await self.log.request(key, self.log.seal([requested(key, **fields)]))
        await eventually(lambda: self.has_ended(key))
        return key.run_id

    async def has_ended(self, key: RunKey) -> bool:
        steps = (await self.log.read(key, fresh=True)).steps
        return any(isinstance(step, RunFinished) for step in steps)

    async def send(self, message: ReplayMessage, *, times: int = 1) -> str:
        """As the gateway does it; more than once as a broker may deliver it."""
        js, subject = jetstream(self.client), replay_subject(message.project, message.replay_id)
        for _ in range(times):
            await js.publish(subject, replay_messages.dump_json(message), stream=WORK)
        return message.replay_id

    async def cancel(self, replay_id: str, project: str = "default") -> None:
        at = now()
        await self.send(ReplayCancelled(replay_id=replay_id, project=project, at=at, who="user"))

    async def delete(self, run_id: str, project: str = "default") -> None:
        """As the gateway does it: the last step, then the rest is erased."""
        key = RunKey(project, run_id)
        read = await self.log.read(key, fresh=True)
        step = make(RunDeleted, key, len(read.steps), who="user")
        await self.log.append(key, self.log.seal([step]), read.sequence)
        await self.log.announce_end(key, step)
        await self.log.purge(key)

    async def ended(self, replay_id: str, *, within_s: float = 30.0) -> Ended:
        query = "SELECT * FROM replays WHERE replay_id = $1 AND finished_at IS NOT NULL"
        [row] = await eventually(lambda: self.rows(query, replay_id), within_s=within_s, every_s=0.05)
        diffs = await self.rows("SELECT * FROM diffs WHERE replay_id = $1", replay_id)
        result = ReplayResult.model_validate_json(row["result"]) if row["result"] else NO_RESULT
        error = Trouble.model_validate_json(row["error"]) if row["error"] else None
        return Ended(row["status"], result, error, await self.runs(replay_id), diffs)

    async def runs(self, replay_id: str) -> list[Row]:
        order = "ORDER BY sample, place, arm"
        return await self.rows(f"SELECT * FROM replay_runs WHERE replay_id = $1 {order}", replay_id)

    async def rows(self, query: str, *values: Any) -> list[Row]:
        async with self.database.connection() as connection:
            return [dict(row) for row in await connection.fetch(query, *values)]

    async def jobs(self, runs: Sequence[Row]) -> Counter[int]:
        """How many jobs the broker holds of each of these runs."""
        keys = [RunKey(run["project"], str(run["run_id"])) for run in runs]
        return Counter([await count_stored(self.client, RUNS, job_subject(key)) for key in keys])

    async def under_way(self, replay_id: str, count: int) -> list[Row] | None:
        """The runs that a runner has begun, once they are so many."""
        begun = [run for run in await self.runs(replay_id) if len(await self.steps(run)) > 1]
        return begun if len(begun) >= count else None

    async def asked_to_stop(self, replay_id: str, count: int) -> list[Row] | None:
        runs = await self.runs(replay_id)
        asked = [run for run in runs if only(await self.steps(run), CancelRequested)]
        return asked if len(asked) >= count else None

    async def finish(self, run: Row, status: str, *, then_retried: bool = False) -> None:
        """As a runner does it; and as a gateway does it that lets the run go on before anybody has looked."""
        key = RunKey(run["project"], str(run["run_id"]))
        read = await self.log.read(key, fresh=True)
        seq = len(read.steps)
        steps: list[Step] = [make(RunFinished, key, seq, status=status, attempt=1, at=now())]
        if then_retried:
            steps.append(make(RunRetried, key, seq + 1, who="user"))
        await self.log.append(key, self.log.seal(steps), read.sequence)
        await self.log.announce_end(key, make(RunFinished, key, seq, status=status, attempt=1))

    async def is_open(self, replay_id: str) -> bool:
        """Whether the replay waits for a run of which it does not know the end."""
        return any(run["ended_at"] is None and run["status"] is None for run in await self.runs(replay_id))

    async def lose(self, run: Row) -> None:
        """As a broker whose disk is gone."""
        key = RunKey(run["project"], str(run["run_id"]))
        for subject in (job_subject(key), log_subject(key)):
            await jetstream(self.client).purge_stream(RUNS, subject=subject)

    async def steps(self, run: Row) -> Sequence[Step]:
        return (await self.log.read(RunKey(run["project"], str(run["run_id"])), fresh=True)).steps

    async def request_of(self, run: Row) -> RunRequested:
        """Step 0 of a run of a replay."""
        step = (await self.steps(run))[0]
        assert isinstance(step, RunRequested)
        return step


NO_RESULT = ReplayResult.model_validate(
    {
        "at": "2026-01-01T00:00:00Z",
        "runs": dict.fromkeys(("most", "planned", "ended", "completed", "failed", "cancelled"), 0),
        "arms": (),
        "cost_usd": "0",
        "unpriced": 0,
    }
)


def order(*sources: str, **fields: Any) -> ReplayRequested:
    given: dict[str, Any] = {
        "replay_id": new_key().run_id,
        "project": "default",
        "at": now(),
        "who": "user",
        "mode": "rerun",
        "sources": sources,
        "arms": (Arm(name="replay"),),
        "metrics": (SUCCESS, TOKENS),
    }
    return ReplayRequested(**{**given, **fields})


def playing(outcome: Outcome) -> Callable[[RunKey, RunRequested], Batches]:
    """A runner's script by which runs that replay come out so; all others give the shortest run."""

    def script(key: RunKey, request: RunRequested) -> Batches:
        if request.replay is None:
            return answer(key, request)
        completes, tokens = outcome(request.replay)
        return [
            [claimed(key, 1), make(UserRequest, key, 2, content=request.prompt)],
            _end(key, completes, tokens),
        ]

    return script


def _end(key: RunKey, completes: bool, tokens: int) -> list[Step]:
    call = model_call(usage=Usage(input=tokens - 5, output=5))
    response = make(AgentResponse, key, 3, content="It is 15.", model_call=call, attempt=1, at=now())
    error = None if completes else Failure(type="model-error", message="the provider said no")
    end = make(
        RunFinished, key, 5, status="completed" if completes else "failed", error=error, attempt=1, at=now()
    )
    return [response, make(MemorySnapshot, key, 4, memory={}, attempt=1), end]


def failing_after_rounds(rounds: int) -> Callable[[RunKey, RunRequested], Batches]:
    """A runner's script: so many rounds of one call of a tool, and then the model fails."""

    def script(key: RunKey, request: RunRequested) -> Batches:
        *steps, _, _, end = whole_run(key, tools=rounds)
        error = Failure(type="model-error", message="the provider said no")
        last = make(RunFinished, key, end.seq - 2, status="failed", error=error, at=now())
        return [[*steps[1:], last]]

    return script


def verifying(equal: Callable[[str], bool]) -> Callable[[RunKey, RunRequested], Batches]:
    """A runner's script that rehearses: whether the source of that id comes out equal."""

    def script(key: RunKey, request: RunRequested) -> Batches:
        if request.replay is None:
            return answer(key, request)
        is_equal = equal(request.replay.source_run_id)
        divergence = (
            None if is_equal else {"step": 3, "cause": "message", "path": "/messages/0", "diff": "-a\n+b"}
        )
        error = None if is_equal else Failure(type="diverged", message="step 3: another message")
        verified = make(
            RunVerified, key, 2, equal=is_equal, steps=6, model_calls=1, divergence=divergence, attempt=1
        )
        status = "completed" if is_equal else "failed"
        return [
            [claimed(key, 1)],
            [verified, make(RunFinished, key, 3, status=status, error=error, attempt=1)],
        ]

    return script


@asynccontextmanager
async def desk(nats_url: str, database: Database) -> AsyncIterator[Desk]:
    async with make_broker("test-desk", nats_url) as broker:
        client = client_of(broker)
        async with running_fake_runner(client) as runner:
            yield Desk(client, RunLog(client, Scrubber()), database, runner)


@asynccontextmanager
async def replayers(
    nats_url: str, database_url: str, *, count: int = 1, **settings: str
) -> AsyncIterator[list[str]]:
    """That many replayers in this process; their URLs."""
    given = {"NATS_URL": nats_url, "DATABASE_URL": database_url, **settings}
    async with AsyncExitStack() as stack:
        urls = []
        for _ in range(count):
            with pytest.MonkeyPatch.context() as patch:
                for name, value in given.items():
                    patch.setenv(name, value)
                app = make_app()
            urls.append(await stack.enter_async_context(serving(app)))
        yield urls
