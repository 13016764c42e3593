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


@pytest.mark.parametrize(
    ("items", "is_unique"),
    [
        ([1, True, "1", [1], {"a": 1}], True),
        ([1, 1.0], False),
        ([{"a": 1, "b": 2}, {"b": 2.0, "a": 1}], False),
        ([[False], [0]], True),
        (list(range(5000)), True),
    ],
    ids=lambda value: str(value)[:20],
)
def test_items_are_unique_as_json_values_are(items: list[Any], is_unique: bool) -> None:
    assert (complaint({"type": "array", "uniqueItems": True}, items) is None) is is_unique


OBJECTS: list[Any] = [{"z": number} for number in range(480)]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"items": {"enum": OBJECTS}}, [{"z": 479}] * 10_000),
        ({"items": {"anyOf": [{"const": each} for each in OBJECTS[:240]]}}, [{"z": 239}] * 1000),
        (
            {"unevaluatedItems": False, "allOf": [{"contains": {"const": n}} for n in range(200)]},
            [*range(2000)],
        ),
        ({"anyOf": [{"type": "string"}] * 400}, ["x" * 100] * 10_000),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}, "uniqueItems": True}}}, None),
    ],
    ids=["enum", "anyOf", "unevaluatedItems", "long complaints", "unique on every level"],
)
def test_a_schema_that_asks_for_too_much_work_ends_soon(schema: dict[str, Any], value: Any) -> None:
    if value is None:
        value = list(range(20_000))
        for _ in range(200):
            value = [value]
    assert fault(schema) is None
    began = time.process_time()
    assert "too much work" in str(complaint(schema, value))
    assert time.process_time() - began < 5  # undone, minutes
