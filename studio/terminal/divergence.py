"""Where a replay asked for something else than its source."""

from collections.abc import Iterator

from rich.text import Text

from shared.steps import Divergence
from studio.terminal.differences import Look, unified_lines
from studio.terminal.text import one_line


def divergence_line(divergence: Divergence) -> Text:
    """The step, the cause and the place."""
    where = f" at {one_line(divergence.path)}" if divergence.path else ""
    return Text(f"parts at step {divergence.step}: {divergence.cause}{where}", "yellow")


def divergence_lines(divergence: Divergence, look: Look) -> Iterator[Text]:
    """The same with the difference of the two requests."""
    yield divergence_line(divergence)
    yield from unified_lines(divergence.diff.splitlines(), look)
