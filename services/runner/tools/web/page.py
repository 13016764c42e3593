"""An HTML page as plain text with its title, in time linear to its length.

The standard library's html.parser is not used: pages are hostile, and on Python versions in use it needs
seconds for 20 kB of `<a <a <a` and raises AssertionError on `<![<![`. Here every search moves forward.
"""

import html
import re
from dataclasses import dataclass

LINES = re.compile(
    r"address|article|aside|blockquote|br|dd|div|dl|dt|fieldset|figcaption|figure|footer|form|h1|h2|h3"
    r"|h4|h5|h6|header|hr|li|main|nav|ol|option|p|pre|section|table|title|tr|ul"
)
CELLS = frozenset({"td", "th"})
UNSHOWN = ("script", "style", "noscript", "template", "svg", "iframe", "object")
CLOSINGS = {name: re.compile(f"</{name}", re.IGNORECASE) for name in (*UNSHOWN, "title")}
TAG = re.compile(r"</?([a-zA-Z][a-zA-Z0-9-]*)")
QUOTE_OR_END = re.compile(r"[>\"']")


@dataclass(frozen=True)
class Page:
    title: str
    text: str


def read_page(source: str) -> Page:
    reader = _Reader(source)
    reader.read()
    return Page(_line(reader.title), _lines("".join(reader.parts)))


class _Reader:
    """Walks over the source once; `parts` is the text so far, with line breaks where the page has them."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.parts: list[str] = []
        self.title = ""
        self._in_pre = False

    def read(self) -> None:
        position = 0
        while (start := self.source.find("<", position)) >= 0:
            self._text(position, start)
            position = self._markup(start)
        self._text(position, len(self.source))

    def _markup(self, start: int) -> int:
        """Take in what begins with the `<` at `start`; returns where to read on."""
        if self.source.startswith("<!--", start):
            return self._after("-->", start + 4)
        tag = TAG.match(self.source, start)
        if tag is not None:
            return self._tag(tag)
        if self.source[start + 1 : start + 2] in ("!", "?", "/"):
            return self._after(">", start)
        self.parts.append("<")
        return start + 1

    def _tag(self, tag: re.Match[str]) -> int:
        name = tag[1].lower()
        opening = self.source[tag.start() + 1] != "/"
        end = self._tag_end(tag.end())
        if name == "pre":
            self._in_pre = opening
        if opening and name == "title" and not self.title:
            closing = self._closing(name, end)
            self.title = _unescaped(self.source[end:closing])
            return closing
        if opening and name in UNSHOWN:
            return self._closing(name, end)
        self.parts.append("\n" if LINES.fullmatch(name) else " " if name in CELLS else "")
        return end

    def _tag_end(self, position: int) -> int:
        """Behind the tag's `>`, which does not count inside a quoted value; an unclosed quote is no quote."""
        while (found := QUOTE_OR_END.search(self.source, position)) is not None:
            position = found.end()
            if found[0] == ">":
                return position
            if self.source[max(0, found.start() - 3) : found.start()].rstrip().endswith("="):
                closing = self.source.find(found[0], position)
                position = closing + 1 if closing >= 0 else position
        return len(self.source)

    def _closing(self, name: str, position: int) -> int:
        found = CLOSINGS[name].search(self.source, position)
        return found.start() if found else len(self.source)

    def _after(self, text: str, position: int) -> int:
        found = self.source.find(text, position)
        return found + len(text) if found >= 0 else len(self.source)

    def _text(self, start: int, end: int) -> None:
        text = _unescaped(self.source[start:end])
        self.parts.append(text if self._in_pre else text.replace("\n", " ").replace("\r", " "))


def _unescaped(text: str) -> str:
    try:
        return html.unescape(text)
    except ValueError:  # a character reference of thousands of digits
        return text


def _line(text: str) -> str:
    return " ".join(text.split())


def _lines(text: str) -> str:
    """Runs of blanks become one, and so do runs of empty lines."""
    lines = [_line(line) for line in text.split("\n")]
    kept = [line for index, line in enumerate(lines) if line or (index and lines[index - 1])]
    return "\n".join(kept).strip()
