"""What clients send. Strict: an unknown field or a value of the wrong type is an error, never a guess."""

from functools import lru_cache
from math import isfinite
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints
from pydantic_core import from_json, to_json

from shared.json_schema import fault
from shared.steps import LONGEST_RUN_S, MOST_BUDGET_USD, MOST_ROUNDS, RunRequested

TIMEOUT_S: Final[float] = RunRequested.model_fields["timeout_s"].default
"""How long a run may take when neither it nor its agent says."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Words = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("each name may stand here once")
    return names


def finite(value: JsonValue) -> JsonValue:
    """Python reads NaN and Infinity, and numbers too large to be finite; JSON has none of them."""
    match value:
        case float() if not isfinite(value):
            raise ValueError("NaN and Infinity are no JSON; give a finite number or null")
        case dict():
            for item in value.values():
                finite(item)
        case list():
            for item in value:
                finite(item)
    return value


def _schema(schema: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if (told := _fault(to_json(finite(schema)))) is not None:
        raise ValueError(f"no JSON schema (draft 2020-12) that can be used: {told}")
    return schema


@lru_cache(maxsize=256)
def _fault(schema: bytes) -> str | None:
    """Remembered, because the runs of a batch bring the same schema and a check takes its time."""
    return fault(from_json(schema))


JsonSchema = Annotated[dict[str, JsonValue], AfterValidator(_schema)]
Metadata = Annotated[dict[str, JsonValue], AfterValidator(finite)]
Names = Annotated[
    tuple[Name, ...],
    Field(max_length=128, fail_fast=True, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_each_once),
]


class Input(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
    )


class MessageInput(Input):
    """A message of an earlier conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class ParametersInput(Input):
    """How the model samples. What is left out comes from the gateway's settings, else from the provider."""

    temperature: float | None = Field(default=None, ge=0, le=1.5)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1, le=2**31 - 1, description="Most tokens of one answer.")
    random_seed: int | None = Field(default=None, ge=0, le=2**53)


class BoundsInput(Input):
    """How long a run may go on, and what it may cost."""

    max_rounds: int | None = Field(
        default=None,
        ge=1,
        le=MOST_ROUNDS,
        description="Most answers of the model that ask for tools; default 5.",
    )
    timeout_s: float | None = Field(
        default=None, gt=0, le=LONGEST_RUN_S, description="Most seconds from start to end; default 600."
    )
    budget_usd: float | None = Field(
        default=None,
        gt=0,
        le=MOST_BUDGET_USD,
        description="Most USD that the run may cost; default: no limit.",
    )


class LimitsInput(BoundsInput):
    """How far a run may go. What is left out comes from the agent, else from the defaults."""

    approval_timeout_s: float | None = Field(
        default=None,
        gt=0,
        le=30 * 86_400,
        description="Most seconds that a call waits for a person's decision; default: no limit.",
    )


class _Task(Input):
    """What a run is about; its limits stand behind that, also in the API's description."""

    prompt: Words = Field(description="What the agent is asked.")
    agent: Name = Field(
        default="assistant",
        description="The agent that answers: `name` for its newest version, or `name@version`.",
    )
    model: Name | None = Field(
        default=None, description="Default: the agent's, else the gateway's setting MISTRAL_MODEL."
    )
    instructions: str | None = Field(default=None, description="In place of the agent's instructions.")
    messages: tuple[MessageInput, ...] = Field(
        default=(), max_length=1000, fail_fast=True, description="The conversation so far."
    )
    parameters: ParametersInput = ParametersInput()
    tools: Names | None = Field(
        default=None,
        description="Names of the tools it may use, of those of its agent. Default: all those; calculator, "
        "file_io and http_fetch for the built-in agent, which may use any.",
    )
    session_id: Name | None = Field(
        default=None,
        description="Runs of one session continue one conversation, each after the one before, and share a "
        "workspace.",
    )
    on_busy: Literal["enqueue", "reject", "interrupt"] = Field(
        default="enqueue",
        description="When another run of the session goes on: wait for it, refuse this one, or cancel it.",
    )
    user_id: Name = "default"
    group: Name | None = Field(default=None, description="A label to find runs by.")
    metadata: Metadata = Field(default_factory=dict, description="Anything of yours, given back as it is.")
    response_format: JsonSchema | None = Field(
        default=None, description="JSON schema (draft 2020-12) of the answer. Default: the agent's."
    )
    priority: Literal["interactive", "batch"] = Field(
        default="interactive", description="Interactive runs are taken up before those of a batch."
    )


class RunInput(LimitsInput, _Task):
    """A run to be started. What it says wins over what its agent says."""


class ChatInput(Input):
    """One message to the assistant."""

    message: Words
    model: Name | None = None
    session_id: Name | None = None

    def run(self) -> RunInput:
        return RunInput(prompt=self.message, model=self.model, session_id=self.session_id)


class PromptInput(Input):
    """A prompt for the assistant."""

    prompt: Words
    user_id: Name = "default"

    def run(self) -> RunInput:
        return RunInput(prompt=self.prompt, user_id=self.user_id)


class NoteInput(Input):
    """What a note says."""

    text: str = Field(max_length=16_384, description="Up to 16 KiB.")


class CancelInput(Input):
    """Why a run is to be cancelled."""

    why: str = Field(default="", max_length=1000)


Cron = Annotated[
    str, Field(min_length=1, max_length=100, description="Minute, hour, day of month, month, day of week.")
]
TimeZone = Annotated[str, Field(min_length=1, max_length=64, description="IANA name: Europe/Paris, UTC.")]
Missed = Annotated[
    Literal["skip", "latest", "all"],
    Field(description="Of the times that no gateway was up at: run none, the latest, or all (the last 100)."),
]
Title = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class ScheduleInput(Input):
    """A schedule to be made."""

    name: Title
    cron: Cron
    timezone: TimeZone = "UTC"
    input: RunInput
    missed: Missed = "latest"
    active: bool = True


class ScheduleChange(Input):
    """What is to change; null and what is left out stay as they are."""

    name: Title | None = None
    cron: Cron | None = None
    timezone: TimeZone | None = None
    input: RunInput | None = None
    missed: Missed | None = None
