"""Schemas of strangers: which may be used, and that none stops the process."""

import time
from typing import Any

import pytest

from shared.json_schema import LARGEST, MOST_OBJECTS, complaint, fault

USABLE: list[dict[str, Any]] = [
    {},
    {"type": "object", "properties": {"patternProperties": {"type": "string"}, "$id": {}}},
    {"$defs": {"tree": {"properties": {"sub": {"$ref": "#/$defs/tree"}}}}, "$ref": "#/$defs/tree"},
    {"$id": "https://example.com/schema", "type": "array", "items": {"type": "integer"}},
]


@pytest.mark.parametrize("schema", USABLE)
def test_a_schema_is_usable(schema: dict[str, Any]) -> None:
    assert fault(schema) is None


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"not": schema}
    return schema


UNUSABLE: list[tuple[object, str]] = [
    ([], "is an object"),
    ({"type": "text"}, "$.type"),
    ({"properties": {"a": {"minimum": "1"}}}, "$.properties.a.minimum"),
    (
        {"properties": {"a": {"$ref": "https://example.com/other"}}},
        "$.properties.a.$ref: only",
    ),
    ({"$ref": "file:///etc/passwd"}, "only references within"),
    ({"$ref": "#/$defs/none"}, "leads nowhere"),
    ({"patternProperties": {"(a+)+$": {}}}, "patternProperties is not supported"),
    ({"properties": {"a": {"$id": "https://example.com/a"}}}, "$.properties.a.$id"),
    ({"description": "x" * LARGEST}, f"at most {LARGEST} bytes"),
    ({"properties": {str(n): {} for n in range(MOST_OBJECTS)}}, f"at most {MOST_OBJECTS} objects"),
    (nested(100), "nested deeper"),
    (nested(5000), "levels"),
    ({"enum": [float("nan")]}, "no NaN"),
]


@pytest.mark.parametrize(("schema", "words"), UNUSABLE)
def test_what_is_no_schema_is_told_with_its_place(schema: object, words: str) -> None:
    assert words in str(fault(schema))


def test_what_does_not_fit_is_told_with_its_place() -> None:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"items": {"pattern": "^[a-z]+$"}}},
        "required": ["c"],
    }
    told = complaint(schema, {"a": "one", "b": ["x", "Y"]})
    assert told is not None
    for words in ("a: 'one' is not of type 'integer'", "b[1]: 'Y' does not match", "'c' is a required"):
        assert words in told
    assert complaint(schema, {"a": 1, "c": None}) is None


def test_a_pattern_of_any_kind_takes_linear_time() -> None:
    started = time.perf_counter()
    assert complaint({"pattern": "^(a+)+$"}, "a" * 5000 + "!") is not None
    assert complaint({"pattern": "^(a|a)*$"}, "a" * 5000) is None
    assert time.perf_counter() - started < 2


def test_a_pattern_that_only_a_slow_engine_knows_is_not_checked() -> None:
    assert complaint({"pattern": r"^(?=x)(a+)+$"}, "a" * 50 + "!") is None


def test_references_are_neither_fetched_nor_followed_for_ever() -> None:
    doubling: dict[str, Any] = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    doubling["d40"] = {}
    started = time.perf_counter()
    assert "too much work" in str(complaint({"$defs": doubling, "$ref": "#/$defs/d0"}, 1))
    assert "too much work" in str(complaint({"$ref": "#"}, 1))
    assert "not in it" in str(complaint({"$ref": "http://127.0.0.1:1/never-asked"}, 1))
    assert time.perf_counter() - started < 5
