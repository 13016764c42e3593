"""What the API answers about sessions."""

from datetime import datetime

from pydantic import Field, JsonValue

from services.gateway.views import RunView, View
from shared.memory import Note
from shared.steps import RunStatus
from shared.usd import Usd


class SessionView(View):
    """A session and what its runs add up to."""

    session_id: str
    runs: int
    total_tokens: int
    total_cost_usd: Usd | None = Field(description="Sum of the priced charges; null while none is known.")
    unpriced: int = Field(description="Charges without a known price.")
    first_at: datetime | None = Field(description="When its first run was created.")
    last_at: datetime | None = Field(description="When its last run ended, or was created while it goes on.")
    last_run_id: str
    last_status: RunStatus


class SessionList(View):
    items: tuple[SessionView, ...]
    next_cursor: str | None = Field(description="Give it as ?cursor= for the next page; null on the last.")


class SessionRun(RunView):
    """A run of the session. `memory` is its last snapshot: messages as references into its log, and notes."""

    memory: JsonValue


class SessionDetail(SessionView):
    items: tuple[SessionRun, ...] = Field(description="The runs of this page, the oldest first.")
    next_cursor: str | None = Field(description="Give it as ?cursor= for the next page; null on the last.")


class NoteList(View):
    items: tuple[Note, ...]
