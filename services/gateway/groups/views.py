"""What the API answers about groups of runs."""

from datetime import datetime

from pydantic import Field

from services.gateway.views import View
from shared.steps import RunStatus, Usage
from shared.usd import Usd


class GroupView(View):
    """The runs of one label and what they add up to; deleted ones are not counted."""

    group: str
    runs: int
    by_status: dict[RunStatus, int] = Field(description="How many are so now; what is not named is 0.")
    usage: Usage
    total_tokens: int
    total_cost_usd: Usd | None = Field(description="Sum of the priced charges; null while there is none.")
    unpriced: int = Field(description="Charges without a known price.")
    first_run_at: datetime = Field(description="When the first of them was created.")
    last_run_at: datetime = Field(description="When the last of them was created.")


class GroupList(View):
    items: tuple[GroupView, ...]
    next_cursor: str | None = Field(description="Give it as ?cursor= for the next page; null on the last.")


class GroupCancelled(View):
    """`asked`: runs that were asked to stop now; `left`: those that still have to be, by another request."""

    group: str
    asked: int
    left: int
