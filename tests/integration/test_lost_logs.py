"""What a runner does when the broker has lost the beginning of a log: its own run's, or an earlier run's."""

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from services.runner.driver import READS, Driver, NotYet
from services.runner.job import Job
from services.runner.means import Means
from services.runner.tools.registry import ToolRegistry
from shared.bus import RUNS, client_of, jetstream, make_broker
from shared.errors import Unavailable
from shared.run_log import AGAIN_HEADER, RunLog, Sealed
from shared.run_state import LogGap
from shared.scrub import Scrubber
from shared.service import Runtime
from shared.step_codec import encode_steps
from shared.steps import AgentResponse, HistoryPart, RunFinished, RunRequested, Step, UserRequest, now
from shared.stored import last_stored
from shared.subjects import RunKey, job_subject, log_subject
from tests.support.models import ScriptedModel
from tests.support.retention import aged_id, forget
from tests.support.steps import claimed, make, model_call, new_key, only, requested


class Desk:
    """A runner's driver without the queue: jobs are handed to it."""

    def __init__(self, runtime: Runtime) -> None:
        self.client = runtime.client
        self.log = RunLog(runtime.client, Scrubber())
        self.model = ScriptedModel(["Done."])
        self.driver = Driver(runtime, self.log, Means(self.model, ToolRegistry({}), now), max_attempts=10)

    async def request(self, key: RunKey, **fields: Any) -> RunRequested:
        request = requested(key, **fields)
        await self.log.request(key, self.log.seal([request]))
        return request

    async def answered(self, key: RunKey, *, status: str = "completed") -> None:
        """The log of a run that has ended, in two messages."""
        request = await self.request(key, prompt=f"question {key.run_id}")
        opening: list[Step] = [claimed(key, 1), make(UserRequest, key, 2, content=request.prompt)]
        answer = make(AgentResponse, key, 3, content=f"answer {key.run_id}", model_call=model_call())
        position = await self.log.append(key, self.log.seal(opening), 0)
        ending: list[Step] = [answer, make(RunFinished, key, 4, status=status)]
        await self.log.append(key, self.log.seal(ending), position)

    async def drive(self, key: RunKey, *, delivered: int = 1) -> None:
        """Raises as the driver does."""
        stored = await last_stored(self.client, RUNS, job_subject(key))
        assert stored is not None
        again = {name: value for name, value in (stored.headers or {}).items() if name == AGAIN_HEADER}
        message = SimpleNamespace(
            subject=job_subject(key),
            data=stored.data,
            headers=again,
            metadata=SimpleNamespace(num_delivered=delivered, sequence=SimpleNamespace(stream=1)),
        )
        await self.driver.drive(Job(cast("Any", message)))

    async def is_untouched(self, key: RunKey) -> bool:
        return await last_stored(self.client, RUNS, log_subject(key)) is None and not self.model.requests


@pytest.fixture
async def desk(nats_url: str) -> AsyncIterator[Desk]:
    async with make_broker("runner", nats_url) as broker:
        assert client_of(broker).is_connected
        yield Desk(Runtime("runner", broker, Scrubber(), started=True))


async def test_history_is_what_was_handed_over_and_what_the_logs_of_earlier_runs_say(desk: Desk) -> None:
    old, lost, near, key = aged_id(9), RunKey("default", aged_id(8)), new_key(), new_key()
    await desk.answered(lost)
    await forget(desk.client, lost, most=1)
    await desk.answered(near)
    said = [{"role": "user", "content": "long ago"}, {"role": "assistant", "content": "indeed"}]
    parts = [HistoryPart(run_id=old, messages=said)]
    history = (*parts, HistoryPart(run_id=lost.run_id), HistoryPart(run_id=near.run_id))
    await desk.request(key, history=history, prompt="now")
    await desk.drive(key)
    assert [message["content"] for message in desk.model.requests[0].messages] == [
        "long ago",
        "indeed",
        f"question {near.run_id}",
        f"answer {near.run_id}",
        "now",
    ]


async def test_of_an_old_run_whose_job_was_put_back_but_whose_log_is_gone_nothing_is_waited_for(
    desk: Desk,
) -> None:
    lost, key = RunKey("default", aged_id(8)), new_key()
    await desk.answered(lost)
    await desk.log.requeue(lost, cause="17")
    await forget(desk.client, lost, job=False)
    await desk.request(key, history=(HistoryPart(run_id=lost.run_id),))
    await desk.drive(key)
    assert len(desk.model.requests[0].messages) == 1


async def test_an_accepted_run_before_it_that_the_broker_does_not_have_yet_is_waited_for(desk: Desk) -> None:
    early, key = new_key(), new_key()
    await desk.answered(early)
    await forget(desk.client, early, most=1)
    await desk.request(key, history=(HistoryPart(run_id=early.run_id),))
    with pytest.raises(NotYet):
        await desk.drive(key)
    assert await desk.is_untouched(key)


async def test_a_run_whose_log_is_gone_is_not_begun_anew(desk: Desk) -> None:
    key = new_key()
    await desk.answered(key)
    await desk.log.requeue(key, cause="child:another")
    await forget(desk.client, key, job=False)
    with pytest.raises(Unavailable):  # a gateway may be putting it back
        await desk.drive(key)
    with pytest.raises(LogGap, match="no step of it but its request"):
        await desk.drive(key, delivered=READS)
    assert await desk.is_untouched(key)


async def test_a_run_whose_log_has_lost_its_beginning_is_given_up(desk: Desk) -> None:
    key = new_key()
    await desk.answered(key)
    await forget(desk.client, key, most=1, job=False)
    await desk.log.requeue(key, cause="17")
    with pytest.raises(LogGap, match="step 3 came where 1 was due"):
        await desk.drive(key, delivered=READS)


async def test_a_job_that_was_given_up_and_sent_again_after_a_week_is_not_begun_anew(desk: Desk) -> None:
    key = RunKey("default", aged_id(8))
    await desk.request(key)
    with pytest.raises(LogGap, match="cancel, resume or retry"):
        await desk.drive(key, delivered=READS)
    assert await desk.is_untouched(key)


async def test_a_log_that_is_being_put_back_is_waited_for(desk: Desk) -> None:
    key = new_key()
    await desk.request(key)
    await desk.log.requeue(key, cause="17")
    steps = (claimed(key, 1), make(UserRequest, key, 2, content="hi"))
    texts = tuple(encode_steps([step])[1:-1] for step in steps)
    position = await desk.log.append(key, Sealed(steps[:1], texts[:1], until=2), 0)
    with pytest.raises(Unavailable, match="is being put back"):
        await desk.drive(key, delivered=READS)
    await desk.log.append(key, Sealed(steps[1:], texts[1:], until=2), position)
    await desk.drive(key)
    assert only((await desk.log.read(key)).steps, RunFinished)


async def test_erasing_what_another_has_erased_is_no_fault(desk: Desk) -> None:
    key = new_key()
    await desk.answered(key)
    last = await last_stored(desk.client, RUNS, job_subject(key))
    assert last is not None
    sequence = int((last.headers or {})["Nats-Sequence"])
    await jetstream(desk.client).delete_msg(RUNS, sequence)
    await desk.log.erase([sequence, 10_000])
