"""Where a replay has the answers of its tools from, and that nothing is done twice by a default."""

import json
from typing import Any

import pytest

from services.gateway.problems import Problem
from services.gateway.replays.inputs import ToolAnswerInput
from services.gateway.replays.policy import tool_answers
from shared.steps import Effect, ToolAnswer, ToolSpec
from tests.support.steps import tool_spec

SPECS = [
    tool_spec("search"),
    tool_spec("send_mail", Effect.IRREVERSIBLE),
    tool_spec("handoff_to_other").model_copy(update={"source": "handoff"}),
]


def answers(given: dict[str, Any], specs: list[ToolSpec] = SPECS) -> dict[str, ToolAnswer]:
    asked = {name: ToolAnswerInput.model_validate_json(json.dumps(each)) for name, each in given.items()}
    return tool_answers(asked, specs)


def test_what_is_not_said_follows_the_effect() -> None:
    assert answers({"search": {}, "send_mail": {}, "*": {}}) == {
        "search": ToolAnswer(answer="recorded", on_miss="live"),
        "send_mail": ToolAnswer(answer="recorded", on_miss="fail"),
        "*": ToolAnswer(answer="recorded", on_miss="live"),
    }


def test_an_irreversible_tool_is_live_where_it_is_named() -> None:
    assert answers({"send_mail": {"answer": "live"}})["send_mail"].answer == "live"
    assert answers({"send_mail": {"on_miss": "live"}})["send_mail"].on_miss == "live"
    assert answers({"*": {"answer": "live"}, "send_mail": {}})["*"].answer == "live"


def test_without_irreversible_tools_all_may_be_live() -> None:
    assert answers({"*": {"answer": "live"}}, SPECS[:1])["*"].answer == "live"


def test_a_static_answer_is_any_json_null_too() -> None:
    assert answers({"search": {"answer": "static", "static": None}})["search"].answer == "static"
    assert answers({"search": {"answer": "static", "static": {"a": [1]}}})["search"].static == {"a": [1]}


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"*": {"answer": "live"}}, "tools.*", "send_mail cannot be undone"),
        ({"*": {"on_miss": "live"}}, "tools.*", "send_mail cannot be undone"),
        ({"shell": {}}, "tools.shell", "have no such tool; theirs are search, send_mail"),
        ({"handoff_to_other": {}}, "tools.handoff_to_other", "have no such tool"),
        ({"search": {"answer": "static"}}, "tools.search.static", "say what the tool always answers"),
        ({"search": {"static": 1}}, "tools.search.static", "is for the answer 'static'"),
        ({"search": {"answer": "live", "on_miss": "fail"}}, "tools.search.on_miss", "is for the answer"),
        (
            {"search": {"answer": "static", "static": "x" * 17_000}},
            "tools.search.static",
            "is 17002 bytes of JSON; at most 16384",
        ),
    ],
)
def test_a_policy_that_cannot_be_kept_is_refused(given: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(Problem) as refused:
        answers(given)
    [error] = refused.value.errors
    assert error.field == field
    assert words in error.message


def test_all_static_answers_together_have_a_limit() -> None:
    specs = [tool_spec(f"tool{number}") for number in range(20)]
    given = {spec.name: {"answer": "static", "static": "x" * 16_000} for spec in specs}
    with pytest.raises(Problem, match="more than 262144 bytes together"):
        answers(given, specs)
