"""Questions about files: read, write, append, list, delete, one after the other, with `file_io`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.simulator.planner.file_wishes import Action, Wish, wishes, without
from services.simulator.planner.offer import OfferedTool, find
from services.simulator.planner.results import read_names, read_text
from services.simulator.planner.steps import Failure, Outcome, PlannedCall, Step
from services.simulator.sampling import Sampler

MAX_STEPS = 10
MAX_NAMES = 50
_SYNONYMS = {
    Action.READ: ("read", "get", "open", "cat"),
    Action.WRITE: ("write", "save", "create", "put"),
    Action.APPEND: ("append", "add"),
    Action.LIST: ("list", "ls", "dir"),
    Action.DELETE: ("delete", "remove", "rm"),
}


@dataclass(frozen=True)
class FileStep(Step):
    """One act on one file; `after` keeps the order the question gave."""

    wish: Wish
    tool: OfferedTool
    after: int | None

    @property
    def needs(self) -> tuple[int, ...]:
        return () if self.after is None else (self.after,)

    def call(self, results: Mapping[int, str]) -> PlannedCall:
        return PlannedCall(self.tool.name, self._arguments(), _saying(self.wish))

    def _arguments(self) -> dict[str, Any]:
        tool, wish = self.tool, self.wish
        writes = wish.action in (Action.WRITE, Action.APPEND)
        named: dict[str | None, Any] = {
            tool.slot("action", "operation", "op", "mode", "command"): _word(tool, wish.action),
            tool.slot("path", "file_path", "filepath", "filename", "file", "name"): wish.path or None,
            tool.slot("content", "text", "data", "body"): wish.content if writes else None,
        }
        arguments = {name: value for name, value in named.items() if name and value is not None}
        missing = [name for name in tool.required() if name not in arguments]
        return arguments | {name: "." if "path" in name else "" for name in missing}


@dataclass(frozen=True)
class FileTask:
    steps: tuple[FileStep, ...]
    summarise: bool

    def conclude(self, outcomes: Mapping[int, Outcome], sampler: Sampler) -> str:
        return " ".join(self._sentence(i, o) for i, o in sorted(outcomes.items()))

    def _sentence(self, index: int, outcome: Outcome) -> str:
        wish = self.steps[index].wish
        if isinstance(outcome, Failure):
            return f"I could not {_saying(wish)}: {outcome.reason.rstrip('.')}."
        match wish.action:
            case Action.READ:
                return _says(wish.path, read_text(outcome.text), self.summarise)
            case Action.LIST:
                names = read_names(outcome.text, MAX_NAMES)
                return f"These files are there: {', '.join(names)}." if names else "There are no files."
            case Action.WRITE:
                return f"I wrote {len(wish.content)} characters to {wish.path}."
            case Action.APPEND:
                return f"I appended {len(wish.content)} characters to {wish.path}."
            case Action.DELETE:
                return f"I deleted {wish.path}."


@dataclass(frozen=True)
class NoFileTool:
    """The question is about files, but the request offers nothing to reach them with."""

    steps: tuple[Step, ...] = ()

    def conclude(self, outcomes: Mapping[int, Outcome], sampler: Sampler) -> str:
        return "I have no tool to work with files here, so I cannot do that."


def recognise(text: str, tools: Sequence[OfferedTool]) -> tuple[FileTask | NoFileTool | None, str]:
    """What a text asks of files, and the rest of the text."""
    found = list(wishes(text))
    if not found:
        return None, text
    rest = without(text, found)
    tool = find(tools, "file_io", "files", "file", "filesystem")
    if tool is None:
        return NoFileTool(), rest
    steps = tuple(
        FileStep(wish, tool, index - 1 if index else None) for index, wish in enumerate(found[:MAX_STEPS])
    )
    return FileTask(steps, bool(re.search(r"\bsummar", text, re.IGNORECASE))), rest


def _word(tool: OfferedTool, action: Action) -> str:
    slot = tool.slot("action", "operation", "op", "mode", "command")
    allowed = tool.properties()[slot].get("enum") if slot else None
    return next((word for word in _SYNONYMS[action] if allowed and word in allowed), action.value)


def _saying(wish: Wish) -> str:
    match wish.action:
        case Action.LIST:
            return "list the files"
        case Action.WRITE:
            return f"write to the file {wish.path}"
        case Action.APPEND:
            return f"append to the file {wish.path}"
        case _:
            return f"{wish.action.value} the file {wish.path}"


def _says(path: str, text: str, summarise: bool) -> str:
    if text and summarise:
        return f"In short, {path} says: {_first_sentence(text)}"
    return f"The file {path} says: {text}" if text else f"The file {path} is empty."


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?])\s|\n", text.strip(), maxsplit=1)[0][:300]
