"""From a request's template and a call's arguments to the request that is sent. Pure.

The gateway has refused templates that cannot be filled; here an argument can still be wrong.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from pydantic import JsonValue

from services.runner.tools.base import ToolError
from shared.http_request import PLACEHOLDER, HttpRequest

Arguments = Mapping[str, JsonValue]


@dataclass(frozen=True)
class Filled:
    """`body` is None when the request has none."""

    url: str
    body: bytes | None


def fill(request: HttpRequest, arguments: Arguments) -> Filled:
    """Raises ToolError, which tells the model what is wrong with an argument."""
    parts = urlsplit(request.url)
    path = PLACEHOLDER.sub(lambda match: _in_path(match[1], arguments), parts.path)
    if any(segment in (".", "..") for segment in path.split("/")):
        raise ToolError("The arguments would make a path of dots; give other values.")
    rest = {name: value for name, value in arguments.items() if name not in request.names}
    pairs = [(name, text) for name, value in request.query.items() for text in _texts(value, arguments)]
    if not request.has_body:
        pairs += [(name, text) for name in rest for text in _texts(f"{{{name}}}", rest)]
    given = PLACEHOLDER.sub(lambda match: quote(_text(arguments.get(match[1])), safe=""), parts.query)
    query = "&".join(filter(None, [given, urlencode(pairs)]))
    url = parts._replace(path=path, query=query).geturl()
    return Filled(url, _body(request, arguments, rest) if request.has_body else None)


def _body(request: HttpRequest, arguments: Arguments, rest: Arguments) -> bytes:
    if request.body is not None and rest:
        raise ToolError(f"Unknown arguments: {', '.join(rest)}; leave them out.")
    made = dict(rest) if request.body is None else next(_filled(request.body, arguments), None)
    return json.dumps(made, ensure_ascii=False).encode()


def _in_path(name: str, arguments: Arguments) -> str:
    value = arguments.get(name)
    if value is None or isinstance(value, (dict, list)) or not (text := _text(value)):
        raise ToolError(f"`{name}` must be a text that is not empty, or a number.")
    return quote(text, safe="")


def _texts(template: str, arguments: Arguments) -> list[str]:
    """The values of a query parameter: one, several for a list, none for an argument that is not given."""
    values = [value for value in _filled(template, arguments) if value is not None]
    return [_text(item) for value in values for item in (value if isinstance(value, list) else [value])]


def _filled(template: JsonValue, arguments: Arguments) -> Iterator[JsonValue]:
    """The template with its values; nothing at all when it names an argument that is not given."""
    match template:
        case str():
            if all(name in arguments for name in PLACEHOLDER.findall(template)):
                yield _in_text(template, arguments)
        case dict():
            yield {name: made for name, item in template.items() for made in _filled(item, arguments)}
        case list():
            yield [made for item in template for made in _filled(item, arguments)]
        case _:
            yield template


def _in_text(template: str, arguments: Arguments) -> JsonValue:
    whole = PLACEHOLDER.fullmatch(template)
    if whole is not None:
        return arguments[whole[1]]
    return PLACEHOLDER.sub(lambda match: _text(arguments[match[1]]), template)


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
