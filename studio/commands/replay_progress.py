"""Following a replay: a bar of its runs, what they cost so far, and its end when a person has enough."""

import time
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from studio.client.errors import Conflict, StudioError, Unavailable, Unreachable
from studio.client.replay_models import Replay
from studio.client.sync import Studio
from studio.commands.patience import patiently
from studio.terminal.amounts import usd
from studio.terminal.output import notices
from studio.terminal.step_text import wanted
from studio.terminal.text import plain

ASK_EVERY_S: Final = 2.0


def followed(studio: Studio, replay_id: str) -> Replay:
    """The replay when it has ended. Raises Unreachable, saying that it goes on."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console, waiting = notices(), WaitingRuns(studio)
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with bar, closing(looks_at(studio, replay_id)) as looks:
        task = bar.add_task("waiting for the replayer", total=None)
        for replay in looks:
            if (runs := replay.runs) is not None:
                total = runs.planned if replay.has_ended else runs.most
                bar.update(task, completed=runs.ended, total=total, description=_description(replay))
            for says in waiting.of(replay):
                console.print(Text(says, "yellow"))
    return replay


class WaitingRuns:
    """The runs of a replay that wait for a person: each is told once."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._told: set[str] = set()
        self._asked_at = time.monotonic()

    def of(self, replay: Replay) -> Iterator[str]:
        """Asks the server now and then."""
        if replay.has_ended or time.monotonic() - self._asked_at < ASK_EVERY_S:
            return
        self._asked_at = time.monotonic()
        own = {run.run_id for run in replay.items if run.status is None} - self._told
        with suppress(Unreachable, Unavailable):  # the next look at the replay says so
            for run in self._studio.waiting() if own else ():
                if run.run_id in own:
                    self._told.add(run.run_id)
                    yield f"run {run.run_id} waits for {wanted(run.reason, run.run_id)}"


def looks_at(studio: Studio, replay_id: str) -> Generator[Replay, None, None]:
    """The replay again and again until it has ended. Raises Unreachable, saying that it goes on."""
    return patiently(lambda: studio.follow_replay(replay_id), goes_on(replay_id), notices().print)


def cancelled(studio: Studio, replay_id: str) -> str:
    """Ends a replay that somebody has interrupted; returns what to say."""
    if not replay_id:
        return "interrupted; `studio replays` shows whether the replay was started"
    try:
        studio.cancel_replay(replay_id)
    except Conflict:
        return f"replay {replay_id} had ended; `studio replays show {replay_id[-8:]}` shows how"
    except StudioError as error:
        return f"interrupted, and not cancelled: {plain(str(error))}\n{goes_on(replay_id)}"
    return f"cancelled replay {replay_id}; `studio replays show {replay_id[-8:]}` shows what it had found"


def goes_on(replay_id: str) -> str:
    """What can be done about a replay that is no longer followed."""
    short = replay_id[-8:]
    return (
        f"Replay {replay_id} goes on: `studio replays show {short}` shows how far it is, "
        f"`studio replays cancel {short}` ends it."
    )


def _description(replay: Replay) -> str:
    """The arms, or statuses where there is one arm, and what was spent."""
    if replay.result is None:
        return replay.mode
    arms = [f"{plain(arm.name)} {arm.runs}" for arm in replay.result.arms]
    failed = [f"{replay.result.runs.failed} failed"] if replay.result.runs.failed else []
    spent = [f"{usd(replay.result.cost_usd)} USD"] if replay.mode != "verify" else []
    return " · ".join((*arms, *failed, *spent))
