"""What clients send. Strict: an unknown field or a value of the wrong type is an error, never a guess."""

from math import isfinite
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, StringConstraints

Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Words = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("each name may stand here once")
    return names


def _finite(value: JsonValue) -> JsonValue:
    """Python reads NaN and Infinity, and numbers too large to be finite; JSON has none of them."""
    match value:
        case float() if not isfinite(value):
            raise ValueError("NaN and Infinity are no JSON; give a finite number or null")
        case dict():
            for item in value.values():
                _finite(item)
        case list():
            for item in value:
                _finite(item)
    return value


Metadata = Annotated[dict[str, JsonValue], AfterValidator(_finite)]
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


class RunInput(Input):
    """A run to be started."""

    prompt: Words = Field(description="What the agent is asked.")
    agent: Name = Field(default="assistant", description="The agent that answers.")
    model: Name | None = Field(default=None, description="Default: the gateway's setting MISTRAL_MODEL.")
    instructions: str | None = Field(default=None, description="In place of the agent's instructions.")
    messages: tuple[MessageInput, ...] = Field(
        default=(), max_length=1000, fail_fast=True, description="The conversation so far."
    )
    parameters: ParametersInput = ParametersInput()
    tools: Names | None = Field(
        default=None, description="Names of the tools it may use. Default: the agent's."
    )
    session_id: Name | None = Field(default=None, description="Runs of one session share a workspace.")
    user_id: Name = "default"
    group: Name | None = Field(default=None, description="A label to find runs by.")
    metadata: Metadata = Field(default_factory=dict, description="Anything of yours, given back as it is.")
    max_rounds: int = Field(
        default=5, ge=1, le=100, description="Most answers of the model that ask for tools."
    )
    timeout_s: float = Field(default=600.0, gt=0, le=86_400, description="Most seconds from start to end.")


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


class CancelInput(Input):
    """Why a run is to be cancelled."""

    why: str = Field(default="", max_length=1000)
