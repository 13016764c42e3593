"""Taking in a bundle: its steps become the log of a run that has ended, which recorder and readers find as
any other, and no runner has anything to do for.

The log comes first and the job last, as when a log is put back (`restoration.py`), and all that is written
follows from the file: whoever takes in the same file meanwhile, or after a crash, completes what is there.
"""

import asyncio
from typing import Final

import structlog

from services.gateway.bundles.preparation import Prepared, check_time, prepare
from services.gateway.bundles.reads import make_partition
from services.gateway.bundles.refusals import at_fault
from services.gateway.bundles.trust import Trust
from services.gateway.bundles.views import ImportedBundle
from services.gateway.log_reader import LogReader
from services.gateway.reads import answered
from services.gateway.runs import Runs
from services.gateway.turns import Turns
from shared.bundle.arrival import run_here
from shared.bundle.faults import BundleFault
from shared.bundle.manifest import STEPS
from shared.bundle.reading import Bundle, read
from shared.bundle.signing import fingerprint
from shared.database import Database
from shared.errors import Conflict, Permanent, Unavailable
from shared.payload import INLINE_LIMIT, Payloads
from shared.run_log import RunLog
from shared.step_codec import decode_steps
from shared.steps import now
from shared.stored import sequence_of
from shared.subjects import RunKey

log = structlog.get_logger(__name__)

MOST_COPIES: Final = 16
"""How often the run of one bundle may be deleted and taken in again."""
PARTITION_S: Final = 10.0
PATIENCE_S: Final = 5.0
MOST_CONFLICTS: Final = 50
CONFLICT_PAUSE_S: Final = 0.02


class Arrivals:
    """Methods raise Problem and Unavailable; they are called in a turn of `turns`."""

    def __init__(
        self, run_log: RunLog, reader: LogReader, runs: Runs, database: Database, trust: Trust
    ) -> None:
        self._log = run_log
        self._reader = reader
        self._runs = runs
        self._database = database
        self._trust = trust
        self._payloads = Payloads(run_log.bodies)
        self.turns = Turns("bundles are being taken in")

    async def open(self, data: bytes, most_bytes: int) -> Bundle:
        """The bundle of a file. Raises Problem (422), also for a signer who has to be known and is not."""
        try:
            bundle = await asyncio.to_thread(read, data, most_bytes=most_bytes)
            check_time(bundle.manifest.run_id, now())
        except BundleFault as fault:
            raise at_fault(fault) from None
        self._trust.of(bundle.manifest)
        return bundle

    async def take_in(self, bundle: Bundle, project: str) -> tuple[ImportedBundle, bool]:
        """The bundle's run in the project, and whether it is new there."""
        run, is_there = await self._place(bundle, project)
        trusted = self._trust.of(bundle.manifest)
        prepared = await asyncio.to_thread(prepare, bundle, run, self._log.seal, trusted=trusted)
        if not is_there:
            await self._write(prepared)
        manifest = bundle.manifest
        view = ImportedBundle(
            run_id=run.run_id,
            status=manifest.status,
            source_run_id=manifest.run_id,
            bundle=bundle.sha256,
            signer=fingerprint(manifest.public_key),
            trusted=trusted,
            scrubbed_steps=prepared.scrubbed,
        )
        return view, not is_there

    async def _place(self, bundle: Bundle, project: str) -> tuple[RunKey, bool]:
        """The run that the bundle is here, and whether all of it is."""
        for copy in range(MOST_COPIES):
            run = run_here(bundle, project, copy)
            row, last = await asyncio.gather(self._runs.row(run), self._reader.last(run))
            if row.is_deleted or row.is_leaving or (last is not None and last.is_deleted):
                continue
            return run, row.is_whole or (last is not None and await self._reader.job(run) is not None)
        told = f"its run was deleted {MOST_COPIES} times here, the most that it is taken in"
        raise at_fault(BundleFault(STEPS, told))

    async def _write(self, prepared: Prepared) -> None:
        at = prepared.run.accepted_at
        await answered(self._database, lambda connection: make_partition(connection, at), PARTITION_S)
        job = await self._encoded(prepared)
        for _ in range(MOST_CONFLICTS):
            try:
                position = await self._append(prepared)
            except Conflict:  # the same file is taken in elsewhere
                await asyncio.sleep(CONFLICT_PAUSE_S)
            else:
                await self._log.requeue(prepared.run, cause=f"restored:{position}", job=job)
                log.info(
                    "a bundle was taken in", run_id=prepared.run.run_id, steps=len(prepared.log.steps) + 1
                )
                return
        raise Unavailable("others wrote to the run's log all the time; try again")

    async def _encoded(self, prepared: Prepared) -> bytes:
        """The job, once it is known that each of the steps fits into a message, its large values apart."""
        project = prepared.run.project
        for seq, text in enumerate(prepared.log.encoded, 1):
            try:
                if len(text) > INLINE_LIMIT:
                    await self._payloads.encode(project, [text])
            except Permanent as error:
                raise at_fault(BundleFault(f"{STEPS}, step {seq}", str(error))) from None
        try:
            return await self._payloads.encode(project, [prepared.job])
        except Permanent as error:
            raise at_fault(BundleFault(f"{STEPS}, step 0", str(error))) from None

    async def _append(self, prepared: Prepared) -> int:
        """All steps that the log does not have yet; returns its end."""
        run, position, there = prepared.run, 0, 0
        async for messages in self._reader.messages(run):
            position = sequence_of(messages[-1])
            there = decode_steps(messages[-1].data)[-1].seq
        for chunk in prepared.chunks(there):
            position = await self._log.append(run, chunk, position, patience_s=PATIENCE_S)
        return position
