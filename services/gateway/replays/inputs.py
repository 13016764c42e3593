"""What clients send to have runs replayed. What goes together with what is in `rules.py`."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, JsonValue, StringConstraints

from services.gateway.requests import (
    BoundsInput,
    Input,
    JsonSchema,
    Metadata,
    Name,
    Names,
    ParametersInput,
    Words,
    finite,
)
from shared.messages import MetricName

MOST_SOURCES: Final = 1000
MOST_SAMPLES: Final = 1000
MOST_CANDIDATES: Final = 8
LAST_STEP: Final = 2**31 - 1
Mode = Literal["verify", "rerun", "fork", "blame"]
RunIdText = Annotated[str, StringConstraints(max_length=64)]
Json = Annotated[JsonValue, AfterValidator(finite)]
ArmName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@:+-]{0,63}$")]
Step = Annotated[int, Field(ge=0, le=LAST_STEP)]


class ChangesInput(BoundsInput):
    """What the new runs have otherwise than those that they replay. What is left out stays."""

    agent: Name | None = Field(
        default=None, description="All that this agent says, `name` or `name@version`, in place of theirs."
    )
    model: Name | None = None
    instructions: str | None = None
    prompt: Words | None = None
    parameters: ParametersInput = Field(default=ParametersInput(), description="Each by itself.")
    tools: Names | None = Field(
        default=None,
        description="All the tools that they may use: as the replayed runs have them, else as the project "
        "has them now.",
    )
    response_format: JsonSchema | None = None


class EditInput(Input):
    """What a fork has otherwise in a step that it takes over."""

    step: Step
    field: Literal["content", "result", "arguments"] = Field(
        description="The content of a message, the result of a tool call, or, in the thought that the run is "
        "forked at, the arguments of its call `call_id`."
    )
    value: Json
    call_id: Name | None = None


class CandidateInput(Input):
    """One way to run it otherwise, compared with the baseline, which changes nothing."""

    name: ArmName
    changes: ChangesInput = ChangesInput()
    edits: tuple[EditInput, ...] = Field(default=(), max_length=100, fail_fast=True)


class ToolAnswerInput(Input):
    """Where the answers of a tool come from."""

    answer: Literal["recorded", "live", "static"] = Field(
        default="recorded", description="The replayed run, the tool itself, or always `static`."
    )
    on_miss: Literal["live", "error", "fail"] | None = Field(
        default=None,
        description="When the replayed run has no answer to a call: make it, tell the model of an error, or "
        "end the run. Default: live; fail for an irreversible tool.",
    )
    static: Json = Field(default=None, description="Up to 16 KiB.")


class MetricInput(Input):
    """What the runs are measured by."""

    name: MetricName = Field(
        description="exact and contains compare the answer with `expected`; expression is Python."
    )
    expected: str | dict[RunIdText, str] | None = Field(
        default=None, description="The same for all runs, or one for each replayed run by its id."
    )
    expression: Annotated[str, StringConstraints(min_length=1, max_length=2000)] | None = Field(
        default=None,
        description="Over answer, status, cost_usd, latency_ms, tokens, rounds, tool_calls and expected; "
        "gives a number or a truth value.",
    )
    label: ArmName | None = Field(default=None, description="Default: the name.")
    higher_is_better: bool | None = Field(
        default=None, description="Default: yes, but for cost_usd, latency_ms, tokens, rounds, tool_calls."
    )


class ReplayInput(Input):
    """Runs to be run again, with anything changed, and what to make of the difference."""

    run_id: RunIdText | None = Field(default=None, description="The run that is replayed.")
    run_ids: Annotated[tuple[RunIdText, ...], Field(min_length=1, max_length=MOST_SOURCES)] | None = Field(
        default=None, description="In place of run_id: several, each once."
    )
    mode: Mode = Field(
        default="rerun",
        description="verify: every answer is the recorded one, and each request is compared with the one "
        "that was made. rerun: the model is asked again. fork: as rerun, behind a step up to which all is "
        "taken over. blame: fork at several steps to find the one after which it went wrong.",
    )
    samples: int | None = Field(
        default=None,
        ge=1,
        le=MOST_SAMPLES,
        description="How often each run is replayed in each way; default 1, of blame 5 for each step.",
    )
    changes: ChangesInput | None = None
    candidates: tuple[CandidateInput, ...] = Field(
        default=(), max_length=MOST_CANDIDATES, description="In place of changes: several ways."
    )
    step: Step | None = Field(default=None, description="Of a fork: the last step that is taken over.")
    edits: tuple[EditInput, ...] = Field(default=(), max_length=100, fail_fast=True)
    tools: Annotated[dict[Name, ToolAnswerInput], Field(max_length=64)] = Field(
        default_factory=dict,
        description="By the name of a tool; `*` stands for all others. Default: recorded answers. An "
        "irreversible tool is called only if it is named itself.",
    )
    metrics: tuple[MetricInput, ...] = Field(
        default=(),
        max_length=16,
        description="The first one decides. Default: success, cost_usd, latency_ms, tokens.",
    )
    confidence: float = Field(default=0.95, ge=0.5, le=0.999, description="Of the intervals and verdicts.")
    stop_early: bool = Field(default=True, description="Take no more samples than the verdict needs.")
    most_runs: int | None = Field(
        default=None, ge=1, le=1000, description="Of blame: most runs in all; default 60."
    )
    threshold: float | None = Field(
        default=None, description="Of blame: from which value of the metric on a run is a success; default 1."
    )
    metadata: Metadata = Field(default_factory=dict, description="Anything of yours, given back as it is.")

    @property
    def sources(self) -> tuple[str, ...]:
        return self.run_ids or ((self.run_id,) if self.run_id is not None else ())


class OverrideInput(ParametersInput):
    model: Name | None = None


class SimpleReplayInput(Input):
    """A run to be run again with other parameters."""

    run_id: RunIdText
    override_params: OverrideInput | None = None
