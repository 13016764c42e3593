"""Every request of the API and how its answer is read: one description for both clients. Pure.

A call may always be made again: one that creates something carries an idempotency key.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, TypeVar
from urllib.parse import quote
from uuid import uuid4

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from studio.client.errors import BadAnswer
from studio.client.models import (
    Accepted,
    Agent,
    AgentDiff,
    AgentSummary,
    Batch,
    BatchCancelled,
    BatchLine,
    ChatReply,
    Group,
    GroupCancelled,
    ModelList,
    Page,
    Run,
    RunSummary,
    Session,
    StepPage,
    ToolList,
    WaitingRun,
)
from studio.client.options import (
    ChatOptions,
    RunFilters,
    RunOptions,
    chat_body,
    once_header,
    query_of,
    run_body,
)

Result = TypeVar("Result")
Answer = TypeVar("Answer", bound=BaseModel)
Paged = TypeVar("Paged", bound=Page[Any])

# Longer than a run lasts unless it was given more time than usual.
WAIT_S: Final = 900.0
# The server answers a chat message within this time.
CHAT_S: Final = 300.0
BATCH_S: Final = 600.0
LIST_PAGE: Final = 100
STEP_PAGE: Final = 500

_any: Final[TypeAdapter[JsonValue]] = TypeAdapter(JsonValue)


@dataclass(frozen=True)
class Call(Generic[Result]):
    """`read` turns the body of a success into the result. The server may take `patience_s` seconds longer
    than usual. `gone_is_done`: when it is repeated, a 404 means that an earlier try had worked. `lines` are
    sent one JSON object a line, in place of a `body`."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    read: Callable[[bytes], Result]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, JsonValue] | None = None
    lines: Sequence[Mapping[str, JsonValue]] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    patience_s: float = 0.0
    gone_is_done: bool = False


def create_run(prompt: str, options: RunOptions) -> Call[Accepted]:
    body, headers = run_body(prompt, options), once_header(options)
    return Call("POST", "/api/runs", _reader(Accepted), body=body, headers=headers)


def get_run(run_id: str) -> Call[Run]:
    return Call("GET", run_path(run_id), _reader(Run))


def get_steps(run_id: str, after: int) -> Call[StepPage]:
    def read(body: bytes) -> StepPage:
        page = _reader(StepPage)(body)
        if page.next_after is not None and page.next_after <= after:
            raise BadAnswer(f"the page of steps behind {after} leads back to {page.next_after}")
        return page

    query = {"after": str(after), "limit": str(STEP_PAGE)}
    return Call("GET", f"{run_path(run_id)}/steps", read, query=query)


def get_body(run_id: str, sha256: str) -> Call[JsonValue]:
    return Call("GET", f"{run_path(run_id)}/bodies/{quote(sha256, safe='')}", _json_value)


def list_runs(filters: RunFilters, limit: int, cursor: str | None = None) -> Call[Page[RunSummary]]:
    return _page(Page[RunSummary], "/api/runs", query_of(filters), limit, cursor)


def cancel_run(run_id: str, why: str) -> Call[Accepted]:
    return Call("POST", f"{run_path(run_id)}/cancel", _reader(Accepted), body={"why": why})


def list_waiting(limit: int, cursor: str | None = None) -> Call[Page[WaitingRun]]:
    return _page(Page[WaitingRun], "/api/waiting", {}, limit, cursor)


def decide(run_id: str, call_id: str, decision: Mapping[str, JsonValue]) -> Call[Accepted]:
    path = f"{run_path(run_id)}/approvals/{quote(call_id, safe='')}"
    return Call("POST", path, _reader(Accepted), body=decision)


def settle(run_id: str, call_id: str, outcome: Mapping[str, JsonValue]) -> Call[Accepted]:
    path = f"{run_path(run_id)}/outcomes/{quote(call_id, safe='')}"
    return Call("POST", path, _reader(Accepted), body=outcome)


def retry_run(run_id: str, why: str) -> Call[Accepted]:
    return Call("POST", f"{run_path(run_id)}/retry", _reader(Accepted), body={"why": why})


def delete_run(run_id: str) -> Call[None]:
    return Call("DELETE", run_path(run_id), _nothing, gone_is_done=True)


def chat(message: str, options: ChatOptions) -> Call[ChatReply]:
    body, headers = chat_body(message, options), once_header(options)
    return Call("POST", "/api/chat", _reader(ChatReply), body=body, headers=headers, patience_s=CHAT_S)


def list_agents(archived: bool, limit: int, cursor: str | None = None) -> Call[Page[AgentSummary]]:
    query = {"archived": str(archived).lower()}
    return _page(Page[AgentSummary], "/api/agents", query, limit, cursor)


