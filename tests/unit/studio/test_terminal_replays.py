"""Diffs, verdicts, blame and replays on the terminal: readable without colour, and only text."""

import io
import re

import pytest
from rich.console import Console, RenderableType

from shared.diff.models import Segment
from shared.steps import Divergence, Edit
from studio.client.replay_models import Lineage, LineageRun
from studio.terminal.amounts import figure
from studio.terminal.blame_chart import bar, blame_view
from studio.terminal.differences import Look, words
from studio.terminal.divergence import divergence_lines
from studio.terminal.replays import lineage_tree, replays_table, runs_table
from studio.terminal.run_diff import diff_view, headline
from studio.terminal.verdict_table import verdict_view
from tests.unit.studio.client_steps import BEGIN, RUN_ID, run_steps
from tests.unit.studio.replay_samples import DIVERGENCE, OTHER_ID, a_blame, a_diff, a_replay, a_verdict
from tests.unit.studio.test_cli_text import HOSTILE, assert_harmless

PLAIN = Look(marked=True)
STEPS = {step.seq: step for step in run_steps()}


def wide(shown: RenderableType) -> str:
    """As `printed`, on a terminal where nothing is cut."""
    file = io.StringIO()
    Console(file=file, force_terminal=True, color_system=None, width=240, markup=False, emoji=False).print(
        shown
    )
    return file.getvalue()


def lines(*shown: RenderableType) -> list[str]:
    return [line.strip() for each in shown for line in wide(each).splitlines()]


def test_what_differs_is_marked_where_there_are_no_colours() -> None:
    shown = lines(headline(a_diff()), diff_view(a_diff(), PLAIN))
    assert shown[0] == "1 difference in the setup; steps: 3 the same, 2 changed"
    assert "/model  [-mistral-large-latest-]{+mistral-small-latest+}" in shown
    assert "= steps 2–3 are the same" in shown
    assert "~ tool-call calculator  4, 5" in shown
    assert "/content  The answer is [-45-]{+46+}." in shown
    assert [line.split() for line in shown if line.startswith("tokens")] == [["tokens", "240", "240"]]


def test_colours_need_no_marks() -> None:
    file = io.StringIO()
    Console(file=file, width=100, force_terminal=True, color_system="standard").print(
        diff_view(a_diff(), Look(marked=False))
    )
    assert "\x1b[9;31m45\x1b[0m\x1b[32m46\x1b[0m" in file.getvalue()
    assert "[-" not in file.getvalue()


def test_the_steps_that_are_the_same_are_shown_where_all_is_wanted() -> None:
    shown = lines(diff_view(a_diff(), Look(marked=True, whole=True), run_steps()))
    assert "user-request  How much?" in shown


def test_of_a_long_text_the_ends_next_to_a_change_are_shown() -> None:
    middle = " ".join(f"word{number}" for number in range(100))
    segments: list[Segment] = [
        ("removed", "A "),
        ("equal", middle),
        ("added", " B"),
        ("equal", f"\n{middle}"),
    ]
    shown = words(segments, PLAIN).plain
    assert shown.startswith("[-A-] word0 word1 word2")
    assert " … " in shown
    assert "word99 {+B+} word0" in shown
    assert len(shown) < 200
    assert words(segments, Look(marked=True, whole=True)).plain == f"[-A-] {middle} {{+B+}}\n{middle}"


def test_a_verdict_is_a_row_for_each_metric_and_a_sentence() -> None:
    head, success, cost, rounds, _, says = lines(*verdict_view(a_verdict()))
    titles = ["metric", "baseline", "replay", "difference", "interval (97.8 %)", "test", "p", "verdict"]
    assert re.split(r" {2,}", head) == titles
    assert success.split()[:7] == ["success", "100", "%", "95", "%", "-5", "points"]
    assert re.search(r"\[-28, \+16.2\] +Boschloo, n=20/20", success)
    assert success.endswith("0.875  undecided")
    assert "0.00356 USD  0.000135 USD     -96.2 %  [-96.3, -96.1]" in cost
    assert cost.endswith("0.0002  better")
    assert rounds.split()[3] == "–"
    assert says == (
        "replay is undecided: success 5 points lower; better on cost_usd (-96.2 %); "
        "undecided on rounds (about 177 more samples an arm would decide)"
    )


