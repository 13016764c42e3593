"""Reading arithmetic out of sentences: which calculation is meant, and what is none."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.simulator.arithmetic.expression import (
    ArithmeticFailure,
    Number,
    Operation,
    Operator,
    apply,
    evaluate,
    format_value,
    render,
)
from services.simulator.arithmetic.parser import parse


def values(text: str) -> list[str]:
    return [format_value(evaluate(expression)) for expression in parse(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is 5 + 10, then multiply by 3?", ["45"]),
        ("12 * (3 + 4) / 2", ["42"]),
        ("add 2 and 3, then subtract 1, then square it", ["16"]),
        ("What is 2+3 and what is 10*4?", ["5", "40"]),
        ("What is 5 x 6 and 7x8?", ["30", "56"]),
        ("How much is 15 percent of 240?", ["36"]),
        ("What's 20% of 80 plus 5?", ["21"]),
        ("Increase 200 by 10%", ["220"]),
        ("add 10% to 200", ["220"]),
        ("200 - 25%", ["150"]),
        ("Take 7, double it and add 3", ["17"]),
        ("What is the sum of 5 and 10 multiplied by 3?", ["45"]),
        ("the sum of 4 and 9 and the product of 2 and 5", ["13", "10"]),
        ("Compute the average of 1, 2 and 6", ["3"]),
        ("twenty-one times two hundred and five", ["4305"]),
        ("raise 2 to the power of 10", ["1024"]),
        ("Raise 3 to the third power", ["27"]),
        ("2^3^2", ["512"]),
        ("-2^2", ["-4"]),
        ("What is (-2)^2?", ["4"]),
        ("What is 8 times minus 2?", ["-16"]),
        ("What is 5 plus negative 3?", ["2"]),
        ("3.5 * 2 - -1", ["8"]),
        ("Divide 1,000 by 8, then halve it", ["62.5"]),
        ("Start with 5, then add 3, then double it.", ["16"]),
        ("Square 5 and add 3", ["28"]),
        ("What is the square root of 144?", ["12"]),
        ("5 + 3, then squared", ["64"]),
        ("Subtract 4 from 10. Multiply the result by 6. Then divide by 9.", ["4"]),
        ("what is 2 + 3? and 4 + 5? Then add 10 to it", ["5", "19"]),
        ("What is 10 then - 3?", ["7"]),
        ("2 + 3, -4 + 5", ["5", "1"]),
        ("Could you tell me what 5 plus 10 is?", ["15"]),
        ("Please calculate: (1+2)*3. Show your work", ["9"]),
        ("Hi! I need the result of 0.1 + 0.2", ["0.3"]),
        ("What is $5 + $10?", ["15"]),
        ("What is 1e3 + 1?", ["1001"]),
        ("2(3+4)", ["14"]),
    ],
)
def test_calculations_are_understood(text: str, expected: list[str]) -> None:
    assert values(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello there",
        "List 3 models and 4 datasets",
        "Write 3-4 sentences about Paris",
        "Who was president in 1990-1995?",
        "Read the file 2024-01-05.txt and notes2.md",
        "The meeting on 2026-11-20 at 10:30 is in room 3",
        "See https://example.com/a/1-2 and version 1.2.3",
        "What is the difference between a list and a tuple?",
        "What is three point five",
        "then multiply by 2",
    ],
)
def test_other_sentences_hold_no_calculation(text: str) -> None:
    assert parse(text) == []


def test_it_means_the_previous_answer() -> None:
    assert [evaluate(e) for e in parse("Now multiply that by 3", Number(15))] == [45]


def test_brackets_show_where_they_matter() -> None:
    assert render(parse("(5 + 10) * 3")[0]) == "(5 + 10) × 3"
    assert render(parse("2 - -3")[0]) == "2 - (-3)"


def test_division_by_zero_says_so() -> None:
    with pytest.raises(ArithmeticFailure, match="division by zero"):
        evaluate(parse("7 / 0")[0])


@pytest.mark.parametrize("text", ["9^9^9", "10^900 * 10^900", "0^(0-1)", "(0-8)^0.5"])
def test_what_has_no_bearable_result_is_refused_at_once(text: str) -> None:
    started = time.perf_counter()
    with pytest.raises(ArithmeticFailure):
        evaluate(parse(text)[0])
    assert time.perf_counter() - started < 2.0


@pytest.mark.parametrize(
    "text",
    [
        "(" * 3_900,
        "1+" * 1_990 + "1",
        "then add 1 " * 360,
        "2^" * 1_900 + "2",
        "- " * 1_900 + "a",
        "1 " * 1_950,
    ],
)
def test_hostile_text_is_read_in_bounded_time(text: str) -> None:
    started = time.perf_counter()
    parse(text)
    assert time.perf_counter() - started < 2.0


SIGNS = {"+": Operator.ADD, "-": Operator.SUBTRACT, "*": Operator.MULTIPLY}
WORDS = {
    "add {}": Operator.ADD,
    "plus {}": Operator.ADD,
    "subtract {}": Operator.SUBTRACT,
    "minus {}": Operator.SUBTRACT,
    "multiply it by {}": Operator.MULTIPLY,
    "times {}": Operator.MULTIPLY,
}
numbers = st.integers(min_value=0, max_value=10_000)


@settings(deadline=None)
@given(numbers, st.lists(st.tuples(st.sampled_from(sorted(SIGNS)), numbers), min_size=1, max_size=12))
def test_written_chains_have_the_value_python_gives_them(first: int, rest: list[tuple[str, int]]) -> None:
    text = f"{first} " + " ".join(f"{sign} {number}" for sign, number in rest)
    assert values(f"What is {text}?") == [str(eval(text))]


@settings(deadline=None)
@given(numbers, st.lists(st.tuples(st.sampled_from(sorted(WORDS)), numbers), min_size=1, max_size=12))
def test_spoken_chains_go_on_from_result_to_result(first: int, rest: list[tuple[str, int]]) -> None:
    expected: int | float = first
    for words, number in rest:
        expected = apply(WORDS[words], expected, number)
    text = f"Start with {first}, then " + ", then ".join(words.format(number) for words, number in rest)
    assert values(text) == [str(expected)]


expressions = st.recursive(
    numbers.map(Number),
    lambda inner: st.builds(Operation, st.sampled_from(list(SIGNS.values())), inner, inner),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.builds(Operation, st.sampled_from(list(SIGNS.values())), expressions, expressions))
def test_what_is_written_down_reads_back_as_the_same(expression: Operation) -> None:
    assert [evaluate(e) for e in parse(render(expression))] == [evaluate(expression)]


@settings(deadline=None)
@given(st.text(max_size=300))
def test_no_text_breaks_the_reader(text: str) -> None:
    assert isinstance(parse(text), list)
