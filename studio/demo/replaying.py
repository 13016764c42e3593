"""The demo's replay: its first run again with another model, and where the two part."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.text import Text

from studio.client.models import Run
from studio.client.replay_options import ReplayChanges
from studio.client.sync import Studio
from studio.commands.replay_end import is_good, tell_end
from studio.terminal.text import one_line, plain

WAIT_S: Final = 120.0
SMALL: Final = "small"
NEWEST: Final = "latest"
SHOWS: Final = (
    "the same run with another model; tools answer as they did, and are called only where that is new"
)


def replay_otherwise(studio: Studio, run: Run, console: Console) -> bool:
    """Whether the new run completed, too."""
    model = another(studio.models().items, run.model or "")
    changes: ReplayChanges = {"model": model} if model else {"temperature": 0.0}
    how = f"with {plain(model)}" if model else "at temperature 0"
    says = Text.assemble(("replay", "cyan"), "  ", (one_line(run.prompt or ""), "bold"), f"  {how}")
    console.print(Text(), says, Text(f"     {SHOWS}"), Text(), sep="\n")
    replay_id = studio.create_replay(run.run_id, changes=changes).replay_id
    replay = studio.wait_for_replay(replay_id, wait_s=WAIT_S)
    tell_end(studio, replay)
    return is_good(replay)


def another(models: Sequence[str], used: str) -> str | None:
    """A model that was not used, rather the newest small one; None where there is no other."""
    others = [name for name in models if name != used]
    return min(others, key=lambda name: (SMALL not in name, NEWEST not in name), default=None)
