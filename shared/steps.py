"""The step: the one message of this system, from the runner's log to the screen.

A run is the ordered list of its steps. In here: every kind of step, and the envelope they share. Not in here:
their text form (`step_codec`), where they are kept (`run_log`) or what they add up to (`run_state`).

A compatible change is a new field with a default, with the old payload frozen under `tests/contract/`;
anything else is a new kind beside the old one. Unknown fields are ignored and unknown kinds are kept as
`UnknownStep`, so that an old consumer survives a new producer.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, get_args

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
)

MILLION = 1_000_000
MOST_ROUNDS = 100
LONGEST_RUN_S = 86_400
MOST_BUDGET_USD = 1_000_000
MOST_RUNS = 256
"""How far a run may be allowed to go by whoever asks for it."""
Tokens = Annotated[int, Field(ge=0, le=2**53)]
Milliseconds = Annotated[int, Field(ge=0, le=2**53)]
RunId = Annotated[
    str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
]
Project = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]


class Effect(StrEnum):
    """What a tool does to the world, and so what may happen to its call after a crash."""

    PURE = "pure"
    IDEMPOTENT = "idempotent"
    IRREVERSIBLE = "irreversible"


class RunStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in FINAL_STATUSES


FINAL_STATUSES = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})


class Fact(BaseModel):
    """A frozen value that ignores fields of a newer producer; NaN and infinities are written as text."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", ser_json_inf_nan="strings", protected_namespaces=()
    )


class BodyRef(Fact):
    """Stands where a value over 64 KiB was: the value's sha256 and the size of its JSON text in bytes."""

    sha256: str = Field(alias="$body", pattern=r"^[0-9a-f]{64}$")
    size: int = Field(alias="bytes", ge=0)

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )


Text = str | BodyRef


def reference_in(value: JsonValue) -> BodyRef | None:
    """The reference that a JSON value is, in exactly the form that the log gives it; all else is data."""
    match value:
        case {"$body": str(sha256), "bytes": int(size), **rest} if not rest and _SHA256.fullmatch(sha256):
            return BodyRef(sha256=sha256, size=max(size, 0))
    return None


_SHA256 = re.compile(r"[0-9a-f]{64}")


class Usage(Fact):
    """Tokens of one model call. `cached_input` is a part of `input`, `reasoning` a part of `output`."""

    input: Tokens = 0
    cached_input: Tokens = 0
    output: Tokens = 0
    reasoning: Tokens = 0

    @property
    def total(self) -> int:
        return self.input + self.output

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            input=self.input + other.input,
            cached_input=self.cached_input + other.cached_input,
            output=self.output + other.output,
            reasoning=self.reasoning + other.reasoning,
        )


class Rates(Fact):
    """Prices of a model: USD per million tokens of each kind."""

    input: Decimal
    cached_input: Decimal
    output: Decimal
    reasoning: Decimal

    def amount(self, usage: Usage) -> Decimal:
        """USD. Needs a consistent usage: cached input within the input, reasoning within the output."""
        plain = (usage.input - usage.cached_input) * self.input + usage.cached_input * self.cached_input
        made = (usage.output - usage.reasoning) * self.output + usage.reasoning * self.reasoning
        return (plain + made) / MILLION


class Attempt(Fact):
    """One failed try of a model call: the HTTP status (None: no answer), why, and the wait after it."""

    status: int | None = None
    error: str = ""
    wait_s: float = Field(default=0.0, ge=0)


class ModelCall(Fact):
    """What a call of the model was and cost. The request is not stored: it is the fold of the log so far."""

    asked: str
    answered: str
    request_hash: str
    usage: Usage = Usage()
    finish_reason: str | None = None
    latency_ms: Milliseconds = 0
    time_to_first_token_ms: Milliseconds | None = None
    attempts: tuple[Attempt, ...] = ()
    provider_request_id: str | None = None


class RequestedToolCall(Fact):
    """A tool call as the model wrote it; `arguments` is its raw text, which may not be JSON at all."""

    call_id: str
    tool: str
    arguments: Text


class Message(Fact):
    """A message of an earlier conversation, given with the request."""

    role: Literal["system", "user", "assistant"]
    content: Text


class AgentRef(Fact):
    name: str
    version: int = 1


