"""Tables and lists of facts, as all commands show them."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from rich.table import Table
from rich.text import Text

from studio.terminal.text import one_line, plain

LONGEST: Final = 60


def table(
    titles: Sequence[str],
    rows: Iterable[Sequence[str | Text]],
    *,
    wide: Collection[str] = (),
    right: Collection[str] = (),
) -> Table:
    """Where the terminal is narrow, the `wide` columns give way. Of foreign text, a line is shown."""
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in titles:
        made.add_column(title, no_wrap=title not in wide, justify="right" if title in right else "left")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else _cut(cell) for cell in row))
    return made


def facts(said: Iterable[tuple[str, str | Text]]) -> Table:
    """A line for each that says something."""
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for title, words in said:
        if words:
            made.add_row(title, words if isinstance(words, Text) else Text(plain(words)))
    return made


def switch(on: bool, off: str = "off") -> Text:
    """Whether something counts now."""
    return Text("on", "green") if on else Text(off, "yellow")


def _cut(cell: str) -> Text:
    return Text(one_line(cell, LONGEST), no_wrap=True, overflow="ellipsis")
