"""Sessions on the terminal: side by side, and one with its runs and notes."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.console import Group
from rich.table import Table
from rich.text import Text

from studio.client.models import Note, RunSummary, Session
from studio.terminal.amounts import age, counted, sum_cost
from studio.terminal.grid import facts, table
from studio.terminal.runs_table import runs_table
from studio.terminal.step_text import STATUS_STYLES
from studio.terminal.text import plain


def sessions_table(sessions: Sequence[Session], now: datetime) -> Table:
    titles = ("session", "runs", "last used", "last run", "tokens", "USD")
    rows = (
        (
            session.session_id,
            str(session.runs),
            age(session.last_at, now),
            Text(session.last_status, STATUS_STYLES[session.last_status]),
            f"{session.total_tokens:,}",
            sum_cost(session.total_cost_usd, session.unpriced),
        )
        for session in sessions
    )
    return table(titles, rows, wide=("session",), right=("runs", "tokens", "USD"))


def session_view(
    session: Session, runs: Sequence[RunSummary], notes: Sequence[Note], *, short: bool
) -> Group:
    """What it adds up to, its runs, and what its agents remember."""
    now, cost = datetime.now(UTC), sum_cost(session.total_cost_usd, session.unpriced)
    said = [
        ("session", session.session_id),
        ("runs", f"{session.runs:,}" + (f", the last {len(runs)} below" if len(runs) < session.runs else "")),
        ("usage", counted(session.total_tokens, "token")),
        ("cost", f"{cost} USD" if session.total_cost_usd is not None else cost),
        ("used", f"{age(session.first_at, now)} to {age(session.last_at, now)}"),
    ]
    return Group(facts(said), Text(), runs_table(runs, now, short=short, narrow=True), *_notes(notes, now))


def _notes(notes: Sequence[Note], now: datetime) -> Iterator[Table | Text]:
    yield Text()
    if notes:
        rows = ((note.key, age(note.updated_at, now), Text(plain(note.text))) for note in notes)
        yield table(("note", "written", ""), rows, wide=("",))
    else:
        yield Text("no notes", "dim")
