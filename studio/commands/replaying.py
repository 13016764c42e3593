"""Starting replays and following them to their end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from shared.fork import fork_points
from studio.client.replay_models import Replay
from studio.client.replay_options import ReplayOptions
from studio.client.sync import Studio
from studio.commands import replay_wishes as wishes
from studio.commands.connection import FAILED, connected
from studio.commands.reference import in_words, run_id_of
from studio.commands.replay_arguments import Answers, Changed, Measured, Sampled, Told
from studio.commands.replay_end import is_good, tell_end
from studio.commands.replay_progress import cancelled, followed
from studio.terminal.grid import table
from studio.terminal.output import notices, results, write_json, write_line
from studio.terminal.step_text import kind_style, step_words
from studio.terminal.text import plain

INTERRUPTED: Final = 130


@dataclass(frozen=True)
class Wish:
    """What was typed of a replay of either kind."""

    changed: Changed
    sampled: Sampled
    measured: Measured
    answers: Answers

    @property
    def options(self) -> ReplayOptions:
        common = wishes.measured(self.measured, self.answers)
        changes = wishes.changes(self.changed)
        if changes:
            common["changes"] = changes
        common["samples"], common["stop_early"] = self.sampled.samples, self.sampled.early_stop
        return common


def rerun(typed: Sequence[str], wish: Wish, told: Told) -> int:
    """The exit code of `studio replay`."""
    return _start(typed, {**wish.options, "mode": "rerun"}, told)


def fork(typed: str, step: int, edits: Sequence[str], wish: Wish, told: Told) -> int:
    """The exit code of `studio fork`."""
    options: ReplayOptions = {**wish.options, "mode": "fork", "step": step, "edits": wishes.edits(edits)}
    return _start([typed], options, told)


def blame(typed: str, options: ReplayOptions, common: tuple[Measured, Answers], told: Told) -> int:
    """The exit code of `studio blame`."""
    return _start([typed], {**options, **wishes.measured(*common), "mode": "blame"}, told)


def list_fork_points(typed: str) -> int:
    """The steps of a run, those at which it can be forked with a mark."""
    with connected() as studio:
        run_id = run_id_of(studio, typed)
        with in_words(run_id):
            steps = studio.get(run_id).steps
    points = set(fork_points(steps))
    rows = (
        (
            Text("●" if step.seq in points else "", "green"),
            str(step.seq),
            Text(plain(step.kind), kind_style(step)),
            step_words(step).short(),
        )
        for step in steps
    )
    results().print(table(("fork", "step", "", ""), rows, wide=("",), right=("step",)))
    notices().print(Text(f"● `studio fork {run_id[-8:]} --step SEQ` goes on behind that step", "dim"))
    return 0


def _start(typed: Sequence[str], options: ReplayOptions, told: Told) -> int:
    replay_id = ""
    with connected() as studio:
        try:
            run_ids = [run_id_of(studio, each) for each in typed]
            options = _with_calls(studio, run_ids[0], options)
            sources = run_ids[0] if len(run_ids) == 1 else run_ids
            replay_id = studio.create_replay(sources, **options).replay_id
            if not told.wait:
                return _say_started(replay_id, as_json=told.as_json)
            replay = followed(studio, replay_id)
        except KeyboardInterrupt:
            notices().print(Text(cancelled(studio, replay_id), "yellow"))
            return INTERRUPTED
        return _end(studio, replay, as_json=told.as_json)


def _with_calls(studio: Studio, run_id: str, options: ReplayOptions) -> ReplayOptions:
    """The steps are read only where an edit leaves open which call it means."""
    given = options.get("edits", ())
    if all(edit.field != "arguments" or edit.call_id is not None for edit in given):
        return options
    return {**options, "edits": wishes.with_calls(given, studio.get(run_id).steps)}


def _end(studio: Studio, replay: Replay, *, as_json: bool) -> int:
    if as_json:
        write_json(replay)
    else:
        tell_end(studio, replay)
    return 0 if is_good(replay) else FAILED


def _say_started(replay_id: str, *, as_json: bool) -> int:
    write_line(f'{{"replay_id": "{replay_id}"}}' if as_json else replay_id)
    notices().print(Text(f"`studio replays show {replay_id[-8:]}` shows how far it is", "dim"))
    return 0