class Parameters(Fact):
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    random_seed: int | None = None


class ToolSpec(Fact):
    """A tool as the run may use it: `parameters` is a JSON schema.

    `source` says who carries a call out: the runner's own code, the HTTP request or the MCP server that
    `settings` describe, a child run of another agent, or nobody, since the call hands the run over.
    """

    name: str
    description: str
    parameters: dict[str, JsonValue]
    effect: Effect = Effect.IRREVERSIBLE
    needs_approval: bool = False
    timeout_s: float = 30.0
    source: Literal["installed", "http", "mcp", "agent", "handoff"] = "installed"
    settings: dict[str, JsonValue] = Field(default_factory=dict)


class AgentSnapshot(Fact):
    """An agent as it was when the run was requested, with all that it needs to go on with the run."""

    ref: AgentRef
    model: str
    instructions: Text = ""
    parameters: Parameters = Parameters()
    tools: tuple[ToolSpec, ...] = ()
    response_format: dict[str, JsonValue] | None = None


class HistoryPart(Fact):
    """An earlier run of the session. Its `messages`, in the provider's form, travel as one body by hash;
    None: they are the conversation in that run's own log."""

    run_id: RunId
    messages: JsonValue = None


class Artifact(Fact):
    """A file that a tool made: `data` is its content in base64."""

    name: str
    media_type: str
    size: int = Field(ge=0, description="Bytes of the file.")
    data: Text


class ToolAnswer(Fact):
    """Where a replay has the answers of a tool from: its source, the tool itself, or always `static`.

    A call that the source has not made is a miss: it is made, or answered with an error that the model reads,
    or the run fails.
    """

    answer: Literal["recorded", "live", "static"] = "recorded"
    on_miss: Literal["live", "error", "fail"] = "live"
    static: JsonValue = None


class Edit(Fact):
    """A field of a step of the source that a fork has otherwise: the `content` of a message, the `result` of
    a tool call, the `arguments` of the call `call_id` that a thought asks for."""

    step: int = Field(ge=0)
    field: Literal["content", "result", "arguments"]
    value: JsonValue
    call_id: str | None = None


class ReplayPlan(Fact):
    """That a run is the replay of another, and where its answers come from.

    `verify`: all from the source, whose requests are made again and compared; nothing leaves the machine.
    `rerun`: from the model. `fork`: from the source up to and with `fork_step`, then from the model. `tools`
    is by name, `*` stands for all others; without either the recorded answers are used, and on a miss pure
    calls are made, while others end the run. An irreversible tool is called only if it has its own name here.
    `told_at` is when its source was told what the runs before it in the session had said.
    """

    mode: Literal["verify", "rerun", "fork"]
    source_run_id: RunId
    replay_id: RunId | None = None
    arm: str = "replay"
    sample: int = Field(default=0, ge=0)
    fork_step: int | None = Field(default=None, ge=0)
    edits: tuple[Edit, ...] = ()
    told_at: AwareDatetime | None = None
    tools: dict[str, ToolAnswer] = Field(default_factory=dict)


class Divergence(Fact):
    """Where a replay asked for something else than its source, or did something else: the first such step.

    `path` is where in the request (a JSON pointer) or in the step; `diff` is the unified diff of the two, for
    people. `code-version`: what the source recorded cannot be made again from its own log by this code.
    """

    step: int = Field(ge=0)
    cause: Literal["instructions", "message", "tool-schema", "tool-result", "parameter", "code-version"]
    path: str
    expected_hash: str | None = None
    actual_hash: str | None = None
    diff: str = ""


class Failure(Fact):
    """Why a run failed: `type` for programs, `message` for people, `retryable`: a new try may succeed.

    `attempts` are the failed tries of the model call that ended the run.
    """

    type: str
    message: str
    retryable: bool = False
    attempts: tuple[Attempt, ...] = ()


class Totals(Fact):
    """What a finished run added up to."""

    usage: Usage = Usage()
    rounds: int = 0
    tool_calls: int = 0
    duration_ms: Milliseconds = 0


