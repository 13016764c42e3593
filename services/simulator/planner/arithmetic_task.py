"""Questions of arithmetic: as calculator calls where a calculator is offered, else in the head.

In: how sums become calls. Out: reading the question (`arithmetic`), taking it apart (`sums`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.simulator.arithmetic import parser
from services.simulator.arithmetic.expression import (
    ArithmeticFailure,
    Number,
    Operator,
    Value,
    apply,
    format_value,
)
from services.simulator.models import Model
from services.simulator.planner.calculator import Calculator, bind
from services.simulator.planner.offer import OfferedTool, find
from services.simulator.planner.results import read_number
from services.simulator.planner.steps import Failure, Outcome, PlannedCall, Step, Success
from services.simulator.planner.sums import Sum, Sums, conclusion, slip, take_apart
from services.simulator.sampling import Sampler

_SAYING = {
    Operator.ADD: "add {x} and {y}",
    Operator.SUBTRACT: "subtract {y} from {x}",
    Operator.MULTIPLY: "multiply {x} by {y}",
    Operator.DIVIDE: "divide {x} by {y}",
    Operator.POWER: "raise {x} to the power of {y}",
}


@dataclass(frozen=True)
class CalculatorStep(Step):
    """One sum as a call of the calculator."""

    sum: Sum
    calculator: Calculator

    @property
    def slippery(self) -> bool:
        return True

    @property
    def needs(self) -> tuple[int, ...]:
        return self.sum.needs

    def call(self, results: Mapping[int, str]) -> PlannedCall:
        return self._call(*self.sum.operands(_numbers(results)))

    def read(self, result: str) -> Outcome:
        outcome = super().read(result)
        if isinstance(outcome, Success) and read_number(result) is None:
            return Failure("the calculator's answer holds no number")
        return outcome

    def slipped(self, call: PlannedCall, sampler: Sampler) -> PlannedCall:
        x, y = (call.arguments[name] for name in (self.calculator.x, self.calculator.y))
        return self._call(*slip(x, y, sampler))

    def _call(self, x: Value, y: Value) -> PlannedCall:
        bound, operator = self.calculator, self.sum.operator
        arguments: dict[str, Any] = {bound.operation: bound.words[operator], bound.x: x, bound.y: y}
        saying = _SAYING[operator].format(x=format_value(x), y=format_value(y))
        return PlannedCall(bound.tool, arguments, saying)


@dataclass(frozen=True)
class ArithmeticTask:
    sums: Sums
    steps: tuple[CalculatorStep, ...]

    def conclude(self, outcomes: Mapping[int, Outcome], sampler: Sampler) -> str:
        failures = [o.reason for o in outcomes.values() if isinstance(o, Failure)]
        values = _numbers({i: o.text for i, o in outcomes.items() if isinstance(o, Success)})
        return conclusion(self.sums, values, failures, sampler)


@dataclass(frozen=True)
class MentalArithmetic:
    """The same without a calculator: no steps to call, computed when asked to conclude."""

    sums: Sums
    model: Model
    steps: tuple[Step, ...] = ()

    def conclude(self, outcomes: Mapping[int, Outcome], sampler: Sampler) -> str:
        values: dict[int, Value] = {}
        failures: list[str] = []
        for index, one in enumerate(self.sums.sums):
            if any(need not in values for need in one.needs):
                continue
            x, y = one.operands(values)
            if sampler.happens(self.model.slip_chance(index, sampler.temperature)):
                x, y = slip(x, y, sampler)
            try:
                values[index] = apply(one.operator, x, y)
            except ArithmeticFailure as failure:
                failures.append(str(failure))
        return conclusion(self.sums, values, failures, sampler)


def recognise(
    text: str, tools: Sequence[OfferedTool], model: Model, previous: Value | None
) -> ArithmeticTask | MentalArithmetic | None:
    """The arithmetic a text asks for; `previous` is what "it" stands for."""
    found = parser.parse(text, None if previous is None else Number(previous))
    if not found:
        return None
    sums = take_apart(found)
    tool = find(tools, "calculator", "calculate", "calc", "math")
    calculator = bind(tool) if tool is not None else None
    if calculator is None or any(one.operator not in calculator.words for one in sums.sums):
        return MentalArithmetic(sums, model)
    return ArithmeticTask(sums, tuple(CalculatorStep(one, calculator) for one in sums.sums))


def _numbers(results: Mapping[int, str]) -> dict[int, Value]:
    numbers = {index: read_number(text) for index, text in results.items()}
    return {index: number for index, number in numbers.items() if number is not None}
