"""The calculator: right results in the form of a sentence, or words that say why there is none."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runner.tools.base import ToolContext, ToolError
from services.runner.tools.calculator import Calculator
from services.runner.tools.registry import ToolRegistry

REGISTRY = ToolRegistry({"calculator": Calculator()})
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
OPERATIONS = st.sampled_from(["add", "subtract", "multiply", "divide", "power"])


async def calculate(context: ToolContext, operation: str, x: float, y: float) -> tuple[str, str]:
    outcome = await REGISTRY.call("calculator", {"operation": operation, "x": x, "y": y}, context)
    return outcome.status, str(outcome.result)


@pytest.mark.parametrize(
    ("operation", "x", "y", "sentence"),
    [
        ("add", 5, 10, "5 + 10 = 15"),
        ("multiply", 15, 3, "15 * 3 = 45"),
        ("subtract", 5, -3, "5 - -3 = 8"),
        ("divide", 10, 4, "10 / 4 = 2.5"),
        ("divide", 1, 3, "1 / 3 = 0.3333333333333333"),
        ("divide", 2, 3, "2 / 3 = 0.6666666666666667"),
        ("power", 2, 10, "2^10 = 1024"),
        ("power", -3, 2, "(-3)^2 = 9"),
        ("power", 2, 100, "2^100 = 1267650600228229401496703205376"),
        ("power", 2, 0.5, "2^0.5 = 1.414213562373095"),
        ("power", 4, 0.5, "4^0.5 = 2"),
        ("add", 0.1, 0.2, "0.1 + 0.2 = 0.3"),
        ("add", 5.0, 1, "5 + 1 = 6"),
        ("multiply", -0.0, 5, "0 * 5 = 0"),
        ("divide", 1, 1024, "1 / 1024 = 0.0009765625"),
        ("multiply", 1e-200, 1e-200, "1e-200 * 1e-200 = 1e-400"),
    ],
)
async def test_results_read_like_a_sum_on_paper(
    context: ToolContext, operation: str, x: float, y: float, sentence: str
) -> None:
    assert await calculate(context, operation, x, y) == ("ok", sentence)


@pytest.mark.parametrize(
    ("operation", "x", "y", "words"),
    [
        ("divide", 1, 0, "y must not be 0"),
        ("divide", 0, 0, "y must not be 0"),
        ("power", 0, 0, "x must not be 0"),
        ("power", 0, -1, "x must not be 0"),
        ("power", -8, 0.5, "no real result"),
        ("power", 10, 1000, "use smaller numbers"),
        ("power", 9, 10**15, "use smaller numbers"),
        ("power", 1.5, 1e300, "use smaller numbers"),
        ("power", 10, -2000, "use larger numbers"),
        ("add", float("nan"), 1, "finite number"),
        ("add", float("inf"), 1, "finite number"),
        ("add", 10**1000, 1, "smaller than 10^1000"),
        ("add", True, 1, "finite number"),
    ],
)
async def test_what_has_no_result_is_told_in_words(
    context: ToolContext, operation: str, x: float, y: float, words: str
) -> None:
    status, told = await calculate(context, operation, x, y)
    assert status == "error"
    assert words in told


async def test_a_number_as_text_is_refused_with_what_would_be_right(context: ToolContext) -> None:
    arguments = {"operation": "plus", "x": "5", "z": 1}
    with pytest.raises(ToolError) as refused:
        REGISTRY.effect_of("calculator", arguments)
    told = str(refused.value)
    assert "`operation`: input should be 'add', 'subtract'" in told
    assert '`x`: must be a finite number, such as 5 or 0.1 (got "5")' in told
    assert "`y` is required" in told
    assert "`z` is not an argument" in told


@given(x=st.integers(-(10**100), 10**100), y=st.integers(-(10**100), 10**100))
async def test_whole_numbers_are_exact(x: int, y: int) -> None:
    context = ToolContext("p", "r", None, "c", "k")
    assert await calculate(context, "multiply", x, y) == ("ok", f"{x} * {y} = {x * y}")
    assert await calculate(context, "subtract", x, y) == ("ok", f"{x} - {y} = {x - y}")


@given(operation=OPERATIONS, x=NUMBERS, y=NUMBERS)
async def test_any_two_numbers_give_a_bounded_result_or_words(operation: str, x: float, y: float) -> None:
    outcome = await REGISTRY.call(
        "calculator", {"operation": operation, "x": x, "y": y}, ToolContext("p", "r", None, "c", "k")
    )
    text = str(outcome.result)
    assert "fault of its own" not in text
    assert len(text) < 3100
    if outcome.status == "ok":
        assert Decimal(text.rsplit(" = ", 1)[1]).is_finite()


def test_the_schema_offers_plain_numbers() -> None:
    parameters = Calculator.schema()["function"]["parameters"]
    assert parameters["properties"]["x"] == {"type": "number", "description": "First number."}
    assert parameters["required"] == ["operation", "x", "y"]
    assert parameters["additionalProperties"] is False
    json.dumps(parameters)
