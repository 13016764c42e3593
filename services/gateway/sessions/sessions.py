"""What the routes do with sessions: their runs are in Postgres, their notes on the broker."""

from typing import Final
from uuid import UUID

from services.gateway.problems import NOT_FOUND, Problem, invalid
from services.gateway.reads import answered
from services.gateway.sessions import reads
from services.gateway.sessions.views import SessionRun, SessionView
from shared.database import Database
from shared.memory import Memory, MemoryRefused, Note, Owner
from shared.scrub import Scrubber

READ_PATIENCE_S: Final = 10.0


class Sessions:
    """Methods raise Problem and Unavailable. Postgres hears of a run moments after it was accepted."""

    def __init__(self, database: Database, memory: Memory, scrubber: Scrubber) -> None:
        self._database = database
        self._memory = memory
        self._scrubber = scrubber

    async def page(self, project: str, before: UUID | None, limit: int) -> list[SessionView]:
        """The sessions used last come first."""
        return await answered(
            self._database,
            lambda connection: reads.sessions(connection, project, before, limit),
            READ_PATIENCE_S,
        )

    async def get(self, project: str, session_id: str) -> SessionView:
        found = await answered(
            self._database, lambda connection: reads.session(connection, project, session_id), READ_PATIENCE_S
        )
        if found is None:
            raise Problem(
                NOT_FOUND,
                f"no run has the session_id {session_id[:64]!r}; GET /api/sessions lists the sessions",
            )
        return found

    async def runs(self, project: str, session_id: str, after: UUID | None, limit: int) -> list[SessionRun]:
        """The oldest first."""
        return await answered(
            self._database,
            lambda connection: reads.runs(connection, project, session_id, after, limit),
            READ_PATIENCE_S,
        )

    async def notes(self, project: str, session_id: str) -> tuple[Note, ...]:
        return await self._memory.list(_owner(project, session_id))

    async def note(self, project: str, session_id: str, key: str) -> Note:
        note = await self._memory.get(_owner(project, session_id), key)
        if note is None:
            raise _no_such_note(key)
        return note

    async def put_note(self, project: str, session_id: str, key: str, text: str) -> Note:
        """Without what is known to be a secret, as everything that is stored."""
        owner = _owner(project, session_id)
        try:
            return await self._memory.put(owner, key, self._scrubber.text(text))
        except MemoryRefused as error:
            raise invalid("text", str(error)) from None

    async def delete_note(self, project: str, session_id: str, key: str) -> None:
        if not await self._memory.delete(_owner(project, session_id), key):
            raise _no_such_note(key)


def _owner(project: str, session_id: str) -> Owner:
    return Owner(project, "session", session_id)


def _no_such_note(key: str) -> Problem:
    return Problem(
        NOT_FOUND,
        f"the session has no note {key[:64]!r}; GET /api/sessions/{{session_id}}/memory lists those it has",
    )
