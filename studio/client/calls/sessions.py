"""Sessions: what their runs add up to, those runs, and the notes that agents keep in them."""

from studio.client.calls.call import Call, Listing, items_reader, nothing, path, reader
from studio.client.models import Note, Page, Session, SessionRun


def sessions(*, limit: int | None = None) -> Listing[Session]:
    """The sessions with what their runs add up to, the one used last first; at most `limit`."""
    return Listing(Page[Session], path("sessions"), limit)


def session(session_id: str) -> Call[Session]:
    """What the runs of a session add up to."""
    return Call("GET", path("sessions", session_id), reader(Session), query={"limit": "1"})


def session_runs(session_id: str, *, limit: int | None = None) -> Listing[SessionRun]:
    """The runs of a session, the oldest first, each with the memory at its end; at most `limit`."""
    return Listing(Page[SessionRun], path("sessions", session_id), limit)


def notes(session_id: str) -> Call[tuple[Note, ...]]:
    """What agents remember in a session from run to run."""
    return Call("GET", path("sessions", session_id, "memory"), items_reader(Page[Note]))


def put_note(session_id: str, key: str, text: str) -> Call[Note]:
    """Write a note in place of what was there; agents read it from their next look on."""
    return Call("PUT", path("sessions", session_id, "memory", key), reader(Note), body={"text": text})


def delete_note(session_id: str, key: str) -> Call[None]:
    """Erase a note of a session."""
    return Call("DELETE", path("sessions", session_id, "memory", key), nothing, gone_is_done=True)
