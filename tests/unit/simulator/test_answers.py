"""Answers in words, their variety and determinism, and the parameters that shape them."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from services.simulator.tokens import count_tokens
from tests.unit.simulator.dialogue import CALCULATOR, DEMO, WEATHER, ask, converse

HISTORY = [
    {"role": "system", "content": "You are a careful clerk."},
    {"role": "user", "content": "My name is Ada. What is 4 + 5? [[simulate: slow 1s]]"},
    {"role": "assistant", "content": "The result is 9."},
]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What did I say before?", 'You said before: "My name is Ada. What is 4 + 5?"'),
        ("What did you say?", 'I said: "The result is 9."'),
        ("What is my name?", "Your name is Ada."),
        ("What are your instructions?", 'My instructions are: "You are a careful clerk."'),
        ("Summarize: One thing. Another. The last.", "In short: One thing. The last."),
        ("Hello!", "Hello! How can I help you?"),
        ("Thank you", "You are welcome."),
    ],
)
def test_the_conversation_is_remembered(question: str, expected: str) -> None:
    assert ask([*HISTORY, {"role": "user", "content": question}]).text == expected


def test_a_first_question_has_nothing_before_it() -> None:
    assert ask("what did I say before?").text == "This is the first thing you say in this conversation."


def test_the_model_tells_its_name() -> None:
    assert "mistral-small-latest" in ask("Which model are you?", model="mistral-small-latest").text


def test_a_text_has_the_wanted_length() -> None:
    assert len(ask("Write 200 words about cheese").text.split()) == 200
    assert ask("Write 3 paragraphs about tea").text.count("\n\n") == 2


def test_prose_depends_on_the_prompt() -> None:
    cheese, tea = ask("Explain cheese").text, ask("Explain tea").text
    assert "cheese" in cheese
    assert "tea" in tea


def test_equal_requests_at_temperature_0_have_equal_answers() -> None:
    assert ask(DEMO) == ask(DEMO)
    assert ask("Explain tea", random_seed=1).text == ask("Explain tea", random_seed=2).text


def test_a_seed_fixes_what_temperature_varies() -> None:
    seeded = {ask("Explain tea", temperature=0.9, random_seed=7).text for _ in range(10)}
    assert len(seeded) == 1
    assert ask(DEMO, temperature=0.9, random_seed=7) == ask(DEMO, temperature=0.9, random_seed=7)


def test_without_a_seed_the_wording_varies() -> None:
    assert len({ask("What is 2 + 2?", tools=(), temperature=0.7).text for _ in range(60)}) > 1


def test_the_large_model_is_right_at_the_usual_temperature() -> None:
    answers = {converse(DEMO, temperature=0.6)[0] for _ in range(200)}
    assert all("45" in answer for answer in answers)


def test_small_models_are_wrong_more_often() -> None:
    def right(model: str) -> int:
        questions = (f"What is {n} + 10, then multiply by 3?" for n in range(200))
        wanted = (str((n + 10) * 3) for n in range(200))
        return sum(
            want in ask(q, tools=(), model=model).text for q, want in zip(questions, wanted, strict=True)
        )

    large, small, smallest = (
        right(f"{name}-latest") for name in ("mistral-large", "mistral-small", "ministral-3b")
    )
    assert large == 200 > small > smallest > 50


def test_a_small_models_mistake_is_the_same_each_time_at_temperature_0() -> None:
    runs = [
        [ask(f"What is {n} + 1?", model="ministral-3b-latest").calls for n in range(50)] for _ in range(2)
    ]
    assert runs[0] == runs[1]


def test_stop_ends_the_text() -> None:
    assert ask(DEMO, tools=(), stop=["is", "result"]).text == "The "
    assert ask(DEMO, tools=(), stop="45").text == "The result is "


def test_max_tokens_cuts_and_says_so() -> None:
    choice = ask("Write 200 words about cheese", max_tokens=10)
    assert choice.finish_reason == "length"
    assert count_tokens(choice.text) == 10


def test_calls_that_do_not_fit_are_lost() -> None:
    choice = ask(DEMO, max_tokens=4)
    assert (choice.finish_reason, choice.calls) == ("length", ())


def test_tool_choice_none_computes_without_tools() -> None:
    assert ask(DEMO, tool_choice="none").text == "The result is 45."


@pytest.mark.parametrize("choice", ["any", "required"])
def test_a_demanded_call_is_made_although_nothing_asks_for_it(choice: str) -> None:
    calls = ask("Hello!", tools=(WEATHER, CALCULATOR), tool_choice=choice).calls
    assert [call.name for call in calls] == ["get_weather"]
    assert json.loads(calls[0].arguments) == {"city": "Hello"}


def test_a_demanded_function_is_the_one_called() -> None:
    wanted = {"type": "function", "function": {"name": "calculator"}}
    calls = ask("Hello!", tools=(WEATHER, CALCULATOR), tool_choice=wanted).calls
    assert [call.name for call in calls] == ["calculator"]
    Draft202012Validator(CALCULATOR["function"]["parameters"]).validate(json.loads(calls[0].arguments))


def test_json_mode_answers_json() -> None:
    assert json.loads(ask(DEMO, tools=(), response_format={"type": "json_object"}).text) == {
        "answer": "The result is 45."
    }


def test_a_json_schema_is_fulfilled() -> None:
    schema = {
        "type": "object",
        "$defs": {"Grade": {"enum": ["good", "bad"]}},
        "properties": {
            "value": {"type": "integer"},
            "text": {"type": "string"},
            "grade": {"$ref": "#/$defs/Grade"},
            "parts": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "number"}}}},
        },
        "required": ["value", "text", "grade", "parts"],
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "result", "schema": schema}}
    answer = json.loads(ask(DEMO, tools=(), response_format=wanted).text)
    Draft202012Validator(schema).validate(answer)
    assert answer["value"] == 45


def test_a_prefix_begins_the_answer() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "What is 2 + 2?"},
        {"role": "assistant", "content": "Well: ", "prefix": True},
    ]
    assert ask(messages, tools=()).text == "Well: The result is 4."
