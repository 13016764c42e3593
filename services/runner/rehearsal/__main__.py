"""A run rehearsed outside of any deployment: JSON on the standard input, JSON on the standard output.

In: `{"steps": [...]}`, a run's steps from seq 0 on, large values and the history of its session within them.
Out: `{"equal": ..., "steps": ..., "model_calls": ..., "divergence": ...}`. The exit code is 2, with words on
the standard error, for what is no run.
"""

import asyncio
import json
import sys
from typing import Any, cast

from services.runner.means import Means
from services.runner.model import Model
from services.runner.rehearsal.rehearsal import Outcome, Rehearsal
from services.runner.tools.registry import ToolRegistry
from services.runner.tools.settings import ToolSettings
from shared.run_state import LogGap
from shared.step_codec import Undecodable, decode_step
from shared.steps import RunRequested, Step, now


def main() -> int:
    try:
        steps = [decode_step(raw) for raw in json.loads(sys.stdin.buffer.read())["steps"]]
        outcome = asyncio.run(_play(steps))
    except (Undecodable, LogGap, ValueError, KeyError, TypeError, RecursionError) as error:
        sys.stderr.write(f"this is no run that can be rehearsed: {error}\n")
        return 2
    sys.stdout.write(json.dumps(_told(outcome)) + "\n")
    return 0


async def _play(steps: list[Step]) -> Outcome:
    means = Means(cast("Model", None), ToolRegistry.discover(ToolSettings()), now)
    return await Rehearsal(steps, means, history=_history(steps), must_end=True).play()


def _history(steps: list[Step]) -> list[Any]:
    first = steps[0] if steps else None
    parts = first.history if isinstance(first, RunRequested) else ()
    if any(not isinstance(part.messages, list) for part in parts):
        raise ValueError("the conversation before the run is not in it")
    return [message for part in parts for message in cast("list[Any]", part.messages)]


def _told(outcome: Outcome) -> dict[str, Any]:
    apart = outcome.divergence
    return {
        "equal": apart is None,
        "steps": outcome.steps,
        "model_calls": outcome.model_calls,
        "divergence": apart.model_dump(mode="json") if apart else None,
    }


if __name__ == "__main__":
    sys.exit(main())
