"""`studio diff` and `lineage`: how two runs differ, and what came of a run."""

from typing import Final

from rich.text import Text

from studio.commands.connection import connected
from studio.commands.reference import in_words, run_id_of
from studio.commands.replay_end import look
from studio.terminal.output import notices, results, write_json
from studio.terminal.replays import lineage_tree
from studio.terminal.run_diff import diff_view, headline

EQUAL: Final = 0
DIFFERENT: Final = 1
TROUBLE: Final = 2


def diff_runs(left: str, right: str, *, whole: bool, as_json: bool) -> int:
    """The exit code, as that of diff."""
    with connected(TROUBLE) as studio:
        left_id, right_id = (run_id_of(studio, typed) for typed in (left, right))
        diff = studio.diff(left_id, right_id)
        steps = studio.get(left_id).steps if whole else ()
    if as_json:
        write_json(diff)
    else:
        console = results()
        console.print(headline(diff), Text(), diff_view(diff, look(console, whole=whole), steps), sep="\n")
        if not diff.complete:
            notices().print(Text("not both have ended: they are compared as far as they are", "yellow"))
    return EQUAL if diff.equal else DIFFERENT


def show_lineage(typed: str, *, as_json: bool) -> None:
    with connected() as studio:
        run_id = run_id_of(studio, typed)
        with in_words(run_id):
            lineage = studio.lineage(run_id)
    if as_json:
        write_json(lineage)
    else:
        results().print(lineage_tree(lineage, run_id))
