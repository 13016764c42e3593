"""Replays on the terminal: side by side, the runs of one, and the tree of what came of a run."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from studio.client.replay_models import Lineage, LineageRun, ReplayRun, ReplaySummary
from studio.terminal.amounts import UNKNOWN, age, counted, figure, usd
from studio.terminal.grid import table
from studio.terminal.output import shown_id
from studio.terminal.step_text import STATUS_STYLES
from studio.terminal.text import one_line, plain

MOST_SAMPLES: Final = 3
"""Of one arm that a tree shows each by itself."""
STYLES: Final = {**STATUS_STYLES, "cancelling": "yellow"}


def replays_table(replays: Sequence[ReplaySummary], now: datetime) -> Table:
    rows = (
        (
            shown_id(each.replay_id),
            status_text(each.status),
            each.mode if each.fork_step is None else f"{each.mode} at {each.fork_step}",
            age(each.created_at, now),
            _sources(each),
            f"{each.runs.ended:,} of {each.runs.planned:,}" if each.runs else UNKNOWN,
            each.error.message if each.error else each.words or "",
        )
        for each in replays
    )
    titles = ("replay", "status", "mode", "created", "of", "runs", "")
    return table(titles, rows, wide=("",), right=("runs",))


def runs_table(runs: Sequence[ReplayRun], labels: Sequence[str]) -> Table:
    """What each run of a replay came to, by the metrics of the replay."""
    shown = [plain(label) for label in labels]
    titles = ("run", "of", "arm", "status", *shown, "")
    return table(titles, (_row(run, labels) for run in runs), wide=("",), right=shown)


def status_text(status: str) -> Text:
    return Text(plain(status), STYLES.get(status, ""))


def lineage_tree(lineage: Lineage, run_id: str) -> Tree:
    """`run_id`: the run that is marked."""
    tree = Tree(_node(lineage.root, run_id), guide_style="dim")
    _grow(tree, lineage.root, run_id)
    return tree


def _grow(tree: Tree, run: LineageRun, run_id: str) -> None:
    samples: dict[tuple[str | None, str | None], list[LineageRun]] = {}
    for each in run.replays:
        samples.setdefault((each.replay_id, each.arm), []).append(each)
    for group in samples.values():
        plain_ones = [each for each in group if each.run_id != run_id and not each.replays]
        for each in group:
            if len(plain_ones) <= MOST_SAMPLES or each not in plain_ones:
                _grow(tree.add(_node(each, run_id)), each, run_id)
        if len(plain_ones) > MOST_SAMPLES:
            tree.add(_together(plain_ones))
    if run.more:
        tree.add(Text(f"and {counted(run.more, 'more replay')}", "dim"))


def _node(run: LineageRun, run_id: str) -> Text:
    cost = f"{usd(run.total_cost_usd)} USD" if run.total_cost_usd is not None else ""
    facts = " · ".join(filter(None, (*_how(run), one_line(run.model or "", 40), cost)))
    name = (run.run_id, "bold" if run.run_id == run_id else "")
    return Text.assemble(name, "  ", status_text(run.status), (f"  {facts}", "dim"))


def _together(samples: Sequence[LineageRun]) -> Text:
    """Many samples of one arm, of which nothing came."""
    first, costs = samples[0], [run.total_cost_usd for run in samples if run.total_cost_usd is not None]
    counts = Counter(run.status.value for run in samples)
    statuses = ", ".join(f"{number} {status}" for status, number in counts.items())
    at = f" at step {first.fork_step}" if first.fork_step is not None else ""
    facts = (
        f"{first.mode}{at}",
        first.arm or "",
        one_line(first.model or "", 40),
        f"{usd(sum(costs, Decimal()))} USD",
    )
    said = plain(" · ".join(filter(None, facts)))
    return Text.assemble(f"{len(samples)} samples: {statuses}", (f"  {said}", "dim"))


def _how(run: LineageRun) -> Iterator[str]:
    if run.mode is not None:
        at = f" at step {run.fork_step}" if run.fork_step is not None else ""
        edits = ", ".join(f"{edit.step}.{edit.field}" for edit in run.edits)
        yield f"{run.mode}{at}{f', edited {edits}' if edits else ''}"
        yield plain(f"{run.arm} {run.sample}" if run.sample else run.arm or "")


def _row(run: ReplayRun, labels: Sequence[str]) -> tuple[str | Text, ...]:
    return (
        shown_id(run.run_id),
        shown_id(run.source_run_id),
        run.arm if run.fork_step is None else f"{run.arm} at {run.fork_step}",
        status_text(run.status or ("running" if run.requested_at else "queued")),
        *(_value(run, label) for label in labels),
        _remark(run),
    )


def _value(run: ReplayRun, label: str) -> str:
    value = run.measures.values.get(label) if run.measures else None
    return UNKNOWN if value is None else figure(value)


def _remark(run: ReplayRun) -> Text:
    if run.measures is None:
        return Text()
    if run.measures.error is not None:
        return Text(one_line(run.measures.error.message, 200), "red")
    if run.measures.divergence is not None:
        parts = run.measures.divergence
        return Text(one_line(f"parts at step {parts.step}: {parts.cause} {parts.path}"), "dim")
    return Text(one_line("; ".join(f"{name}: {why}" for name, why in run.measures.faults.items())), "yellow")


def _sources(replay: ReplaySummary) -> str:
    more = f" and {replay.sources - 1} more" if replay.sources > 1 else ""
    return f"{shown_id(replay.run_id)}{more}"
