"""Request bodies as the API takes them: what is not listed here is refused, as the real API does.

In: shapes and ranges. Out: the order of messages (`conversation`), what the words mean (`planner`).
"""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Content: TypeAlias = str | list[dict[str, Any]]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FunctionCall(_Body):
    name: str
    arguments: dict[str, Any] | str


class ToolCall(_Body):
    function: FunctionCall
    id: str = "null"
    type: str | None = "function"
    index: int | None = 0


class SystemMessage(_Body):
    role: Literal["system"]
    content: Content


class UserMessage(_Body):
    role: Literal["user"]
    content: Content | None = None


class AssistantMessage(_Body):
    role: Literal["assistant"]
    content: Content | None = None
    tool_calls: list[ToolCall] | None = None
    prefix: bool = False


class ToolMessage(_Body):
    role: Literal["tool"]
    content: Content | None = None
    tool_call_id: str | None = None
    name: str | None = None


AnyMessage: TypeAlias = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]


class Function(_Body):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    parameters: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class Tool(_Body):
    type: Literal["function"] = "function"
    function: Function


class FunctionName(_Body):
    name: str


class NamedToolChoice(_Body):
    type: str = "function"
    function: FunctionName


class JsonSchema(_Body):
    name: str
    schema_definition: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(_Body):
    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchema | None = None


class ChatRequest(_Body):
    """POST /v1/chat/completions. The fields without effect here are taken so that clients may send them."""

    model: str
    messages: Annotated[list[AnyMessage], Field(min_length=1, max_length=10_000)]
    temperature: Annotated[float, Field(ge=0.0, le=1.5)] | None = None
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    stream: bool | None = False
    stop: str | Annotated[list[str], Field(max_length=64)] | None = None
    random_seed: Annotated[int, Field(ge=0, le=2**64 - 1)] | None = None
    metadata: dict[str, Any] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["auto", "none", "any", "required"] | NamedToolChoice | None = None
    parallel_tool_calls: bool | None = True
    n: Annotated[int, Field(ge=1, le=16)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2.0, le=2.0)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2.0, le=2.0)] | None = None
    min_tokens: int | None = None
    repetition_penalty: float | None = None
    top_k: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    prompt_logprobs: bool | None = None
    top_prompt_logprobs: int | None = None
    prediction: dict[str, Any] | None = None
    reasoning_effort: str | None = None
    prompt_mode: str | None = None
    guardrails: list[dict[str, Any]] | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    safe_prompt: bool | None = False


class EmbeddingRequest(_Body):
    """POST /v1/embeddings."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    model: str
    inputs: str | list[str] = Field(alias="input")
    metadata: dict[str, Any] | None = None
    output_dimension: int | None = None
    output_dtype: Literal["float", "int8", "uint8", "binary", "ubinary"] | None = None
    encoding_format: Literal["float", "base64"] | None = None


class FaultBody(_Body):
    """POST /admin/faults: a fault as a prompt's directive writes it (`429 2s x3`), for one model or all."""

    fault: str
    model: str | None = None


class LatencyBody(_Body):
    """PUT /admin/latency."""

    scale: Annotated[float, Field(ge=0.0, le=100.0)]
