"""The template of the HTTP request that a custom tool makes. Pure.

`{name}` stands for an argument, in headers `{secret:NAME}` for a secret. Arguments that the template does
not name travel in the query (GET, DELETE) or as members of the JSON body. What may be wrong with a template
is the gateway's affair, filling it the runner's.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from pydantic import Field, JsonValue

from shared.steps import Fact

PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
SECRET: Final = re.compile(r"\{secret:([A-Za-z_][A-Za-z0-9_]*)\}")


class HttpRequest(Fact):
    """`query` and `body` are templates; a text of `body` that is one placeholder keeps the value's type."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    url: str
    headers: dict[str, str] = Field(default_factory=dict)
    query: dict[str, str] = Field(default_factory=dict)
    body: JsonValue = None
    max_response_bytes: int = 64 * 1024

    @property
    def has_body(self) -> bool:
        return self.method not in ("GET", "DELETE")

    @property
    def names(self) -> set[str]:
        """The arguments that the template puts somewhere."""
        return set(names_in([self.url, *self.query.values(), self.body]))


def names_in(template: JsonValue) -> Iterator[str]:
    """The arguments that a template names."""
    match template:
        case str():
            yield from PLACEHOLDER.findall(template)
        case dict():
            yield from (name for item in template.values() for name in names_in(item))
        case list():
            yield from (name for item in template for name in names_in(item))


def secrets_in(texts: Mapping[str, str]) -> set[str]:
    """The secrets that headers or the environment of a process name."""
    return {name for value in texts.values() for name in SECRET.findall(value)}
