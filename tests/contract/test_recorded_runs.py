"""Runs as the runner once recorded them, played by today's code: it must do what it did then.

The files under `recorded/` are frozen. A change of the code that makes one of them part is a change of what
recorded runs prove: it needs a reason in the changelog, and a new file beside the old one's removal.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from shared.step_codec import decode_step
from shared.steps import STEP_KINDS, Step
from tests.support.rehearsed import check_rehearsals

FILES = sorted((Path(__file__).parent / "recorded").glob("*.json"))
NOT_BY_A_RUNNER_ALONE = {"cancel-requested", "outcome-resolved", "run-deleted"}


def recorded(path: Path) -> Sequence[Step]:
    return [decode_step(raw) for raw in json.loads(path.read_text())]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_a_recorded_run_is_played_without_a_difference(path: Path) -> None:
    steps = recorded(path)
    assert await check_rehearsals({steps[0].run_id: steps}) == 1


def test_the_recorded_runs_have_every_kind_of_step() -> None:
    kinds = {step.kind for path in FILES for step in recorded(path)}
    assert kinds | NOT_BY_A_RUNNER_ALONE == set(STEP_KINDS)
