"""What the API answers about batches."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from services.gateway.problems import ProblemDocument
from services.gateway.views import View
from shared.steps import RunStatus
from shared.usd import Usd


class LineAnswer(View):
    """What became of one run of the upload: its id, or why it was not accepted."""

    index: int = Field(description="Which run of the upload, counted from 0.")
    batch_id: str
    run_id: str | None = None
    problem: ProblemDocument | None = None


class BatchView(View):
    """A batch and how far its runs are."""

    batch_id: str
    name: str | None
    status: Literal["receiving", "running", "finished"] = Field(
        description="receiving: the upload has not come to its end; repeat it with the same Idempotency-Key."
    )
    created_at: datetime
    cancelled_at: datetime | None = Field(description="When it was asked to stop, if it was.")
    size: int | None = Field(description="Runs in the upload, with the refused ones; null until its end.")
    accepted: int
    runs: dict[RunStatus, int] = Field(description="How many of the accepted runs are how.")
    deleted: int = Field(description="Accepted runs that were deleted since.")
    total_tokens: int
    total_cost_usd: Usd | None = Field(description="Sum of the priced charges; null while none is known.")
    unpriced: int = Field(description="Charges without a known price.")


class BatchList(View):
    items: tuple[BatchView, ...]
    next_cursor: str | None = Field(description="Give it as ?cursor= for the next page; null on the last.")


class BatchCancelled(View):
    """How many runs were asked to stop: those that waited for their turn, and those on their way."""

    batch_id: str
    waiting: int
    running: int