class Envelope(Fact):
    """What every step carries. `seq` counts a run's steps from 0 without a gap."""

    run_id: RunId
    seq: int = Field(ge=0, le=2**31 - 1)
    at: AwareDatetime
    project: Project
    attempt: int = Field(default=0, ge=0, le=2**31 - 1)
    writer: str
    traceparent: str | None = None


class ConversationStep(Envelope):
    """A step of the conversation. `copied_from`: the seq of the source's step that a replay took it, or its
    answer, from; then nothing was called and nothing paid."""

    copied_from: int | None = None


class RunRequested(Envelope):
    """Step 0, the job itself: the whole snapshot that the run needs.

    `response_format` is the JSON schema of the answer; `agents` are those that the run may be handed to or
    may ask; `after_run_id` is the run of the same session that must end first; `parent_call_id` is the tool
    call of the parent that this run answers; `root_run_id` is the top of the tree. `rates` are the prices of
    the models that it may call, by which it keeps within `budget_usd`; `most_runs` is how many runs it may
    come to, itself and all that its calls start.
    """

    kind: Literal["run-requested"] = "run-requested"
    agent: AgentRef
    model: str
    instructions: Text = ""
    prompt: Text
    messages: tuple[Message, ...] = ()
    parameters: Parameters = Parameters()
    tools: tuple[ToolSpec, ...] = ()
    session_id: str | None = None
    user_id: str = "default"
    group: str | None = None
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    max_rounds: int = Field(default=5, ge=1)
    budget_usd: float | None = Field(default=None, ge=0)
    rates: dict[str, Rates] = Field(default_factory=dict)
    timeout_s: float = Field(default=600.0, gt=0)
    response_format: dict[str, JsonValue] | None = None
    agents: tuple[AgentSnapshot, ...] = ()
    history: tuple[HistoryPart, ...] = ()
    after_run_id: RunId | None = None
    most_runs: int = Field(default=MOST_RUNS, ge=1)
    parent_run_id: RunId | None = None
    parent_call_id: str | None = None
    root_run_id: RunId | None = None
    priority: Literal["interactive", "batch"] = "interactive"
    approval_timeout_s: float | None = Field(default=None, gt=0)
    replay: ReplayPlan | None = None


class RunClaimed(Envelope):
    """`version` is that of the runner's code."""

    kind: Literal["run-claimed"] = "run-claimed"
    runner: str
    version: str | None = None


class UserRequest(ConversationStep):
    kind: Literal["user-request"] = "user-request"
    content: Text


class AgentThought(ConversationStep):
    """An assistant message that asks for tools; `dropped_calls` more of them than any run can make."""

    kind: Literal["agent-thought"] = "agent-thought"
    content: Text = ""
    reasoning: Text | None = None
    tool_calls: tuple[RequestedToolCall, ...]
    dropped_calls: int = Field(default=0, ge=0)
    model_call: ModelCall


class ToolCall(ConversationStep):
    """The intent to call a tool, in the log before the tool runs; `most_runs`: what a run that answers it may
    come to, with all that it starts."""

    kind: Literal["tool-call"] = "tool-call"
    call_id: str
    tool: str
    arguments: JsonValue
    effect: Effect
    idempotency_key: str
    most_runs: int | None = None


class ToolResult(ConversationStep):
    """How a tool call ended. `units` are for pricing: characters, requests, seconds; `spent_usd` is what the
    run that answered the call has spent of the share that was reserved for it (None: perhaps all)."""

    kind: Literal["tool-result"] = "tool-result"
    call_id: str
    tool: str
    status: Literal["ok", "error", "denied", "unknown"]
    error_type: Literal["unknown-tool", "invalid-arguments", "failed", "timeout", "not-recorded"] | None = (
        None
    )
    result: JsonValue
    latency_ms: Milliseconds = 0
    units: dict[str, float] = Field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()
    spent_usd: Decimal | None = None


class MemorySnapshot(Envelope):
    """The working memory: messages as references into the log, and notes."""

    kind: Literal["memory-snapshot"] = "memory-snapshot"
    memory: JsonValue


class ApprovalRequested(Envelope):
    """A call that a person must allow; `arguments_hash` is what the decision is bound to."""

    kind: Literal["approval-requested"] = "approval-requested"
    call_id: str
    tool: str
    arguments_hash: str
    arguments: JsonValue = None
    effect: Effect = Effect.IRREVERSIBLE
    expires_at: AwareDatetime | None = None


