"""Metrics of people's own: one number comes out, whatever goes in."""

from collections.abc import AsyncIterator, Mapping

import pytest

from services.replayer.expressions import Expressions, Refused
from services.replayer.measures import Scalar

INPUTS: Mapping[str, Scalar] = {
    "answer": "It is 15.",
    "status": "completed",
    "tokens": 120,
    "cost_usd": None,
    "expected": "15",
}


@pytest.fixture(scope="module")
async def expressions() -> AsyncIterator[Expressions]:
    made = Expressions()
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("expected in answer", 1.0),
        ("tokens > 200", 0.0),
        ("len(answer) / 2", 4.5),
        ("1 if cost_usd is None else cost_usd", 1.0),
        ("  max(\n  tokens,\n  7)  # a comment", 120.0),
    ],
)
async def test_an_expression_gives_a_number(expressions: Expressions, expression: str, value: float) -> None:
    assert await expressions.value(expression, INPUTS) == value


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("nonsense", "NameError: name 'nonsense' is not defined"),
        ("answer", "it gives str; a number or a truth value is needed"),
        ("None", "it gives NoneType"),
        ("float('nan')", "it gives nan"),
        ("1e308 * 10", "it gives inf"),
        ("-1e101", "no number to reckon with"),
        ("10 ** 400", "OverflowError"),
        ("", "it is no expression of Python"),
        ("x = 1", "it is no expression of Python"),
        ("1)\n[0] * 9\n(2", "it is no expression of Python"),
        ("(float := len)(answer)", "it may not give names to values (:=)"),
        ("(" * 2000 + ")" * 2000, "it is no expression of Python"),
        ("-" * 4000 + "1", "it is no expression of Python"),
        ("7" * 5000, "it has more than 4096 characters"),
        ("open('/etc/passwd').read()", "PermissionError"),
        ("[[0] * 10000 for _ in range(10 ** 9)]", "MemoryError"),
        ("answer.__class__.__mro__", "AttributeError"),
    ],
)
async def test_what_gives_no_number_says_why(expressions: Expressions, expression: str, why: str) -> None:
    with pytest.raises(Refused) as refused:
        await expressions.value(expression, INPUTS)
    assert why in str(refused.value)
    assert len(str(refused.value)) <= 300


async def test_an_endless_expression_is_stopped_and_the_next_one_works(expressions: Expressions) -> None:
    with pytest.raises(Refused):
        await expressions.value("[0 for a in range(10**9) for b in range(10**9) if False]", INPUTS)
    assert await expressions.value("tokens", INPUTS) == 120.0


async def test_a_text_is_data_and_never_code(expressions: Expressions) -> None:
    assert await expressions.value("len(answer)", {"answer": '"""\n1 / 0'}) == 9.0
