"""Sessions on the command line: which there are, and one with its runs and notes."""

import json
import sys
from datetime import UTC, datetime

from studio.commands.connection import connected
from studio.commands.lists import print_list
from studio.commands.reference import known
from studio.terminal.output import results, write_line
from studio.terminal.sessions import session_view, sessions_table
from studio.terminal.text import json_line


def list_sessions(limit: int, *, as_json: bool) -> None:
    with connected() as studio:
        found = list(studio.sessions(limit=limit))
    nobody = 'there are no sessions; `studio run --session NAME "…"` begins one'
    print_list(found, sessions_table(found, datetime.now(UTC)), nobody, as_json=as_json)


def show_session(session_id: str, limit: int, *, as_json: bool) -> None:
    """Its newest runs, in the order in which they were; with --json one object."""
    with connected() as studio, known("session", session_id, "session"):
        session = studio.session(session_id)
        runs = list(studio.list(session_id=session_id, limit=limit))[::-1]
        notes = studio.notes(session_id)
    if as_json:
        whole = session.model_dump(mode="json")
        whole["items"] = [run.model_dump(mode="json") for run in runs]
        whole["notes"] = [note.model_dump(mode="json") for note in notes]
        write_line(json_line(json.dumps(whole, ensure_ascii=False)))
    else:
        results().print(session_view(session, runs, notes, short=sys.stdout.isatty()))