class ApprovalResolved(Envelope):
    """The decision about the call with these arguments; `arguments` are those to use instead, if not None."""

    kind: Literal["approval-resolved"] = "approval-resolved"
    call_id: str
    decision: Literal["approved", "denied", "expired"]
    arguments_hash: str
    who: str
    note: Text = ""
    arguments: JsonValue = None


class OutcomeResolved(Envelope):
    """What a person found out about a call whose outcome was unknown; `result` is what it gave."""

    kind: Literal["outcome-resolved"] = "outcome-resolved"
    call_id: str
    decision: Literal["happened", "did-not-happen", "fail"]
    who: str
    result: JsonValue = None
    note: Text = ""


class CancelRequested(Envelope):
    kind: Literal["cancel-requested"] = "cancel-requested"
    who: str
    why: Text = ""


class RunWaiting(Envelope):
    """No runner holds the run until what it waits for has come; `until`: it is given up then, `why`: for
    people."""

    kind: Literal["run-waiting"] = "run-waiting"
    reason: Literal["approval", "unknown-outcome", "budget", "child-run"]
    call_id: str | None = None
    until: AwareDatetime | None = None
    why: str = ""


class SpendReserved(Envelope):
    """The most that the next call of the model may cost, or the run that answers `call_id`: in the log
    before any of it is spent."""

    kind: Literal["spend-reserved"] = "spend-reserved"
    usd: Decimal = Field(ge=0)
    call_id: str | None = None


class BudgetRaised(Envelope):
    """The run may spend so much from here on, with what it has spent before."""

    kind: Literal["budget-raised"] = "budget-raised"
    budget_usd: float = Field(gt=0)
    who: str


class AgentChanged(ConversationStep):
    """The conversation is another agent's from here on; `call_id` is the call that handed it over."""

    kind: Literal["agent-changed"] = "agent-changed"
    agent: AgentRef
    call_id: str


class AnswerRejected(ConversationStep):
    """The answer does not fit the response format; `problem` is what the model is told."""

    kind: Literal["answer-rejected"] = "answer-rejected"
    content: Text
    problem: str
    model_call: ModelCall


class AgentResponse(ConversationStep):
    """The final assistant message."""

    kind: Literal["agent-response"] = "agent-response"
    content: Text
    reasoning: Text | None = None
    model_call: ModelCall


class RunVerified(Envelope):
    """How the rehearsal of the source went: how many of its steps and model calls were made again, and the
    first that differs."""

    kind: Literal["run-verified"] = "run-verified"
    equal: bool
    steps: int = Field(ge=0)
    model_calls: int = Field(ge=0)
    divergence: Divergence | None = None


class RunFinished(Envelope):
    kind: Literal["run-finished"] = "run-finished"
    status: Literal[RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED]
    error: Failure | None = None
    totals: Totals = Totals()


class RunRetried(Envelope):
    """A finished run goes on from its last good step; what was spent stays spent."""

    kind: Literal["run-retried"] = "run-retried"
    who: str
    why: Text = ""


class RunDeleted(Envelope):
    """The end of a run's record: its content is erased everywhere; what it cost stays counted."""

    kind: Literal["run-deleted"] = "run-deleted"
    who: str


class UnknownStep(Envelope):
    """A step of a kind that this version does not know; its fields are kept as they came."""

    model_config = ConfigDict(extra="allow")

    kind: str


KnownStep = (
    RunRequested
    | RunClaimed
    | UserRequest
    | AgentThought
    | ToolCall
    | ToolResult
    | MemorySnapshot
    | ApprovalRequested
    | ApprovalResolved
    | OutcomeResolved
    | CancelRequested
    | RunWaiting
    | SpendReserved
    | BudgetRaised
    | AgentChanged
    | AnswerRejected
    | AgentResponse
    | RunVerified
    | RunFinished
    | RunRetried
    | RunDeleted
)
Step = KnownStep | UnknownStep
STEP_KINDS: tuple[str, ...] = tuple(kind.model_fields["kind"].default for kind in get_args(KnownStep))


def now() -> datetime:
    """The time for a step's `at`: aware, UTC."""
    return datetime.now(UTC)
