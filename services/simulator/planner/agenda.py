"""Walking through tasks: which steps the conversation has already answered, which can be called now.

The planner keeps no memory between requests. Each request the question is planned afresh and the
steps are matched with the calls the conversation holds: by the step number in the call's id, or, for
calls of another origin, by equal arguments. A call that could not work (arguments that are no JSON,
a tool that does not exist, an error for arguments that were not the planned ones) is made again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.simulator.conversation import Call
from services.simulator.planner.steps import Failure, Outcome, PlannedCall, Step, Success, Task
from services.simulator.sampling import step_of


@dataclass(frozen=True)
class Pending:
    """A step that can be called now; `number` counts the steps of all tasks."""

    number: int
    step: Step
    call: PlannedCall


@dataclass(frozen=True)
class Progress:
    """Where the tasks stand: what can be called, and per task the outcomes so far."""

    pending: tuple[Pending, ...]
    outcomes: tuple[dict[int, Outcome], ...]


def progress(tasks: Sequence[Task], calls: Sequence[Call]) -> Progress:
    """Matches the steps of all tasks with the calls of the current turn."""
    pending: list[Pending] = []
    outcomes: list[dict[int, Outcome]] = []
    first = 0
    for task in tasks:
        outcomes.append(_walk(task, first, calls, pending))
        first += len(task.steps)
    return Progress(tuple(pending), tuple(outcomes))


def _walk(task: Task, first: int, calls: Sequence[Call], pending: list[Pending]) -> dict[int, Outcome]:
    outcomes: dict[int, Outcome] = {}
    results: dict[int, str] = {}
    for index, step in enumerate(task.steps):
        if any(need not in results for need in step.needs):
            continue
        planned = step.call(results)
        outcome = _outcome(step, planned, first + index, calls)
        if outcome is None:
            pending.append(Pending(first + index, step, planned))
            continue
        outcomes[index] = outcome
        if isinstance(outcome, Success):
            results[index] = outcome.text
    return outcomes


def _outcome(step: Step, planned: PlannedCall, number: int, calls: Sequence[Call]) -> Outcome | None:
    """What came of a step, or None when it has yet to be called (again)."""
    made = _made(planned, number, calls)
    if made is None or made.name != planned.tool or made.arguments is None:
        return None
    outcome = step.read(made.result)
    return None if isinstance(outcome, Failure) and made.arguments != planned.arguments else outcome


def _made(planned: PlannedCall, number: int, calls: Sequence[Call]) -> Call | None:
    """The latest call that was made for a step."""
    for call in reversed(calls):
        if step_of(call.id) == number:
            return call
    same = (c for c in reversed(calls) if (c.name, c.arguments) == (planned.tool, planned.arguments))
    return next((call for call in same if step_of(call.id) is None), None)
