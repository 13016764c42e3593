"""JSON schemas of strangers: whether one may be used, and what of a value does not fit it. Pure.

Schemas come from clients and tool servers, values from models, so neither may stop the process: nothing is
fetched, patterns are matched and items compared in linear time, and the work of one check is counted.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final

from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.protocols import Validator
from pydantic import JsonValue
from pydantic_core import SchemaError, SchemaValidator, core_schema
from pydantic_core import ValidationError as NoMatch
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

LARGEST: Final = 32 * 1024
DEEPEST: Final = 64
MOST_WORK: Final = 100_000
"""Keywords that one check may look at, about half a second; long texts count as several."""
BYTES_OF_WORK: Final = 100
REFERENCE_WORK: Final = 5
MOST_PROBLEMS: Final = 5
LONGEST_PROBLEM: Final = 300
# A property's name by pattern is matched with Python's own expressions, which a hostile one stops for ever.
REFUSED: Final = frozenset({"patternProperties", "$dynamicRef", "$recursiveRef"})
MOST_OBJECTS: Final = 500

_done: ContextVar[list[int]] = ContextVar("done")
Keyword = Callable[[Validator, Any, Any, Any], Iterator[ValidationError] | None]


class TooMuch(Exception):
    """To hold the value against the schema is more work than a schema is worth."""


def fault(schema: object) -> str | None:
    """Why this is no JSON schema (draft 2020-12) that may be used, with the place; None when it is one."""
    if not isinstance(schema, dict):
        return "a JSON schema is an object"
    try:
        size = len(json.dumps(schema, allow_nan=False))
    except (RecursionError, ValueError, TypeError):
        return f"a JSON schema has at most {DEEPEST} levels and no NaN"
    if size > LARGEST:
        return f"a JSON schema has at most {LARGEST} bytes"
    told = next((f"{place[:200]}: {words}" for place, words in _refused(schema, "$", 0)), None)
    if told is not None:
        return told
    if sum(1 for _ in _objects(schema)) > MOST_OBJECTS:
        return f"a JSON schema has at most {MOST_OBJECTS} objects"
    wrong = next(Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema), None)
    if wrong is not None:
        return f"{wrong.json_path}: {wrong.message[:LONGEST_PROBLEM]}"
    return _dangling(schema)


def complaint(schema: Mapping[str, JsonValue], value: JsonValue) -> str | None:
    """What of the value does not fit, each with its place; None when it fits."""
    problems: list[str] = []
    _done.set([0])
    try:
        for error in _validator(json.dumps(schema, sort_keys=True)).iter_errors(value):
            problems.append(f"{error.json_path.removeprefix('$.')}: {error.message[:LONGEST_PROBLEM]}")
            if len(problems) == MOST_PROBLEMS:
                break
    except Unresolvable as error:
        return f"the schema refers to {error.ref!r}, which is not in it"
    except (RecursionError, TooMuch):
        return "the schema refers to itself without an end, or asks for too much work"
    return "; ".join(problems) or None


def _dangling(schema: dict[str, JsonValue]) -> str | None:
    """The first reference that leads nowhere."""
    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(schema))
    for node in _objects(schema):
        if isinstance(reference := node.get("$ref"), str):
            try:
                resolver.lookup(reference)
            except Unresolvable:
                return f"$ref {reference[:100]!r} leads nowhere in the schema"
    return None


def _objects(node: object) -> Iterator[dict[str, Any]]:
    match node:
        case dict():
            yield node
            yield from (each for item in node.values() for each in _objects(item))
        case list():
            yield from (each for item in node for each in _objects(item))


def _refused(node: object, place: str, depth: int) -> Iterator[tuple[str, str]]:
    """What is valid in a schema, yet not taken from strangers. Looks at examples and constants as well."""
    if depth > DEEPEST:
        yield place, f"nested deeper than {DEEPEST} levels"
        return
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _refused(item, f"{place}[{index}]", depth + 1)
    if not isinstance(node, dict):
        return
    for name, item in node.items():
        where = f"{place}.{name}"
        if not place.endswith(".properties") and (name in REFUSED or (name == "$id" and depth)):
            yield where, f"{name} is not supported here"
        if name == "$ref" and isinstance(item, str) and not item.startswith("#"):
            yield where, "only references within the schema are followed; they begin with '#'"
        yield from _refused(item, where, depth + 1)


def _work(amount: int) -> None:
    done = _done.get()
    done[0] += amount
    if done[0] > MOST_WORK:
        raise TooMuch


def _counted(name: str, keyword: Keyword) -> Keyword:
    """The keyword, whose every use is work, as are its alternatives and the words in which it complains."""
    amount = REFERENCE_WORK if name == "$ref" else 1

    def check(validator: Validator, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        _work(amount + (len(value) if isinstance(value, list) else 0))
        for error in keyword(validator, value, instance, schema) or ():
            _work(len(error.message) // BYTES_OF_WORK)
            yield error

    return check


def _unique(validator: Validator, wanted: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    """In place of the library's, which compares each item with each."""
    if not wanted or not validator.is_type(instance, "array"):
        return
    seen: set[str] = set()
    for item in instance:
        text = json.dumps(_plain(item), sort_keys=True)
        _work(1 + len(text) // BYTES_OF_WORK)
        if text in seen:
            yield ValidationError(f"an item stands twice: {text}")
            return
        seen.add(text)


def _plain(value: Any) -> Any:
    """Equal for values that are equal in JSON: 1.0 is 1, and true is not."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {name: _plain(item) for name, item in value.items()}
    return value


def _pattern(validator: Validator, pattern: str, instance: Any, _: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "string"):
        return
    _work(len(instance) // BYTES_OF_WORK)
    if (matcher := _matcher(pattern)) is not None:
        try:
            matcher.validate_python(instance)
        except NoMatch:
            yield ValidationError(f"{instance!r} does not match {pattern!r}")


@lru_cache(maxsize=256)
def _matcher(pattern: str) -> SchemaValidator | None:
    """Matches in linear time; None for a pattern that only a slower engine knows, which stays unchecked."""
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except SchemaError:
        return None


_extend: Final[Callable[..., type[Validator]]] = validators.extend
_own: Final = {**Draft202012Validator.VALIDATORS, "pattern": _pattern, "uniqueItems": _unique}
_Bounded: Final = _extend(
    Draft202012Validator, {name: _counted(name, keyword) for name, keyword in _own.items()}
)


@lru_cache(maxsize=256)
def _validator(schema: str) -> Validator:
    # An empty registry: the library's default one would fetch what a reference names.
    return _Bounded(json.loads(schema), registry=Registry())
