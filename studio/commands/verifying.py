"""`studio verify`: runs are rehearsed by replays, several at a time, and what is not equal is named."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Final

import typer
from pydantic import BaseModel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from shared.replay_results import SourceVerification, Trouble, Verification
from studio.client.errors import Conflict, Invalid, NotFound
from studio.client.replay_models import FINAL, Replay
from studio.client.replay_options import ReplayChanges
from studio.client.sync import Studio
from studio.commands.connection import FAILED, connected
from studio.commands.reference import run_id_of
from studio.commands.replay_end import look
from studio.commands.replay_progress import cancelled, looks_at
from studio.terminal.divergence import divergence_line, divergence_lines
from studio.terminal.output import notices, results, write_json
from studio.terminal.text import plain

INTERRUPTED: Final = 130
TROUBLE: Final = 2
"""The exit code where nothing could be verified; a run that parts ends with 1."""
# A replay names at most so many runs that are not equal.
CHUNK: Final = 100
AT_ONCE: Final = 4


class Total(BaseModel):
    """What was found of so many runs; of those that `failed` it could not be said."""

    verified: int = 0
    equal: int = 0
    parted: int = 0
    failed: int = 0

    def add(self, found: Verification) -> None:
        self.equal += found.equal
        self.parted += found.diverged
        self.failed += found.failed
        self.verified += found.equal + found.diverged + found.failed

    def line(self) -> Text:
        said = f"{self.verified:,} verified: {self.equal:,} equal, {self.parted:,} parted"
        failed = f", {self.failed:,} could not be verified" if self.failed else ""
        return Text(said + failed, "green" if self.equal == self.verified else "red")


@dataclass(frozen=True)
class Looking:
    """What is to be tried otherwise, and how much is told of what parts."""

    changes: ReplayChanges
    show: bool
    as_json: bool


def verify(typed: Sequence[str], status: str | None, looking: Looking) -> int:
    """Those that are named, else all that have ended. The exit code."""
    if status not in (None, *FINAL):
        raise typer.BadParameter(f"give {', '.join(sorted(FINAL))}", param_hint="--status")
    total = Total()
    with connected(TROUBLE) as studio:
        ids = [run_id_of(studio, each) for each in typed] or _ended(studio, status)
        verifying = _Verifying(studio, looking.changes)
        try:
            for found in verifying.verified(iter(ids)):
                total.add(found)
                for each in found.not_equal:
                    _tell(each, show=looking.show, as_json=looking.as_json)
        except KeyboardInterrupt:
            for replay_id in verifying.under_way:
                notices().print(Text(cancelled(studio, replay_id), "yellow"))
            return INTERRUPTED
    if looking.as_json:
        write_json(total)
    else:
        results().print(total.line())
    return 0 if total.equal == total.verified else FAILED


class _Verifying:
    """`under_way`: the replays that have not ended, the oldest first."""

    def __init__(self, studio: Studio, changes: ReplayChanges) -> None:
        self.under_way: deque[str] = deque()
        self._changes = changes
        self._studio = studio
        self._refused: list[SourceVerification] = []

    def verified(self, ids: Iterator[str]) -> Iterator[Verification]:
        """What is found of them, chunk by chunk."""
        columns = (TextColumn("verified"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        console = notices()
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("", total=0)
            for chunk in iter(lambda: list(islice(ids, CHUNK)), []):
                bar.update(task, total=(bar.tasks[task].total or 0) + len(chunk))
                self._order(chunk)
                while len(self.under_way) >= AT_ONCE:
                    yield self._oldest(bar, task)
            while self.under_way:
                yield self._oldest(bar, task)
        if refused := tuple(self._refused):
            yield Verification(equal=0, diverged=0, failed=len(refused), not_equal=refused)

    def _order(self, run_ids: Sequence[str]) -> None:
        """Of a chunk that is refused because of one run, the others are verified."""
        try:
            replay = self._studio.create_replay(run_ids, mode="verify", changes=self._changes)
            self.under_way.append(replay.replay_id)
        except (NotFound, Conflict, Invalid) as error:
            if len(run_ids) == 1:
                trouble = Trouble(type="refused", message=str(error))
                self._refused.append(
                    SourceVerification(
                        source_run_id=run_ids[0], run_id=run_ids[0], divergence=None, error=trouble
                    )
                )
                return
            for half in (run_ids[: len(run_ids) // 2], run_ids[len(run_ids) // 2 :]):
                self._order(half)

    def _oldest(self, bar: Progress, task: TaskID) -> Verification:
        """What has come of the replay that has been under way longest."""
        replay_id, before = self.under_way[0], bar.tasks[task].completed
        with closing(looks_at(self._studio, replay_id)) as looks:
            for replay in looks:
                bar.update(task, completed=before + (replay.runs.ended if replay.runs else 0))
        self.under_way.popleft()
        return _found(replay)


def _ended(studio: Studio, status: str | None) -> Iterable[str]:
    """All runs that have ended, the newest first; those that verify others are not listed."""
    return (run.run_id for run in studio.list(status=status) if run.status.is_final)


def _found(replay: Replay) -> Verification:
    if replay.result is not None and replay.result.verification is not None:
        return replay.result.verification
    trouble = replay.error or Trouble(
        type=replay.status, message=f"replay {replay.replay_id} is {replay.status}"
    )
    none = SourceVerification(
        source_run_id=replay.run_id, run_id=replay.run_id, divergence=None, error=trouble
    )
    return Verification(equal=0, diverged=0, failed=replay.sources, not_equal=(none,))


def _tell(each: SourceVerification, *, show: bool, as_json: bool) -> None:
    if as_json:
        write_json(each)
        return
    console = results()
    name = Text(f"run {each.source_run_id}  ", "bold")
    if each.divergence is None:
        says = plain(each.error.message) if each.error else "it could not be verified"
        console.print(name.append(says, "red"))
    else:
        console.print(name.append_text(divergence_line(each.divergence)))
        if show:
            console.print(*islice(divergence_lines(each.divergence, look(console)), 1, None), sep="\n")