def get_agent(name: str, version: int | None) -> Call[Agent]:
    path = agent_path(name) if version is None else f"{agent_path(name)}/versions/{version}"
    return Call("GET", path, _reader(Agent))


def create_agent(definition: Mapping[str, JsonValue], idempotency_key: str | None) -> Call[Agent]:
    headers = {"Idempotency-Key": idempotency_key or uuid4().hex}
    return Call("POST", "/api/agents", _reader(Agent), body=definition, headers=headers)


def update_agent(name: str, definition: Mapping[str, JsonValue], version: int | None) -> Call[Agent]:
    headers = {"If-Match": "*" if version is None else f'"{version}"'}
    body = {field: value for field, value in definition.items() if field != "name"}
    return Call("PUT", agent_path(name), _reader(Agent), body=body, headers=headers)


def archive_agent(name: str) -> Call[None]:
    return Call("DELETE", agent_path(name), _nothing)


def diff_agent(name: str, old: int, new: int) -> Call[AgentDiff]:
    query = {"from": str(old), "to": str(new)}
    return Call("GET", f"{agent_path(name)}/diff", _reader(AgentDiff), query=query)


def agent_path(name: str) -> str:
    return f"/api/agents/{quote(name, safe='')}"


def list_groups(limit: int, cursor: str | None = None) -> Call[Page[Group]]:
    return _page(Page[Group], "/api/groups", {}, limit, cursor)


def get_group(group: str) -> Call[Group]:
    return Call("GET", f"/api/groups/{quote(group, safe='')}", _reader(Group))


def cancel_group(group: str, why: str) -> Call[GroupCancelled]:
    path = f"/api/groups/{quote(group, safe='')}/cancel"
    return Call("POST", path, _reader(GroupCancelled), body={"why": why})


def create_batch(
    runs: Iterable[Mapping[str, JsonValue]], name: str | None, defaults: RunOptions
) -> Call[tuple[BatchLine, ...]]:
    def read(body: bytes) -> tuple[BatchLine, ...]:
        return tuple(_reader(BatchLine)(line) for line in body.splitlines())

    fields = {field: value for field, value in run_body("", defaults).items() if field != "prompt"}
    first: list[Mapping[str, JsonValue]] = [{"defaults": fields}] if fields else []
    query, headers = ({"name": name} if name else {}), once_header(defaults)
    lines = [*first, *runs]
    return Call(
        "POST", "/api/runs/batch", read, query=query, lines=lines, headers=headers, patience_s=BATCH_S
    )


def get_batch(batch_id: str) -> Call[Batch]:
    return Call("GET", f"/api/batches/{quote(batch_id, safe='')}", _reader(Batch))


def list_batches(limit: int, cursor: str | None = None) -> Call[Page[Batch]]:
    return _page(Page[Batch], "/api/batches", {}, limit, cursor)


def cancel_batch(batch_id: str) -> Call[BatchCancelled]:
    return Call("POST", f"/api/batches/{quote(batch_id, safe='')}/cancel", _reader(BatchCancelled))


def list_sessions(limit: int, cursor: str | None = None) -> Call[Page[Session]]:
    return _page(Page[Session], "/api/sessions", {}, limit, cursor)


def tools() -> Call[ToolList]:
    return Call("GET", "/api/tools", _reader(ToolList))


def models() -> Call[ModelList]:
    return Call("GET", "/api/models", _reader(ModelList))


def run_path(run_id: str) -> str:
    """The path of a run, whatever text stands for its id."""
    return f"/api/runs/{quote(run_id, safe='')}"


def _page(
    model: type[Paged], path: str, filters: Mapping[str, str], limit: int, cursor: str | None
) -> Call[Paged]:
    def read(body: bytes) -> Paged:
        page = _reader(model)(body)
        if page.next_cursor is not None and page.next_cursor == cursor:
            raise BadAnswer(f"the page of {path.rpartition('/')[2]} leads to itself")
        return page

    place = {"cursor": cursor} if cursor else {}
    return Call("GET", path, read, query={**filters, "limit": str(min(limit, LIST_PAGE)), **place})


def _reader(model: type[Answer]) -> Callable[[bytes], Answer]:
    def read(body: bytes) -> Answer:
        try:
            return model.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the whole of it"
            raise BadAnswer(
                f"the server's answer is not what this version understands: {where}: {first['msg']}"
            ) from None

    return read


def _nothing(body: bytes) -> None:
    """There is nothing to read in the answer."""


def _json_value(body: bytes) -> JsonValue:
    try:
        return _any.validate_json(body)
    except ValidationError as error:
        raise BadAnswer("the server's answer is not JSON") from error