def test_blame_is_a_bar_for_each_step_with_its_interval() -> None:
    first, second = a_blame().points
    assert bar(first) == "█" * 24
    assert bar(second) == "█" * 5 + "░" * 9 + "·" * 10
    shown = lines(blame_view(a_blame(), STEPS))
    assert shown[1].startswith("step 0        5 of 5")
    assert shown[1].endswith("[56.6, 100]  from the start")
    assert "tool-result  calculator = 45" in shown[2]
    assert shown[-1] == "it is step 5"


def test_lineage_is_a_tree_that_marks_how_each_run_was_made() -> None:
    fork = LineageRun(
        run_id=OTHER_ID,
        source_run_id=RUN_ID,
        mode="fork",
        fork_step=5,
        edits=(Edit(step=5, field="result", value=1),),
        arm="replay",
        status="completed",
        total_cost_usd="0.002",
        more=3,
    )
    root = LineageRun(run_id=RUN_ID, status="completed", model="m", replays=(fork,))
    first, second, third = lines(lineage_tree(Lineage(root=root, runs=2), OTHER_ID))
    assert first == f"{RUN_ID}  completed  m"
    assert second == f"└── {OTHER_ID}  completed  fork at step 5, edited 5.result · replay · 0.002000 USD"
    assert third == "└── and 3 more replays"


def test_many_samples_of_an_arm_are_one_line_of_the_tree_but_for_those_that_something_came_of() -> None:
    def sample(number: int, *replays: LineageRun) -> LineageRun:
        return LineageRun(
            run_id=f"{OTHER_ID}-{number}",
            mode="rerun",
            replay_id="r",
            arm="baseline",
            sample=number,
            status="failed" if number == 9 else "completed",
            total_cost_usd="0.001",
            replays=replays,
        )

    samples = [sample(number) for number in range(9)] + [sample(9, sample(0))]
    root = LineageRun(run_id=RUN_ID, status="completed", replays=tuple(samples))
    shown = lines(lineage_tree(Lineage(root=root, runs=12), f"{OTHER_ID}-4"))
    assert [line.split("  ")[0][4:] for line in shown[1:3]] == [f"{OTHER_ID}-4", f"{OTHER_ID}-9"]
    assert shown[-1] == "└── 8 samples: 8 completed  rerun · baseline · 0.008000 USD"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (1234.5, "1,234"), (0.00000112, "0.00000112"), (31.25, "31.2"), (1e-9, "1e-09"), (-5, "-5")],
)
def test_figures_have_three_digits_and_no_exponent_where_people_read_them(value: float, shown: str) -> None:
    assert figure(value) == shown


def test_what_models_and_tools_wrote_is_only_text() -> None:
    divergence = Divergence(step=1, cause="message", path=HOSTILE, diff=f"-{HOSTILE}\n+{HOSTILE}")
    replay = a_replay(
        metadata={}, words=HOSTILE, mode="rerun", error={"type": HOSTILE, "message": HOSTILE}, arms=(HOSTILE,)
    )
    run = replay.items[0].model_copy(update={"arm": HOSTILE})
    hostile = a_diff(text=HOSTILE, result=HOSTILE)
    verdict, blame = a_verdict(HOSTILE), a_blame().model_copy(update={"words": HOSTILE})
    for shown in (
        diff_view(hostile, PLAIN),
        diff_view(hostile, Look(marked=True, whole=True), run_steps()),
        *divergence_lines(divergence, PLAIN),
        *divergence_lines(DIVERGENCE, PLAIN),
        replays_table([replay], BEGIN),
        runs_table([run], [HOSTILE]),
        blame_view(blame, STEPS),
        *verdict_view(verdict),
    ):
        assert_harmless(wide(shown))
