"""Where a replay has the answers of its tools from. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pydantic_core import to_json

from services.gateway.problems import invalid
from services.gateway.replays.inputs import ToolAnswerInput
from shared.steps import Effect, ToolAnswer, ToolSpec

EVERY_OTHER: Final = "*"
MOST_STATIC: Final = 16 * 1024
MOST_OF_ALL: Final = 256 * 1024


def tool_answers(asked: Mapping[str, ToolAnswerInput], specs: Iterable[ToolSpec]) -> dict[str, ToolAnswer]:
    """The policy for runs that may use these tools. Raises Problem (422)."""
    called = [spec for spec in specs if spec.source != "handoff"]  # to hand over calls nothing
    names = sorted({spec.name for spec in called})
    irreversible = sorted({spec.name for spec in called if spec.effect is Effect.IRREVERSIBLE})
    for name, answer in asked.items():
        if name not in (*names, EVERY_OTHER):
            there_are = ", ".join(names) or "none"
            raise invalid(f"tools.{name}", f"the replayed runs have no such tool; theirs are {there_are}")
        _check(f"tools.{name}", answer)
    _check_others(asked, irreversible)
    if sum(len(to_json(each.static)) for each in asked.values()) > MOST_OF_ALL:
        raise invalid("tools", f"the static answers are more than {MOST_OF_ALL} bytes together")
    return {name: _answer(each, name in irreversible) for name, each in asked.items()}


def check_verification(asked: Mapping[str, ToolAnswerInput], specs: Iterable[ToolSpec]) -> None:
    """What a verification may call: nothing that leaves the machine. Raises Problem (422)."""
    pure = {spec.name for spec in specs if spec.effect is Effect.PURE and spec.source == "installed"}
    for name, answer in asked.items():
        if name not in pure or answer.answer != "live":
            told = "believes what is recorded, but for pure tools of the runner that are named live"
            raise invalid(f"tools.{name}", f"a verification {told}")


def _answer(asked: ToolAnswerInput, is_irreversible: bool) -> ToolAnswer:
    # Naming an irreversible tool for its recorded answers must not make it live by a default.
    on_miss = asked.on_miss or ("fail" if is_irreversible else "live")
    return ToolAnswer(answer=asked.answer, on_miss=on_miss, static=asked.static)


def _check(field: str, asked: ToolAnswerInput) -> None:
    has_static = "static" in asked.model_fields_set
    if has_static != (asked.answer == "static"):
        told = "is for the answer 'static'" if has_static else "say what the tool always answers"
        raise invalid(f"{field}.static", told)
    if asked.on_miss is not None and asked.answer != "recorded":
        raise invalid(f"{field}.on_miss", "is for the answer 'recorded'; no other can be missing")
    if (size := len(to_json(asked.static))) > MOST_STATIC:
        raise invalid(f"{field}.static", f"is {size} bytes of JSON; at most {MOST_STATIC}")


def _check_others(asked: Mapping[str, ToolAnswerInput], irreversible: Sequence[str]) -> None:
    """`*` makes no irreversible tool live: whoever wants that names it."""
    others = asked.get(EVERY_OTHER)
    if others is None or "live" not in (others.answer, others.on_miss):
        return
    if unnamed := [name for name in irreversible if name not in asked]:
        told = f"{', '.join(unnamed)} cannot be undone, and is called only if it is named itself"
        raise invalid(f"tools.{EVERY_OTHER}", f"{told}: add what to do with it, or do not say live here")
