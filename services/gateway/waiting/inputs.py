"""What a person says to a run that waits, or that has failed."""

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, StringConstraints, model_validator

from services.gateway.requests import Input

Note = Annotated[str, StringConstraints(max_length=2000)]


class ApprovalInput(Input):
    """The decision about one call, bound to the arguments that were shown."""

    decision: Literal["approve", "deny"]
    arguments_hash: str = Field(
        pattern="^[0-9a-f]{64}$", description="As the waiting call shows it: what is decided about."
    )
    note: Note = Field(default="", description="Told to the model when the call is denied.")
    arguments: dict[str, JsonValue] | None = Field(
        default=None, description="Approve, but with these arguments instead."
    )

    @model_validator(mode="after")
    def _arguments_are_for_approving(self) -> Self:
        if self.decision == "deny" and self.arguments is not None:
            raise ValueError("arguments are for approving; leave them out to deny")
        return self


class OutcomeInput(Input):
    """What became of a call whose outcome is unknown."""

    decision: Literal["happened", "did-not-happen", "fail"] = Field(
        description="happened: go on with `result`; did-not-happen: make the call again with the same "
        "idempotency key; fail: end the run."
    )
    result: JsonValue = Field(default=None, description="What the call gave, for `happened`.")
    note: Note = ""


class ResumeInput(Input):
    budget_usd: float | None = Field(
        default=None,
        gt=0,
        le=1_000_000,
        description="The run's budget from now on, with all that it has spent: more than it was.",
    )


class WhyInput(Input):
    why: Note = ""
