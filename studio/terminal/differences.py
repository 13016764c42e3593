"""Texts and values that differ: in red and green, and with marks where there is no colour."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue
from rich.text import Text

from shared.diff.models import FieldChange, Segment
from studio.terminal.text import one_line, plain

STYLES: Final = {"removed": "red", "added": "green", "changed": "yellow", "equal": "dim"}
SIGNS: Final = {"removed": "-", "added": "+", "changed": "~", "equal": "="}
MARKS: Final = {"removed": ("[-", "-]"), "added": ("{+", "+}")}
UNIFIED_STYLES: Final = {"-": "red", "+": "green", "@": "cyan"}
# Of what is the same around a difference, and of a value, where not all is wanted.
AROUND: Final = 40
LONGEST: Final = 200
MOST_LINES: Final = 12


@dataclass(frozen=True)
class Look:
    """`marked`: what was removed and added is told apart without colours. `whole`: nothing is cut."""

    marked: bool
    whole: bool = False


def change_lines(change: FieldChange, look: Look) -> Iterator[Text]:
    """The place of a change, and what was there and is there now."""
    if change.text is not None and change.text.by == "lines":
        yield Text(plain(change.path), "bold")
        yield from unified_lines(change.text.unified, look)
        return
    says = Text.assemble((plain(change.path), "bold"), "  ")
    if change.text is not None:
        says.append_text(words(change.text.segments, look))
    else:
        sides = {"removed": change.left, "added": change.right}
        shown = [
            _said(state, _value(value, look), look)
            for state, value in sides.items()
            if change.state in (state, "changed")
        ]
        says.append_text(Text("" if look.marked else " ").join(shown))
    if change.too_large:
        says.append("  only the beginning is shown", "dim")
    yield says


def words(segments: Sequence[Segment], look: Look) -> Text:
    """A text by word, with what was there and what is there now."""
    says = Text()
    for place, (state, segment) in enumerate(segments):
        if state == "equal":
            is_cut = not look.whole and len(segment) > AROUND * 2
            says.append(_around(segment, place, len(segments)) if is_cut else _shown(segment, look))
        else:
            says.append_text(_said(state, _shown(segment, look), look))
    return says


def unified_lines(lines: Sequence[str], look: Look) -> Iterator[Text]:
    """A unified diff; of a long one the beginning."""
    shown = lines if look.whole else lines[:MOST_LINES]
    for line in shown:
        yield Text(plain(line), UNIFIED_STYLES.get(line[:1], ""))
    if len(shown) < len(lines):
        yield Text(f"… {len(lines) - len(shown)} more lines", "dim")


def _said(state: str, value: str, look: Look) -> Text:
    """Marks stand inside the spaces, so that words stay apart."""
    if not look.marked:
        return Text(value, STYLES[state] + (" strike" if state == "removed" else ""))
    opening, closing = MARKS[state]
    bare = value.strip(" ")
    before, after = value[: len(value) - len(value.lstrip(" "))], value[len(value.rstrip(" ")) :]
    return Text(f"{before}{opening}{bare}{closing}{after}" if bare else f"{opening}{value}{closing}")


def _around(segment: str, place: int, number: int) -> str:
    """The ends of a long text that stand next to a change."""
    begin = _flat(segment[:AROUND]) if place else ""
    end = _flat(segment[-AROUND:]) if place < number - 1 else ""
    return f"{begin} … {end}"


def _shown(segment: str, look: Look) -> str:
    return plain(segment) if look.whole else _flat(segment)


def _flat(segment: str) -> str:
    return plain(segment).replace("\n", " ")


def _value(value: JsonValue, look: Look) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return plain(text) if look.whole else one_line(text, LONGEST)
