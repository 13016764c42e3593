"""Arithmetic expressions: what the parser builds, how they are computed and written down.

In: numbers, the five operations, evaluation with bounds. Out: reading text (`lexer`, `parser`).
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

Value: TypeAlias = int | float

MAX_BITS = 4_096
"""Whole numbers are exact up to this size (about 1,200 digits); what is larger is no result."""


class Operator(StrEnum):
    ADD = "add"
    SUBTRACT = "subtract"
    MULTIPLY = "multiply"
    DIVIDE = "divide"
    POWER = "power"


SIGNS = {
    Operator.ADD: "+",
    Operator.SUBTRACT: "-",
    Operator.MULTIPLY: "×",
    Operator.DIVIDE: "÷",
    Operator.POWER: "^",
}


class ArithmeticFailure(Exception):
    """This cannot be computed; the message says why, in words."""


@dataclass(frozen=True)
class Number:
    value: Value


@dataclass(frozen=True)
class Operation:
    operator: Operator
    left: "Expression"
    right: "Expression"


Expression: TypeAlias = Number | Operation


def evaluate(expression: Expression) -> Value:
    """The value of an expression; raises `ArithmeticFailure` (division by zero, too large)."""
    if isinstance(expression, Number):
        return expression.value
    return apply(expression.operator, evaluate(expression.left), evaluate(expression.right))


def apply(operator: Operator, x: Value, y: Value) -> Value:
    """One operation on two numbers, whole numbers staying whole where the result is whole."""
    try:
        return tidy(_compute(operator, x, y))
    except OverflowError as error:
        raise ArithmeticFailure("the result is too large") from error


def _compute(operator: Operator, x: Value, y: Value) -> Value:
    match operator:
        case Operator.ADD:
            return x + y
        case Operator.SUBTRACT:
            return x - y
        case Operator.MULTIPLY:
            return x * y
        case Operator.DIVIDE:
            return _divide(x, y)
        case Operator.POWER:
            return _power(x, y)


def _divide(x: Value, y: Value) -> Value:
    if y == 0:
        raise ArithmeticFailure("division by zero is not defined")
    if isinstance(x, int) and isinstance(y, int) and x % y == 0:
        return x // y
    return x / y


def _power(x: Value, y: Value) -> Value:
    if x == 0 and y < 0:
        raise ArithmeticFailure("zero cannot be raised to a negative power")
    if isinstance(x, int) and isinstance(y, int) and y >= 0:
        if max(1, abs(x).bit_length()) * y <= MAX_BITS:
            return int(x**y)
        return math.pow(x, y)
    if x < 0 and not float(y).is_integer():
        raise ArithmeticFailure("a negative number has no real fractional power")
    return math.pow(x, y)


def tidy(value: Value) -> Value:
    """`3.0` as `3`; refuses what is not a finite number of bearable size."""
    if isinstance(value, int) and value.bit_length() <= MAX_BITS:
        return value
    if isinstance(value, int) or not math.isfinite(value):
        raise ArithmeticFailure("the result is too large")
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def format_value(value: Value) -> str:
    """A number as a person writes it: no trailing zeros, no noise of binary fractions."""
    return str(value) if isinstance(value, int) else format(value, ".12g")


def render(expression: Expression) -> str:
    """The expression in usual signs, with the brackets it needs: `(5 + 10) × 3`."""
    if isinstance(expression, Number):
        return format_value(expression.value)
    left, right = _bracketed(expression.left), _bracketed(expression.right)
    return f"{left} {SIGNS[expression.operator]} {right}"


def _bracketed(expression: Expression) -> str:
    text = render(expression)
    plain = isinstance(expression, Number) and not text.startswith("-")
    return text if plain else f"({text})"
