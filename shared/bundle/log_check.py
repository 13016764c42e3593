"""Whether the steps of a bundle, each of which is as it was signed, are a run: a signer may sign anything."""

import re
from collections.abc import Mapping
from datetime import UTC
from typing import Final

from shared.bundle.contents import Contents, put_back, references
from shared.bundle.faults import BundleFault
from shared.bundle.manifest import STEPS, Manifest, parsed
from shared.bundle.origin import MARK, WRITER
from shared.errors import StudioError
from shared.run_state import RunState
from shared.step_codec import Undecodable, decode_step
from shared.steps import (
    LONGEST_RUN_S,
    MOST_BUDGET_USD,
    MOST_ROUNDS,
    MOST_RUNS,
    BodyRef,
    RunDeleted,
    RunRequested,
    Step,
)

LONGEST_NAME: Final = 500
MOST: Final[Mapping[str, float]] = {
    "max_rounds": MOST_ROUNDS,
    "timeout_s": LONGEST_RUN_S,
    "budget_usd": MOST_BUDGET_USD,
    "most_runs": MOST_RUNS,
}
KIND: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
"""Kinds of steps travel in headers; unknown ones may be anything else."""


def check_log(manifest: Manifest, contents: Contents) -> None:
    """The steps are the log of one finished run, from its request on, with all that it points to, and nothing
    in it is more than a log can hold. Raises BundleFault."""
    if len(contents.steps) != manifest.steps:
        raise BundleFault(STEPS, f"it has {len(contents.steps)} steps; the manifest says {manifest.steps}")
    state, pointed = RunState(), set[str]()
    for seq, text in enumerate(contents.steps):
        try:
            raw = parsed(f"{STEPS}, step {seq}", text)
            pointed |= {_known(ref, contents.bodies) for ref in references(text)}
            step = decode_step(put_back(raw, contents.bodies))
            _check_step(seq, step, manifest)
            state.apply(step)
        except BundleFault:
            raise
        except (StudioError, ValueError, LookupError, ArithmeticError) as error:
            raise BundleFault(f"{STEPS}, step {seq}", str(error)) from None
    if state.status is not manifest.status or not state.status.is_final:
        raise BundleFault(STEPS, f"the run is {state.status} at the end; the manifest says {manifest.status}")
    if unused := sorted(contents.bodies.keys() - pointed):
        raise BundleFault(f"bodies/{unused[0]}", "no step points to it")


def _known(ref: BodyRef, bodies: Mapping[str, bytes]) -> str:
    if ref.sha256 not in bodies:
        raise BundleFault(f"bodies/{ref.sha256}", "it is missing, and a step points to it")
    return ref.sha256


def _check_step(seq: int, step: Step, manifest: Manifest) -> None:
    if (step.seq, step.run_id, step.project) != (seq, manifest.run_id, manifest.project):
        raise Undecodable("it is of another run, or has another place in it")
    if isinstance(step, RunRequested) != (seq == 0) or isinstance(step, RunDeleted):
        raise Undecodable("a run begins with its one request, and a deleted one has no bundle")
    step.at.astimezone(UTC)  # raises OverflowError for a time that no clock and no database has
    if not KIND.fullmatch(step.kind):
        raise Undecodable("kind: it is no word that a kind of step can have")
    if isinstance(step, RunRequested):
        _check_request(step)


def _check_request(step: RunRequested) -> None:
    """What tables and indexes take. Raises Undecodable."""
    names = {"agent": step.agent.name, "model": step.model, "user_id": step.user_id}
    if long := next((name for name, text in names.items() if len(text) > LONGEST_NAME), None):
        raise Undecodable(f"{long}: it has more than {LONGEST_NAME} characters")
    if not 0 <= step.agent.version < 2**31:
        raise Undecodable("agent.version: no version has this number")
    if step.writer == WRITER and MARK in step.metadata:
        raise Undecodable("metadata: an imported run leaves without the mark that it got there")
    for name, most in MOST.items():
        if (getattr(step, name) or 0) > most:
            raise Undecodable(f"{name}: no run may have more than {most}")
    if not all(isinstance(part.messages, list) for part in step.history):
        raise Undecodable("history: it names an earlier run without its messages")
