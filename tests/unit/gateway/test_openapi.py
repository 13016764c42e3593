"""The API's description, and the document for people beside it: both complete."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from services.gateway.app import make_app

DOCS = Path(__file__).parents[3] / "docs" / "api.md"
Operation = tuple[str, str, dict[str, Any]]


@pytest.fixture(scope="module")
def app() -> Iterator[FastAPI]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
        patch.setenv("API_KEY_PEPPER", "a pepper for tests only")
        yield make_app()


@pytest.fixture(scope="module")
def operations(app: FastAPI) -> list[Operation]:
    paths = app.openapi()["paths"]
    return [(method, path, operation) for path, item in paths.items() for method, operation in item.items()]


def test_every_operation_says_what_it_does(operations: list[Operation]) -> None:
    for method, path, operation in operations:
        assert operation["summary"], (method, path)
        assert len(operation["description"]) > 40, (method, path)
        assert operation["tags"], (method, path)


def test_every_operation_has_examples_of_what_it_takes_and_gives(operations: list[Operation]) -> None:
    for method, path, operation in operations:
        good = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
        contents = [content for answer in good for content in answer.get("content", {}).values()]
        assert all("example" in content for content in contents), (method, path)
        if "requestBody" in operation:
            assert "example" in operation["requestBody"]["content"]["application/json"], (method, path)


def test_every_operation_names_its_problems(operations: list[Operation]) -> None:
    for method, path, operation in operations:
        problems = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        assert set(problems) >= {"401", "403", "422", "503"}, (method, path)
        assert ("413" in problems) == ("requestBody" in operation), (method, path)
        for answer in problems.values():
            assert list(answer["content"]) == ["application/problem+json"], (method, path)


def test_a_key_is_needed_everywhere_by_either_header(app: FastAPI, operations: list[Operation]) -> None:
    document = app.openapi()
    assert document["security"] == [{"bearer": []}, {"header": []}]
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}
    assert not any("security" in operation for _, _, operation in operations)


def test_every_reference_leads_somewhere(app: FastAPI) -> None:
    document = app.openapi()
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert names <= set(document["components"]["schemas"])


def test_the_document_for_people_has_every_route(operations: list[Operation]) -> None:
    text = DOCS.read_text()
    for method, path, _ in operations:
        assert f"`{method.upper()} {path}`" in text, f"{method.upper()} {path} is not in docs/api.md"
