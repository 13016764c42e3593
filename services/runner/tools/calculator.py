"""Arithmetic on two numbers: exact where the result is exact, else 16 digits, bounded in every case."""

import math
from decimal import (
    Context,
    Decimal,
    DecimalException,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    Underflow,
)
from typing import Annotated, Literal

from pydantic import Field, JsonValue, PlainValidator, WithJsonSchema

from services.runner.tools.base import BaseTool, ToolContext, ToolError, ToolParameters
from shared.steps import Effect

Operation = Literal["add", "subtract", "multiply", "divide", "power"]
LARGEST = 1000
WHOLE_DIGITS, FRACTION_DIGITS = LARGEST, 50
EXACT_SHOWN, ROUNDED_SHOWN = 28, 16
FORMS = {
    "add": "{x} + {y} = {result}",
    "subtract": "{x} - {y} = {result}",
    "multiply": "{x} * {y} = {result}",
    "divide": "{x} / {y} = {result}",
    "power": "{x}^{y} = {result}",
}


def _number(value: object) -> Decimal:
    """A JSON number as the decimal that was written: 0.1 is one tenth, not the nearest binary fraction."""
    if isinstance(value, int) and not isinstance(value, bool):
        number = Decimal(value)
    elif isinstance(value, float) and math.isfinite(value):
        number = Decimal(repr(value))
    else:
        raise ValueError("must be a finite number, such as 5 or 0.1")
    if number and number.adjusted() >= LARGEST:
        raise ValueError(f"must be smaller than 10^{LARGEST}")
    return number


Number = Annotated[Decimal, PlainValidator(_number), WithJsonSchema({"type": "number"})]


class CalculatorParameters(ToolParameters):
    operation: Operation = Field(description="What to do with x and y; power is x to the power of y.")
    x: Number = Field(description="First number.")
    y: Number = Field(description="Second number.")


class Calculator(BaseTool[CalculatorParameters]):
    name = "calculator"
    display_name = "Calculator"
    description = "Adds, subtracts, multiplies, divides or raises to a power two numbers."
    icon = "IconCalculator"
    effect = Effect.PURE
    timeout_s = 5.0
    Parameters = CalculatorParameters

    async def execute(self, arguments: CalculatorParameters, context: ToolContext) -> JsonValue:
        result = calculate(arguments.operation, arguments.x, arguments.y)
        base = show(arguments.x)
        if arguments.operation == "power" and arguments.x < 0:
            base = f"({base})"
        return FORMS[arguments.operation].format(x=base, y=show(arguments.y), result=result)


def calculate(operation: Operation, x: Decimal, y: Decimal) -> str:
    """The result as text. Raises ToolError where there is none, or none of bearable size."""
    whole = x == x.to_integral_value() and y == y.to_integral_value()
    arithmetic = Context(
        prec=WHOLE_DIGITS if whole else FRACTION_DIGITS,
        Emax=LARGEST - 1,
        Emin=1 - LARGEST,
        traps=[DivisionByZero, InvalidOperation, Overflow, Underflow],
    )
    try:
        result = getattr(arithmetic, operation)(x, y)
    except DecimalException as error:
        raise ToolError(_why(operation, x, y, error)) from None
    if not result.is_finite():
        raise ToolError(_why(operation, x, y, DivisionByZero()))
    return show(result, ROUNDED_SHOWN if arithmetic.flags[Inexact] else EXACT_SHOWN)


def _why(operation: Operation, x: Decimal, y: Decimal, error: DecimalException) -> str:
    if operation == "divide" and y == 0:
        return "Division by zero has no result; y must not be 0."
    if operation == "power" and x == 0:
        return "0 to the power of 0 or of a negative number has no result; x must not be 0 there."
    if isinstance(error, Overflow):
        return f"The result is 10^{LARGEST} or larger, more than this calculator shows; use smaller numbers."
    if isinstance(error, Underflow):
        return f"The result is closer to 0 than 10^-{LARGEST}; use larger numbers."
    return "A negative number to a fractional power has no real result; x must be positive or y whole."


def show(number: Decimal, digits: int = EXACT_SHOWN) -> str:
    """Whole numbers in full, others rounded to `digits` significant digits without trailing zeros."""
    if number == number.to_integral_value() and digits == EXACT_SHOWN:
        return f"{number:.0f}" if number else "0"
    rounded = Context(prec=digits).plus(number).normalize(Context(prec=digits))
    return f"{rounded:f}" if -7 <= rounded.adjusted() < 21 else f"{rounded:e}"
