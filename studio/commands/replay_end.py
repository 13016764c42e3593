"""What has come of a replay: a verdict, the step to blame, or the one new run and how it differs."""

from typing import Final

from rich.console import Console
from rich.text import Text

from shared.replay_results import ReplayResult
from shared.steps import RunStatus
from studio.client.replay_models import Replay, ReplayRun
from studio.client.sync import Studio
from studio.commands.running import summary
from studio.terminal.amounts import counted, usd
from studio.terminal.blame_chart import blame_view
from studio.terminal.differences import Look
from studio.terminal.divergence import divergence_line, divergence_lines
from studio.terminal.output import results
from studio.terminal.replays import runs_table, status_text
from studio.terminal.run_diff import diff_view, headline
from studio.terminal.text import plain
from studio.terminal.verdict_table import arms_table, verdict_view

MOST_RUNS: Final = 20
WIDE: Final = 110


def is_good(replay: Replay) -> bool:
    """Whether it came to its end, and its one run, if it is one, completed."""
    if replay.status != "completed":
        return False
    alone = _alone(replay)
    return alone is None or alone.status is RunStatus.COMPLETED


def tell_end(studio: Studio, replay: Replay) -> None:
    console = results()
    if replay.error is not None:
        console.print(Text(f"{plain(replay.error.type)}: {plain(replay.error.message)}", "red"))
    run = _alone(replay)
    if run is not None and replay.mode in ("rerun", "fork"):
        _tell_run(studio, replay, run, console)
    elif replay.result is not None:
        _tell_result(studio, replay, replay.result, console)
    console.print(_line(replay))


def look(console: Console, *, whole: bool = False) -> Look:
    """Marks stand where there are no colours."""
    return Look(marked=not console.is_terminal or console.no_color, whole=whole)


def labels(replay: Replay) -> list[str]:
    """What its runs are measured by."""
    return [metric.label for metric in replay.order.metrics]


def _alone(replay: Replay) -> ReplayRun | None:
    return replay.items[0] if len(replay.items) == 1 else None


def _tell_run(studio: Studio, replay: Replay, run: ReplayRun, console: Console) -> None:
    """The new run, its difference from the old one, where it parted, its answer."""
    made = studio.get(run.run_id)
    console.print(summary(made))
    if replay.diff is not None:
        console.print(headline(replay.diff), Text(), diff_view(replay.diff, look(console)), Text(), sep="\n")
    measures = run.measures
    # Requests differ by the ids of calls, too, which say nothing where all else is equal.
    is_equal = replay.diff is not None and replay.diff.equal
    if measures is not None and measures.divergence is not None and not is_equal:
        console.print(divergence_line(measures.divergence))
    for name, why in (measures.faults if measures else {}).items():
        console.print(Text(f"{plain(name)}: {plain(why)}", "yellow"))
    if made.response is not None:
        console.print(Text(plain(made.response).strip(), "bold"))


def _tell_result(studio: Studio, replay: Replay, result: ReplayResult, console: Console) -> None:
    if result.verdict is not None:
        console.print(*verdict_view(result.verdict, narrow=console.width < WIDE), sep="\n")
    elif result.blame is not None:
        steps = {step.seq: step for step in studio.get(replay.run_id).steps}
        console.print(blame_view(result.blame, steps))
    elif result.verification is not None:
        _tell_verification(result, console)
    else:
        if len(replay.items) <= MOST_RUNS:
            console.print(runs_table(replay.items, labels(replay)), Text(), sep="\n")
        console.print(arms_table(result.arms))


def _tell_verification(result: ReplayResult, console: Console) -> None:
    found = result.verification
    if found is None:
        return
    console.print(f"{found.equal:,} equal, {found.diverged:,} parted, {found.failed:,} could not be verified")
    for each in found.not_equal:
        console.print(Text(f"run {each.source_run_id}", "bold"))
        if each.divergence is not None:
            console.print(*divergence_lines(each.divergence, look(console)), sep="\n")
        elif each.error is not None:
            console.print(Text(plain(each.error.message), "red"))


def _line(replay: Replay) -> Text:
    """Its status, its runs, what it cost."""
    facts = [replay.mode]
    if replay.result is not None:
        facts += [counted(replay.result.runs.ended, "run"), f"{usd(replay.result.cost_usd)} USD"]
    return Text.assemble(
        status_text(replay.status), "  ", " · ".join(facts), (f"  replay {replay.replay_id}", "dim")
    )
