"""Questions that name an offered tool ("use get_weather for Paris"): one call with fitting arguments."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.simulator.arithmetic.lexer import tokenize
from services.simulator.arithmetic.vocabulary import Kind
from services.simulator.planner.offer import OfferedTool
from services.simulator.planner.results import read_text
from services.simulator.planner.steps import Failure, Outcome, PlannedCall, Step
from services.simulator.sampling import Sampler

MAX_TOOLS = 5
_QUOTED = re.compile(r"\"([^\"\n]{1,500})\"|`([^`\n]{1,500})`")
_LEAD = re.compile(r"^(?:\W|\b(?:tool|to|for|with|on|about|and|say|please|the|function)\b)+", re.IGNORECASE)


@dataclass(frozen=True)
class NamedStep(Step):
    """The arguments come from the words after the tool's name, or from what stands in quotes."""

    tool: OfferedTool
    words: str

    def call(self, results: Mapping[int, str]) -> PlannedCall:
        numbers = [token.value for token in tokenize(self.words[:1_000]) if token.kind is Kind.NUMBER]
        arguments = self.tool.sample(self.words, numbers)
        return PlannedCall(self.tool.name, arguments, f"use {self.tool.name}")


@dataclass(frozen=True)
class NamedTask:
    steps: tuple[NamedStep, ...]

    def conclude(self, outcomes: Mapping[int, Outcome], sampler: Sampler) -> str:
        return " ".join(self._sentence(index, outcome) for index, outcome in sorted(outcomes.items()))

    def _sentence(self, index: int, outcome: Outcome) -> str:
        name = self.steps[index].tool.name
        if isinstance(outcome, Failure):
            return f"{name} did not work: {outcome.reason.rstrip('.')}."
        return f"{name} answered: {read_text(outcome.text)}"


def recognise(text: str, tools: Sequence[OfferedTool]) -> NamedTask | None:
    """The offered tools that a text names, each called once."""
    lowered = text.lower()
    named = [tool for tool in tools if _place(tool, lowered) >= 0][:MAX_TOOLS]
    if not named:
        return None
    return NamedTask(tuple(NamedStep(tool, _words(text, _place(tool, lowered))) for tool in named))


def forced(tool: OfferedTool, text: str) -> NamedStep:
    """The call a request insists on although the question does not ask for it."""
    return NamedStep(tool, _words(text, 0))


def _place(tool: OfferedTool, lowered: str) -> int:
    """The place behind the tool's name in the text, -1 where it is not named. A name that is an ordinary
    word ("memory") only counts after "use", "call" or "run"."""
    name = tool.name.lower()
    compound = "_" in name or "-" in name
    spoken = re.escape(re.sub("[_-]+", " ", name))
    called = "" if compound else r"\b(?:use|using|call|run|try)\s+(?:the\s+|your\s+)?"
    found = re.search(rf"{called}(?<![\w/])(?:{re.escape(name)}|{spoken})(?![\w/])", lowered)
    return found.end() if found else -1


def _words(text: str, place: int) -> str:
    quoted = _QUOTED.search(text)
    if quoted is not None:
        return quoted[1] or quoted[2]
    rest = _LEAD.sub("", text[place:]).strip()
    return (rest or text.strip()).rstrip("?.! ")[:500]
