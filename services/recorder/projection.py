"""From a batch of steps to rows: what goes into `steps`, and what changes in `runs`.

Pure: no I/O, no clock. How changes meet what is in the database already is `store/runs.py`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.recorder.change import RunChange
from services.recorder.references import BodyKey, Texts, hashes
from shared.errors import Permanent
from shared.step_codec import encode_step
from shared.steps import AgentResponse, BodyRef, RunDeleted, RunRequested, Step

NUL: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")

StepKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step, its JSON text, and the bodies that it points to."""

    step: Step
    payload: str
    bodies: tuple[BodyKey, ...]


@dataclass(frozen=True)
class Batch:
    """Each step once, in the order of the keys; and the runs that are to be erased."""

    rows: Mapping[StepKey, StepRow]
    deletions: tuple[RunDeleted, ...]


def project(steps: Sequence[Step]) -> Batch:
    """Raises Permanent for a step that Postgres could store but never read again."""
    by_key: dict[StepKey, Step] = {}
    deletions: list[RunDeleted] = []
    for step in steps:
        if type(step) is RunDeleted:
            deletions.append(step)
        else:
            by_key.setdefault((step.run_id, step.seq), step)
    return Batch({key: _row(by_key[key]) for key in sorted(by_key)}, tuple(deletions))


def changes(steps: Iterable[Step], texts: Texts) -> list[RunChange]:
    """What these steps change, by run, in the order of the run ids; `texts` as in `shown_bodies`."""
    by_run: dict[str, RunChange] = {}
    for step in steps:
        change = by_run.get(step.run_id)
        if change is None:
            change = by_run[step.run_id] = RunChange(step.run_id, step.project)
        change.add(step, texts)
    return [by_run[run_id] for run_id in sorted(by_run)]


def shown_bodies(steps: Iterable[Step]) -> Iterator[BodyKey]:
    """The bodies of which the runs' rows show the beginning."""
    for step in steps:
        match step:
            case RunRequested(prompt=BodyRef(sha256=sha256)) | AgentResponse(content=BodyRef(sha256=sha256)):
                yield BodyKey(step.project, sha256)


def _row(step: Step) -> StepRow:
    payload = encode_step(step).decode()
    if "\\u0000" in payload and NUL.search(payload):
        raise Permanent(f"step {step.seq} of run {step.run_id} holds a NUL character, which Postgres cannot")
    return StepRow(step, payload, tuple(BodyKey(step.project, sha256) for sha256 in hashes(payload)))
