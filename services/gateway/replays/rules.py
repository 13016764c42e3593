"""What goes together in a replay, and the ways in which its runs are run. Pure.

Everything here raises Problem (422) that names the field at fault.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic_core import to_json

from services.gateway.problems import invalid
from services.gateway.replays.inputs import ChangesInput, EditInput, Mode, ReplayInput

BASELINE: Final = "baseline"
NO_CHANGES: Final = ChangesInput()
ONLY: Final = "replay"
"""The name of the one way in which runs are replayed, where no candidates are named."""
MOST_RUNS: Final = 10_000
MOST_OF_EDITS: Final = 64 * 1024
SAMPLES: Final[Mapping[Mode, int]] = {"verify": 1, "rerun": 1, "fork": 1, "blame": 5}
RUNS_OF_BLAME: Final = 60
LIVE: Final = ("rerun", "fork")
MODES_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "samples": (*LIVE, "blame"),
    "changes": (*LIVE, "verify"),
    "candidates": LIVE,
    "step": ("fork",),
    "edits": ("fork",),
    "tools": (*LIVE, "blame", "verify"),
    "metrics": (*LIVE, "blame"),
    "confidence": (*LIVE, "blame"),
    "stop_early": LIVE,
    "most_runs": ("blame",),
    "threshold": ("blame",),
}


@dataclass(frozen=True)
class Way:
    """One way in which the runs are replayed; `field` is where in the request it stands."""

    name: str
    field: str = ""
    changes: ChangesInput = NO_CHANGES
    edits: tuple[EditInput, ...] = ()


def ways(asked: ReplayInput) -> tuple[Way, ...]:
    """The baseline first where there is something to compare with it."""
    _check_fields(asked)
    _check_sources(asked.sources)
    found = _ways(asked)
    names = [way.name for way in found]
    for index, candidate in enumerate(asked.candidates):
        if names.count(candidate.name) > 1:
            taken = "is the one that changes nothing" if candidate.name == BASELINE else "stands here twice"
            raise invalid(f"candidates.{index}.name", f"{candidate.name!r} {taken}; give another name")
    edits = sum(len(to_json(edit)) for way in found for edit in way.edits)
    if edits > MOST_OF_EDITS:
        raise invalid("edits", f"they are {edits} bytes together; at most {MOST_OF_EDITS} can be edited")
    _check_number(asked, len(found))
    return found


def samples_of(asked: ReplayInput) -> int:
    return asked.samples or SAMPLES[asked.mode]


def _ways(asked: ReplayInput) -> tuple[Way, ...]:
    if asked.candidates:
        named = (
            Way(each.name, f"candidates.{index}.", each.changes, each.edits)
            for index, each in enumerate(asked.candidates)
        )
        return (Way(BASELINE), *named)
    only = Way(ONLY, "", asked.changes or NO_CHANGES, asked.edits)
    is_compared = samples_of(asked) > 1 and (only.changes != NO_CHANGES or only.edits)
    return (Way(BASELINE), only) if is_compared else (only,)


def _check_fields(asked: ReplayInput) -> None:
    for name in asked.model_fields_set & MODES_OF.keys():
        value, modes = getattr(asked, name), MODES_OF[name]
        if value not in (None, (), {}) and asked.mode not in modes:
            raise invalid(name, f"is for {' and '.join(modes)}; leave it out to {asked.mode}")
    for index, candidate in enumerate(asked.candidates):
        if candidate.edits and asked.mode != "fork":
            raise invalid(
                f"candidates.{index}.edits", "is for fork; a run that is run again has no steps yet"
            )
    if asked.mode == "fork" and asked.step is None:
        raise invalid("step", "say behind which step to fork; GET /api/runs/{run_id}/steps shows them all")
    for way in _ways(asked):
        if way.changes.prompt is not None and asked.step:
            told = "the fork takes over what was asked; edit the content of that step, or fork at step 0"
            raise invalid(f"{way.field}changes.prompt", told)
    for name in ("changes", "edits"):
        if asked.candidates and getattr(asked, name):
            raise invalid(name, "with candidates, each of them has its own; say it there")


def _check_sources(sources: Sequence[str]) -> None:
    if not sources:
        raise invalid("run_id", "name the run that is to be replayed, or several as run_ids")
    if len(set(sources)) < len(sources):
        raise invalid("run_ids", "each run may stand here once; samples says how often each is replayed")


def _check_number(asked: ReplayInput, ways: int) -> None:
    if asked.run_id is not None and asked.run_ids is not None:
        raise invalid("run_ids", "name one run as run_id or several as run_ids, not both")
    sources, samples = len(asked.sources), samples_of(asked)
    if asked.mode == "blame":
        if sources > 1:
            raise invalid("run_ids", "one run at a time is looked at for what is to blame")
        if samples > (most := asked.most_runs or RUNS_OF_BLAME):
            raise invalid("most_runs", f"{most} runs are fewer than the {samples} samples of one step")
    elif (runs := sources * ways * samples) > MOST_RUNS:
        told = f"{sources} runs, {ways} ways and {samples} samples are {runs:,} runs"
        raise invalid("samples", f"{told}; a replay has at most {MOST_RUNS:,}")
