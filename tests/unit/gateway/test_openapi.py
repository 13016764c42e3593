"""The API's description as a new user reads it: complete, and every example true to its own schema."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator

from services.gateway import examples
from services.gateway.app import make_app
from services.gateway.openapi.describe import HEADERS
from services.runner.tools.calculator import Calculator
from shared.catalog import Tool

DOCS = Path(__file__).parents[3] / "docs" / "api.md"
Operation = tuple[str, str, dict[str, Any]]
Document = dict[str, Any]
PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def app() -> Iterator[FastAPI]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
        patch.setenv("API_KEY_PEPPER", "a pepper for tests only")
        yield make_app()


@pytest.fixture(scope="module")
def document(app: FastAPI) -> Document:
    # Over the wire and back: what a client gets.
    loaded: Document = json.loads(json.dumps(app.openapi()))
    return loaded


@pytest.fixture(scope="module")
def operations(document: Document) -> list[Operation]:
    paths = document["paths"]
    return [(method, path, operation) for path, item in paths.items() for method, operation in item.items()]


def contents(operation: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Where it stands, media type and content of all that an operation takes and answers."""
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield "request", media_type, content
    for status, answer in operation["responses"].items():
        for media_type, content in answer.get("content", {}).items():
            yield status, media_type, content


def values(document: Document, content: dict[str, Any]) -> list[Any]:
    """The examples of a content; a reference leads to the document's components."""
    shown = [
        document["components"]["examples"][each["$ref"].rpartition("/")[2]] if "$ref" in each else each
        for each in content["examples"].values()
    ]
    assert all(each["summary"] for each in shown)
    return [each["value"] for each in shown]


def check(document: Document, schema: dict[str, Any], value: Any) -> None:
    validator = Draft202012Validator(
        {**schema, "components": document["components"]}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    validator.validate(value)


def test_every_operation_says_what_it_does(operations: list[Operation]) -> None:
    for method, path, operation in operations:
        assert operation["summary"], (method, path)
        assert len(operation["description"]) > 40, (method, path)
        assert operation["tags"], (method, path)


def test_every_operation_has_a_short_name_of_its_own(operations: list[Operation]) -> None:
    names = [operation["operationId"] for _, _, operation in operations]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z_]{3,20}", name) for name in names), names


def test_every_tag_is_described(document: Document, operations: list[Operation]) -> None:
    described = {tag["name"] for tag in document["tags"] if tag["description"]}
    assert described == {tag for _, _, operation in operations for tag in operation["tags"]}


def test_everything_taken_or_answered_has_examples_that_fit_its_schema(
    document: Document, operations: list[Operation]
) -> None:
    checked = 0
    for method, path, operation in operations:
        for place, media_type, content in contents(operation):
            shown = values(document, content)
            assert shown, (method, path, place)
            if media_type == "text/event-stream":
                continue  # its events are compared with real ones
            for value in shown:
                check(document, content["schema"], value)
                checked += 1
    assert checked > 100


def test_an_example_that_does_not_fit_is_noticed(document: Document) -> None:
    schema = {"$ref": "#/components/schemas/RunView"}
    with pytest.raises(Exception, match="is a required property"):
        check(document, schema, {"run_id": examples.RUN_ID})
    with pytest.raises(Exception, match="is not one of"):
        check(document, {"$ref": "#/components/schemas/Accepted"}, {"run_id": "x", "status": "done"})


def test_every_example_stands_somewhere(document: Document) -> None:
    used = set(re.findall(r'"#/components/examples/([^"]+)"', json.dumps(document["paths"])))
    assert used == set(document["components"]["examples"])


def test_every_parameter_is_described_with_an_example_that_fits(
    document: Document, operations: list[Operation]
) -> None:
    for method, path, operation in operations:
        for parameter in operation.get("parameters", []):
            where = (method, path, parameter["name"])
            assert len(parameter["description"]) > 15, where
            assert parameter["schema"]["examples"], where
            assert "null" not in json.dumps(parameter["schema"]), where
            for value in parameter["schema"]["examples"]:
                check(document, parameter["schema"], value)


def test_every_operation_names_its_problems(document: Document, operations: list[Operation]) -> None:
    for method, path, operation in operations:
        problems = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        assert set(problems) >= {"401", "403", "422", "503"}, (method, path)
        assert ("413" in problems) == ("requestBody" in operation), (method, path)
        for status, answer in problems.items():
            assert list(answer["content"]) == [PROBLEM], (method, path)
            for value in values(document, answer["content"][PROBLEM]):
                assert value["status"] == int(status), (method, path)
                assert ("errors" in value) == (status == "422"), (method, path, status)


def test_headers_are_declared_with_examples_that_fit(document: Document, operations: list[Operation]) -> None:
    declared: dict[str, set[str]] = {}
    for _, path, operation in operations:
        for status, answer in operation["responses"].items():
            for name, header in answer.get("headers", {}).items():
                check(document, header["schema"], header["example"])
                declared.setdefault(name, set()).add(f"{path} {status}")
    assert declared["Location"] == {
        *("/api/runs 200", "/api/runs 202", "/api/runs/batch 202"),
        "/api/replays 202",
    }
    assert declared["Idempotent-Replayed"] == {
        *declared["Location"],
        *(
            "/api/chat 200",
            "/run 200",
            "/replay 200",
            "/api/agents 201",
            "/api/tools 201",
            "/api/mcp-servers 201",
        ),
        *("/api/webhooks 201", "/api/webhooks/{webhook_id}/test 202"),
        *("/api/schedules 201", "/api/schedules/{schedule_id}/trigger 202"),
    }
    starts = {
        f"{path} 429"
        for path in (
            "/api/runs",
            "/api/runs/batch",
            "/api/chat",
            "/run",
            "/api/schedules/{schedule_id}/trigger",
        )
    }
    assert declared["Retry-After"] == starts | {f"{path} 503" for _, path, _ in operations}
    assert declared["WWW-Authenticate"] == {f"{path} 401" for _, path, _ in operations}
    assert set(declared) == set(HEADERS)


def test_the_tool_of_the_examples_is_the_one_that_runners_announce() -> None:
    announced = Tool(
        name=Calculator.name,
        display_name=Calculator.display_name,
        description=Calculator.description,
        icon=Calculator.icon,
        effect=Calculator.effect,
        needs_approval=Calculator.needs_approval,
        parameters=Calculator.parameters_schema(),
        timeout_s=Calculator.timeout_s,
    )
    assert announced == examples.CALCULATOR
    Draft202012Validator(announced.parameters).validate(examples.ARGUMENTS)


def test_a_key_is_needed_everywhere_by_either_header(document: Document, operations: list[Operation]) -> None:
    assert document["security"] == [{"bearer": []}, {"header": []}]
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}
    assert not any("security" in operation for _, _, operation in operations)


def test_every_reference_leads_somewhere(document: Document) -> None:
    for kind in ("schemas", "examples"):
        names = set(re.findall(f'"#/components/{kind}/([^"]+)"', json.dumps(document)))
        assert names <= set(document["components"][kind])


def test_the_document_for_people_has_every_route(operations: list[Operation]) -> None:
    text = DOCS.read_text()
    for method, path, _ in operations:
        assert f"`{method.upper()} {path}`" in text, f"{method.upper()} {path} is not in docs/api.md"
