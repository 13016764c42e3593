"""Every run that a test recorded is played again: what the runner did must follow from its log."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import cast

from nats.aio.client import Client

from services.runner.means import Means
from services.runner.model import Model
from services.runner.rehearsal.rehearsal import Rehearsal
from services.runner.tools.registry import ToolRegistry
from services.runner.tools.settings import ToolSettings
from shared.bodies import BodyMissing, BodyStore
from shared.bus import RUNS, client_of, make_broker
from shared.earlier_runs import as_told, said, told_at
from shared.model_request import JsonObject
from shared.payload import Payloads
from shared.step_codec import Undecodable
from shared.steps import RunClaimed, RunRequested, Step, now
from shared.stored import stored_messages, subject_of
from shared.subjects import RunKey

BY_A_RUNNER = b'"version":"'
"""In the text of a claim that a real runner has made."""


@cache
def installed_tools() -> ToolRegistry:
    return ToolRegistry.discover(ToolSettings())


async def check_broker(url: str) -> int:
    """Rehearse every run whose log is on this broker; how many there were to rehearse."""
    async with make_broker("rehearsal", url) as broker:
        return await check_logs(client_of(broker))


async def check_logs(client: Client) -> int:
    """As `check_broker`. Most tests make up their runs, and those are not even read."""
    texts: dict[RunKey, list[bytes]] = {}
    async for message in stored_messages(client, RUNS, "run.>"):
        kind, key = subject_of(message).split(".")[1], RunKey.of_subject(subject_of(message))
        if kind == "log" or key not in texts:  # a job may have been put into the queue again
            texts.setdefault(key, []).append(message.data)
    if not any(BY_A_RUNNER in text for run in texts.values() for text in run):
        return 0
    payloads, runs = Payloads(BodyStore(client)), dict[str, list[Step]]()
    for key, run in texts.items():
        with suppress(Undecodable, BodyMissing):  # what a test made up, or took away
            runs[key.run_id] = [step for text in run for step in await payloads.decode(key.project, text)]
    return await check_rehearsals(runs)


def by_a_runner(steps: Sequence[Step]) -> bool:
    """Whether this is the whole log of a run that a runner has had, and not what a test made up."""
    claims = [step for step in steps if isinstance(step, RunClaimed)]
    is_whole = [step.seq for step in steps] == list(range(len(steps)))
    return is_whole and bool(claims) and all(claim.version for claim in claims)


async def check_rehearsals(runs: Mapping[str, Sequence[Step]], tools: ToolRegistry | None = None) -> int:
    """Rehearse all of these runs, by id; how many there were to rehearse."""
    count = 0
    for run_id, steps in runs.items():
        if not steps or not by_a_runner(steps):
            continue
        history = _history(steps, runs)
        if history is None:
            continue
        means = Means(cast("Model", None), tools or installed_tools(), now)
        outcome = await Rehearsal(steps, means, history=history).play()
        told = [f"{step.seq} {step.kind}" for step in steps]
        assert outcome.divergence is None, f"run {run_id} {told}: {outcome.divergence}"
        assert outcome.steps == len(steps)
        count += 1
    return count


def _history(run: Sequence[Step], runs: Mapping[str, Sequence[Step]]) -> list[JsonObject] | None:
    """The conversation before the run; None: a run of it is gone."""
    assert isinstance(run[0], RunRequested)
    told: list[JsonObject] = []
    for part in run[0].history:
        if isinstance(part.messages, list):
            told += [message for message in part.messages if isinstance(message, dict)]
        elif (steps := runs.get(part.run_id)) is None or not isinstance(steps[0], RunRequested):
            return None
        else:
            told += said(as_told(steps, told_at(run)))
    return told
