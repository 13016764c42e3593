"""What a request is, and what a list is that is read page by page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Literal, TypeVar
from urllib.parse import quote
from uuid import uuid4

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from studio.client.errors import BadAnswer
from studio.client.models import Page

Item = TypeVar("Item")
Result = TypeVar("Result")
Answer = TypeVar("Answer", bound=BaseModel)

LIST_PAGE: Final = 100

_any: Final[TypeAdapter[JsonValue]] = TypeAdapter(JsonValue)


@dataclass(frozen=True)
class Call(Generic[Result]):
    """`read` turns the body of a success into the result. The server may take `patience_s` seconds longer
    than usual. `gone_is_done`: when it is repeated, a 404 means that an earlier try had worked. `lines` are
    sent one JSON object a line, a `file` as it is, in place of a `body`."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    read: Callable[[bytes], Result]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, JsonValue] | None = None
    lines: Sequence[Mapping[str, JsonValue]] | None = None
    file: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    patience_s: float = 0.0
    gone_is_done: bool = False


@dataclass(frozen=True)
class Listing(Generic[Item]):
    """At most `limit` items of a list; None: all of them."""

    model: type[Page[Item]]
    path: str
    limit: int | None = None
    query: Mapping[str, str] = field(default_factory=dict)

    def page(self, most: int, cursor: str | None) -> Call[Page[Item]]:
        """At most `most` items, behind the page that named the cursor."""

        def read(body: bytes) -> Page[Item]:
            page = reader(self.model)(body)
            if page.next_cursor is not None and page.next_cursor == cursor:
                raise BadAnswer(f"the page of {self.path.rpartition('/')[2]} leads to itself")
            return page

        place = {"cursor": cursor} if cursor else {}
        return Call("GET", self.path, read, {**self.query, "limit": str(min(most, LIST_PAGE)), **place})


def path(*parts: str) -> str:
    """A path of the API, whatever text stands for an id."""
    return "/".join(["/api", *(quote(part, safe="") for part in parts)])


def once(idempotency_key: str | None) -> dict[str, str]:
    """The header that makes a repeated request safe; None: a key of its own."""
    return {"Idempotency-Key": idempotency_key or uuid4().hex}


def reader(model: type[Answer]) -> Callable[[bytes], Answer]:
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


def items_reader(model: type[Page[Item]]) -> Callable[[bytes], tuple[Item, ...]]:
    """For a list that comes whole."""
    return lambda body: reader(model)(body).items


def nothing(body: bytes) -> None:
    """There is nothing to read in the answer."""


def json_value(body: bytes) -> JsonValue:
    try:
        return _any.validate_json(body)
    except ValidationError as error:
        raise BadAnswer("the server's answer is not JSON") from error
