"""Asking a run to stop, as a service does that started it: the wish goes into the run's log.

What people ask for through the API, with runs that wait as rows or have left the broker, is the gateway's.
"""

from typing import Final

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError

from shared.errors import Conflict, Unavailable
from shared.run_log import RunLog
from shared.run_state import RunState, fold
from shared.steps import CancelRequested, RunStatus, now
from shared.subjects import RunKey, nudge_subject

log = structlog.get_logger(__name__)

CONFLICTS: Final = 20


async def cancel(client: Client, run_log: RunLog, run: RunKey, *, who: str, why: str) -> None:
    """Ask the run to stop, if it goes on; to ask again changes nothing. Raises Unavailable and LogGap."""
    for _ in range(CONFLICTS):
        read = await run_log.read(run, fresh=True)
        state = fold(read.steps)
        if state.request is None or state.finished or state.deleted or state.cancel:
            return
        step = CancelRequested(
            run_id=run.run_id,
            project=run.project,
            seq=state.next_seq,
            at=now(),
            attempt=state.attempt,
            writer=run_log.writer,
            who=who,
            why=why,
        )
        try:
            sequence = await run_log.append(run, run_log.seal([step]), read.sequence)
        except Conflict:
            continue
        await _wake(client, run_log, run, state, sequence)
        return
    raise Unavailable(f"others wrote to the log of run {run.run_id} all the time")


async def _wake(client: Client, run_log: RunLog, run: RunKey, state: RunState, sequence: int) -> None:
    if state.status is RunStatus.WAITING:
        await run_log.requeue(run, cause=f"cancel:{sequence}")
        return
    try:
        await client.publish(nudge_subject(run), b"")
    except (NatsError, OSError) as error:
        log.info("the runner was not nudged, it will see the step later", error=str(error))
