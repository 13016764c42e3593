"""The broker after more than a week: runs with ids of then, and their messages gone."""

from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from nats.aio.client import Client

from shared.bus import BODIES, DAY_S, RUNS, jetstream
from shared.steps import now
from shared.stored import sequence_of, stored_messages
from shared.subjects import RunKey, job_subject, log_subject


def aged_id(days: float = 8) -> str:
    """A run's id from so many days ago."""
    milliseconds = int((now().timestamp() - days * DAY_S) * 1000)
    return str(UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | uuid4().int & (2**62 - 1)))


def accept_as_if(patch: pytest.MonkeyPatch, days: float) -> None:
    """From now on the gateway gives its runs ids from so many days ago."""
    patch.setattr("services.gateway.starter.uuid_utils", SimpleNamespace(uuid7=lambda: aged_id(days)))


async def forget(client: Client, run: RunKey, *, most: int | None = None, job: bool = True) -> None:
    """What becomes of old messages: the job goes, unless it was renewed, and the log from its start."""
    if job:
        await _delete(client, job_subject(run), None)
    await _delete(client, log_subject(run), most)


async def forget_bodies(client: Client) -> None:
    await jetstream(client).purge_stream(BODIES)


async def is_forgotten(client: Client, run: RunKey) -> bool:
    """Whether the broker has nothing of the run."""
    subjects = (job_subject(run), log_subject(run))
    return not [each for subject in subjects async for each in stored_messages(client, RUNS, subject)]


async def _delete(client: Client, subject: str, most: int | None) -> None:
    stored = [sequence_of(each) async for each in stored_messages(client, RUNS, subject)]
    for sequence in stored[:most]:
        await jetstream(client).delete_msg(RUNS, sequence)
