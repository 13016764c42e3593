"""From a conversation and the offered tools to the next step: tool calls with a sentence, or an answer.

In: which kind of question it is, forced tools, a model's mistakes. Out: each kind (`*_task`), wording
of plain answers (`prose`), turning the plan into an API answer (`completions`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from services.simulator.arithmetic.expression import Value
from services.simulator.conversation import Conversation
from services.simulator.models import Model
from services.simulator.planner import arithmetic_task, file_task, hub_task, named_task, page_task, prose
from services.simulator.planner.agenda import Pending, progress
from services.simulator.planner.offer import OfferedTool
from services.simulator.planner.results import read_number
from services.simulator.planner.steps import PlannedCall, Task
from services.simulator.sampling import Sampler, step_of

FOCUS = 3_900
"""Of a longer question only the beginning and the end are read, which bounds the work on it."""
MAX_PARALLEL = 8
FORCED_STEP = 1_295
"""The step number of a call that no task asked for."""
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True)
class Situation:
    """What is known when the next step is chosen; `question` is free of fault directives."""

    conversation: Conversation
    question: str
    tools: tuple[OfferedTool, ...]
    must_call: bool
    parallel: bool
    model: Model


@dataclass(frozen=True)
class NumberedCall:
    step: int
    call: PlannedCall


@dataclass(frozen=True)
class Plan:
    text: str
    calls: tuple[NumberedCall, ...] = ()


def choose(situation: Situation, sampler: Sampler) -> Plan:
    """The model's next message."""
    tasks = _tasks(situation)
    standing = progress(tasks, situation.conversation.calls)
    ready = standing.pending[: MAX_PARALLEL if situation.parallel else 1]
    if ready:
        return _calls(situation, ready, sum(len(task.steps) for task in tasks), sampler)
    if situation.must_call and situation.tools:
        return forced_call(situation, sampler)
    if not tasks:
        name = situation.model.names[-1]
        return Plan(prose.answer(situation.conversation, _focus(situation.question), name, sampler))
    pairs = zip(tasks, standing.outcomes, strict=True)
    return Plan("\n".join(task.conclude(outcomes, sampler) for task, outcomes in pairs))


def forced_call(situation: Situation, sampler: Sampler) -> Plan:
    """A call although nothing asks for one: of a planned step if there is one, else of the first tool."""
    planned = progress(_tasks(situation), ()).pending
    if planned:
        call = planned[0].call
    else:
        call = named_task.forced(situation.tools[0], _focus(situation.question)).call({})
    return Plan(f"I {call.saying}.", (NumberedCall(FORCED_STEP, call),))


def _tasks(situation: Situation) -> list[Task]:
    """What the question asks for, each kind reading what the kinds before it left of the text."""
    tools = situation.tools
    pages, rest = page_task.recognise(_focus(situation.question), tools)
    files, rest = file_task.recognise(rest, tools)
    hub, rest = hub_task.recognise(rest, tools)
    sums = arithmetic_task.recognise(rest, tools, situation.model, _previous_result(situation, rest))
    tasks: list[Task] = [task for task in (pages, files, hub, sums) if task is not None]
    used = {pending.call.tool for pending in progress(tasks, ()).pending}
    named = named_task.recognise(rest, [tool for tool in tools if tool.name not in used])
    return tasks if named is None else [*tasks, named]


def _focus(question: str) -> str:
    half = FOCUS // 2
    return question if len(question) <= FOCUS else f"{question[:half]}\n{question[-half:]}"


def _previous_result(situation: Situation, text: str) -> Value | None:
    """The number the assistant answered a turn ago, which "it" may stand for in this one."""
    if not _DIGIT.search(text):
        return None
    answers = situation.conversation.texts("assistant", situation.conversation.last_user)
    return read_number(answers[-1]) if answers and len(answers[-1]) < 500 else None


def _calls(situation: Situation, ready: Sequence[Pending], total: int, sampler: Sampler) -> Plan:
    calls = []
    for pending in ready:
        call = pending.call
        chance = situation.model.slip_chance(pending.number, sampler.temperature)
        if pending.step.slippery and sampler.happens(chance):
            call = pending.step.slipped(call, sampler)
        calls.append(NumberedCall(pending.number, call))
    return Plan(_announcement(situation, calls, total, sampler), tuple(calls))


def _announcement(situation: Situation, calls: Sequence[NumberedCall], total: int, sampler: Sampler) -> str:
    """The short text beside the calls: "First I add 5 and 10."."""
    said = [numbered.call.saying for numbered in calls]
    doing = said[0] if len(said) == 1 else f"{', '.join(said[:-1])}, and {said[-1]}"
    made = {step_of(call.id) for call in situation.conversation.calls}
    if any(numbered.step in made for numbered in calls):
        return sampler.wording(("Let me correct that: I {}.", "Once more: I {}.")).format(doing)
    if situation.conversation.rounds:
        return sampler.wording(("Now I {}.", "Next I {}.", "Then I {}.")).format(doing)
    if total == len(calls):
        return sampler.wording(("I {}.", "Let me see: I {}.")).format(doing)
    return sampler.wording(("First I {}.", "To begin, I {}.", "Let me start: I {}.")).format(doing)
