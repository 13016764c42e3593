"""What becomes of a job: its run is driven to the end, given back to the queue, or put aside for a person."""

from typing import Final

import structlog
from nats.errors import Error as NatsError

from services.runner.driver import Driver, NotYet
from services.runner.job import GIVE_BACK_S, Job
from services.runner.journal import Fenced
from services.runner.loop import HandedBack, Waiting
from shared.bodies import BodyMissing
from shared.dead_letters import DeadLetters
from shared.errors import Conflict, Permanent, StudioError, Unavailable
from shared.run_state import LogGap
from shared.step_codec import Undecodable
from shared.steps import Failure

log = structlog.get_logger(__name__)

RETRY_DELAY_S: Final = 1.0


class JobHandler:
    """`ack_wait_s`: after how long without a heartbeat the broker gives a job to another runner."""

    def __init__(self, driver: Driver, letters: DeadLetters, *, ack_wait_s: float) -> None:
        self._driver = driver
        self._letters = letters
        self._ack_wait_s = ack_wait_s

    async def handle(self, job: Job) -> str:
        """Drive the run and settle the job; returns how that went. Raises only for a fault of ours."""
        try:
            await self._driver.drive(job)
        except HandedBack:
            await job.settle(delay=GIVE_BACK_S)
            return "handed-back"
        except Waiting:
            await job.settle()
            return "waiting"
        except NotYet as error:
            await job.settle(delay=error.delay_s)
            return "queued"
        except (Fenced, Conflict) as error:
            log.info("run left to its other runner", reason=str(error))
            await job.settle(delay=self._ack_wait_s)
            return "fenced"
        except Unavailable as error:
            return await self._delay(job, error)
        except Permanent as error:
            why = f"A step could not be recorded: {error}"
            return await self._fail(job, Failure(type="unrecordable", message=why))
        except BodyMissing as error:
            why = f"A large value of the run is no longer on the bus: {error}"
            return await self._fail(job, Failure(type="body-missing", message=why))
        except (Undecodable, LogGap) as error:
            return await self._bury(job, str(error))
        await job.settle()
        return "finished"

    async def _fail(self, job: Job, failure: Failure) -> str:
        """The run ends and says why; when even that cannot be recorded, a person has to look at it."""
        try:
            await self._driver.fail(job, failure)
        except (Fenced, Conflict, Unavailable) as error:
            return await self._delay(job, error)
        except (StudioError, Undecodable) as error:
            log.warning("the end of the run was refused too", error=str(error))
            return await self._bury(job, failure.message)
        await job.settle()
        return "finished"

    async def _delay(self, job: Job, error: StudioError) -> str:
        log.warning("run delayed", error=str(error))
        await job.settle(delay=RETRY_DELAY_S)
        return "delayed"

    async def _bury(self, job: Job, why: str) -> str:
        log.error("job is unusable", error=why)
        try:
            await self._letters.add(job.message, job.message.data, "unusable", why)
            await job.message.term()
        except (Unavailable, NatsError, OSError) as failure:
            log.warning("dead letter not stored, the job will come again", error=str(failure))
        return "buried"
