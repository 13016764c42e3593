"""What a text asks of files: acts, paths and contents, found by patterns. No tools in here."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    READ = "read"
    WRITE = "write"
    APPEND = "append"
    LIST = "list"
    DELETE = "delete"


_NAMED = r"(?:[\w./-]*[\w-]\.[A-Za-z]\w{0,9}|\"[^\"\n]{1,200}\"|'[^'\n]{1,200}'|`[^`\n]{1,200}`)"
_PATH = (
    r"(?:the |a |my |new )*(?:file |contents? of |file named |file called )*"
    rf"(?P<path>{_NAMED}|it\b|that file\b)"
)
_TEXT = r"(?P<text>\"[^\"]*\"|'[^'\n]*'|`[^`]*`|.{1,2000}?)"
_PATTERNS: tuple[tuple[Action, re.Pattern[str]], ...] = tuple(
    (action, re.compile(pattern, re.IGNORECASE | re.DOTALL))
    for action, pattern in (
        (Action.APPEND, rf"\b(?:append|add)\s+(?:the (?:text|line|words?)\s+)?{_TEXT}\s+to\s+{_PATH}"),
        (
            Action.WRITE,
            rf"\b(?:write|save|store|put)\s+(?:the (?:text|line|words?)\s+)?{_TEXT}\s+(?:in)?to\s+{_PATH}",
        ),
        (Action.WRITE, rf"\b(?:write|save|store|put)\s+{_TEXT}\s+in\s+{_PATH}"),
        (
            Action.WRITE,
            rf"\b(?:create|write|make)\s+{_PATH}\s+(?:with|containing|that says)\s+"
            rf"(?:the )?(?:text |contents? )?(?P<rest>\"[^\"]*\"|'[^'\n]*'|`[^`]*`|[^.\n]+)",
        ),
        (Action.DELETE, rf"\b(?:delete|remove)\s+{_PATH}"),
        (Action.LIST, r"\b(?:list|show|which|what)\b[^.?!\n]{0,30}\bfiles\b(?:[^.?!\n]{0,40})"),
        (
            Action.READ,
            r"\b(?:read|open|show|print|display|cat|summari[sz]e|what(?:'s| is) in|what does)\s+(?:me\s+)?"
            + _PATH,
        ),
    )
)


@dataclass(frozen=True)
class Wish:
    """One act on one file; `span` is its place in the text."""

    action: Action
    path: str
    content: str
    span: tuple[int, int]


def wishes(text: str) -> Iterator[Wish]:
    """Each act with its path, content and place, in the order of the text; "it" is the last file."""
    position, last = 0, ""
    while found := _first_match(text, position):
        action, match = found
        groups = match.groupdict()
        path = _unquoted(groups.get("path") or "")
        path = last if path.lower() in ("it", "that file") else path
        if path or action is Action.LIST:
            content = _unquoted((groups.get("text") or groups.get("rest") or "").strip())
            yield Wish(action, path, content, match.span())
        last, position = path or last, match.end()


def _first_match(text: str, position: int) -> tuple[Action, re.Match[str]] | None:
    found = [(a, m) for a, pattern in _PATTERNS if (m := pattern.search(text, position))]
    return min(found, key=lambda pair: pair[1].start(), default=None)


def without(text: str, found: Sequence[Wish]) -> str:
    """The text without the words that were wishes."""
    for wish in reversed(found):
        start, end = wish.span
        text = f"{text[:start]} ; {text[end:]}"
    return text


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'`" else text.rstrip(".")
