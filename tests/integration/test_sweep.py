"""A job that the broker's consumer forgot comes back, and only such a job."""

from nats.js.api import ConsumerConfig, DeliverPolicy

from services.runner.sweep import Sweep
from shared.bus import RUNNER, RUNS, jetstream
from shared.run_log import RunLog
from shared.steps import AgentRef, RunFinished, RunRequested, RunStatus
from shared.subjects import RunKey
from tests.support.steps import make, new_key


async def _requested(log: RunLog) -> RunKey:
    key = new_key()
    job = make(RunRequested, key, 0, agent=AgentRef(name="assistant"), model="m", prompt="hello")
    await log.request(key, log.seal([job]))
    return key


async def _finish(log: RunLog, key: RunKey) -> None:
    end = make(RunFinished, key, 1, status=RunStatus.COMPLETED)
    await log.append(key, log.seal([end]), 0)


async def _forget_everything(log: RunLog) -> None:
    """The consumer as a killed broker may bring it back: all that is stored counts as acknowledged."""
    js = jetstream(log._client)
    last = (await js.stream_info(RUNS)).state.last_seq
    await js.delete_consumer(RUNS, RUNNER.name)
    config: ConsumerConfig = RUNNER.config(1)
    await js.add_consumer(
        RUNS, config.evolve(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=last + 1)
    )


async def _pending(log: RunLog) -> int:
    return int((await jetstream(log._client).consumer_info(RUNS, RUNNER.name)).num_pending or 0)


async def _subjects_delivered(log: RunLog) -> list[str]:
    subscription = await jetstream(log._client).pull_subscribe_bind(durable=RUNNER.name, stream=RUNS)
    messages = await subscription.fetch(await _pending(log), timeout=2)
    return [message.subject.rpartition(".")[2] for message in messages]


async def test_a_forgotten_job_is_put_back_and_a_finished_one_is_not(run_log: RunLog) -> None:
    forgotten = await _requested(run_log)
    await _finish(run_log, await _requested(run_log))
    await _forget_everything(run_log)
    assert await _pending(run_log) == 0
    await Sweep(run_log._client, run_log).look()
    assert await _subjects_delivered(run_log) == [forgotten.run_id]


async def test_a_job_that_waits_in_the_queue_is_left_there(run_log: RunLog) -> None:
    waiting = await _requested(run_log)
    sweep = Sweep(run_log._client, run_log)
    await sweep.look()
    await sweep.look()
    assert await _subjects_delivered(run_log) == [waiting.run_id]


async def test_what_was_swept_is_not_looked_at_again(run_log: RunLog) -> None:
    await _finish(run_log, await _requested(run_log))
    await _forget_everything(run_log)
    await Sweep(run_log._client, run_log).look()
    late = Sweep(run_log._client, run_log)
    await late.look()
    assert await late._noted() > 0
    assert await _pending(run_log) == 0
