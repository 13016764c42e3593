"""Every request of the API and how its answer is read: one description for both clients. Pure.

A call may always be made again: one that creates something carries an idempotency key.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, Literal, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from studio.client.errors import BadAnswer
from studio.client.models import Accepted, ChatReply, ModelList, Page, Run, RunSummary, StepPage, ToolList
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

# Longer than a run lasts unless it was given more time than usual.
WAIT_S: Final = 900.0
# The server answers a chat message within this time.
CHAT_S: Final = 300.0
LIST_PAGE: Final = 100
STEP_PAGE: Final = 500

_any: Final[TypeAdapter[JsonValue]] = TypeAdapter(JsonValue)


@dataclass(frozen=True)
class Call(Generic[Result]):
    """`read` turns the body of a success into the result. The server may take `patience_s` seconds longer
    than usual. `gone_is_done`: when it is repeated, a 404 means that an earlier try had worked."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    read: Callable[[bytes], Result]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, JsonValue] | None = None
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
    def read(body: bytes) -> Page[RunSummary]:
        page = _reader(Page[RunSummary])(body)
        if page.next_cursor is not None and page.next_cursor == cursor:
            raise BadAnswer("the page of runs leads to itself")
        return page

    query = query_of(filters) | {"limit": str(min(limit, LIST_PAGE))}
    query |= {"cursor": cursor} if cursor else {}
    return Call("GET", "/api/runs", read, query=query)


def cancel_run(run_id: str, why: str) -> Call[Accepted]:
    return Call("POST", f"{run_path(run_id)}/cancel", _reader(Accepted), body={"why": why})


def delete_run(run_id: str) -> Call[None]:
    return Call("DELETE", run_path(run_id), _nothing, gone_is_done=True)


def chat(message: str, options: ChatOptions) -> Call[ChatReply]:
    body, headers = chat_body(message, options), once_header(options)
    return Call("POST", "/api/chat", _reader(ChatReply), body=body, headers=headers, patience_s=CHAT_S)


def tools() -> Call[ToolList]:
    return Call("GET", "/api/tools", _reader(ToolList))


def models() -> Call[ModelList]:
    return Call("GET", "/api/models", _reader(ModelList))


def run_path(run_id: str) -> str:
    """The path of a run, whatever text stands for its id."""
    return f"/api/runs/{quote(run_id, safe='')}"


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
