"""What a run may be given beside its prompt, what may be changed, and how the API is told. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypedDict, cast

from pydantic import JsonValue

from shared.steps import Message, RunStatus

PARAMETERS: Final = ("temperature", "top_p", "max_tokens", "random_seed")


class RunOptions(TypedDict, total=False):
    """Each may be left out; None counts as left out. The server checks them and says what would be right.

    `agent` may be `name@version`. `temperature` to `random_seed` are the model's parameters, `messages` an
    earlier conversation, `tools` the names of those it may use (default: all of the agent's), `timeout_s` the
    most seconds that it runs, `approval_timeout_s` the most that a call waits for a person, `response_format`
    the JSON schema of the answer; runs with the `priority` `"batch"` let the others go first.
    Runs of one `session_id` share a workspace; by `user_id` and `group` runs are found again. What is sent
    twice with one `idempotency_key` is done once; without it, each call has a key of its own.
    """

    agent: str | None
    model: str | None
    instructions: str | None
    messages: Sequence[Message]
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    random_seed: int | None
    tools: Sequence[str] | None
    session_id: str | None
    user_id: str | None
    group: str | None
    metadata: Mapping[str, JsonValue]
    max_rounds: int | None
    timeout_s: float | None
    budget_usd: float | None
    approval_timeout_s: float | None
    response_format: Mapping[str, JsonValue] | None
    priority: Literal["interactive", "batch"] | None
    idempotency_key: str | None


class ChatOptions(TypedDict, total=False):
    """As in RunOptions."""

    model: str | None
    session_id: str | None
    idempotency_key: str | None


class RunFilters(TypedDict, total=False):
    """Which runs to list: those for which all that is given holds."""

    status: RunStatus | str | None
    agent: str | None
    model: str | None
    session_id: str | None
    user_id: str | None
    group: str | None
    replay_id: str | None
    source_run_id: str | None


class ToolChanges(TypedDict, total=False):
    """What a project says of a tool; None: as the tool itself has it."""

    enabled: bool | None
    description: str | None
    needs_approval: bool | None
    timeout_s: float | None


class McpServerChanges(TypedDict, total=False):
    """`allowed_tools` None: all of its tools."""

    url: str
    headers: Mapping[str, str]
    enabled: bool
    allowed_tools: Sequence[str] | None


class WebhookChanges(TypedDict, total=False):
    url: str
    events: Sequence[str]
    active: bool
    description: str


def run_body(prompt: str, options: RunOptions) -> dict[str, JsonValue]:
    """The body of POST /api/runs."""
    given = _given(options)
    if "messages" in given:
        given["messages"] = [message.model_dump(mode="json") for message in options["messages"]]
    return cast(dict[str, JsonValue], {"prompt": prompt, **with_parameters(given)})  # JSON's types


def with_parameters(given: Mapping[str, object]) -> dict[str, object]:
    """Options as the API has them: the model's parameters by themselves."""
    parameters = {name: given[name] for name in PARAMETERS if name in given}
    others = {name: value for name, value in given.items() if name not in PARAMETERS}
    return {**others, **({"parameters": parameters} if parameters else {})}


def chat_body(message: str, options: ChatOptions) -> dict[str, JsonValue]:
    """The body of POST /api/chat."""
    return cast(dict[str, JsonValue], {"message": message, **_given(options)})


def as_json(changes: Mapping[str, object]) -> dict[str, JsonValue]:
    """Changes as a body: what is left out stays."""
    return cast(dict[str, JsonValue], dict(changes))


def query_of(filters: RunFilters) -> dict[str, str]:
    """The filters as query parameters."""
    return {name: str(value) for name, value in filters.items() if value is not None}


def _given(options: RunOptions | ChatOptions) -> dict[str, object]:
    return {name: value for name, value in options.items() if value is not None and name != "idempotency_key"}
