"""What differs between two versions of an agent. Pure."""

from collections.abc import Iterator
from difflib import unified_diff
from typing import Final

from pydantic import JsonValue

from services.gateway.agents.version import AgentVersion
from services.gateway.agents.views import AgentDiff, Change

INSTRUCTIONS: Final = "instructions"
# What many lines have in common is sought for by comparing each with each.
MOST_LINES: Final = 1500


def difference(old: AgentVersion, new: AgentVersion) -> AgentDiff:
    before, after = (each.definition.model_dump(mode="json") for each in (old, new))
    texts = before.pop(INSTRUCTIONS), after.pop(INSTRUCTIONS)
    return AgentDiff(
        name=old.name,
        from_version=old.version,
        to_version=new.version,
        changes=tuple(_changes(before, after)),
        instructions=_text_diff(*texts, (str(old), str(new))) if texts[0] != texts[1] else None,
    )


def _changes(old: JsonValue, new: JsonValue, place: str = "") -> Iterator[Change]:
    """Objects are compared field by field, everything else as a whole."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in (*old, *(name for name in new if name not in old)):
            yield from _changes(old.get(name), new.get(name), f"{place}.{name}" if place else name)
    elif old != new:
        yield Change(field=place, before=old, after=new)


def _text_diff(old: str, new: str, names: tuple[str, str]) -> str:
    """As `diff -u` writes it; long texts as if nothing of them were common."""
    before, after = old.splitlines(), new.splitlines()
    if max(len(before), len(after)) > MOST_LINES:
        heading = (f"--- {names[0]}", f"+++ {names[1]}", f"@@ -1,{len(before)} +1,{len(after)} @@")
        return "\n".join((*heading, *(f"-{line}" for line in before), *(f"+{line}" for line in after)))
    return "\n".join(unified_diff(before, after, *names, lineterm=""))
