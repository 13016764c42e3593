"""Calculations taken apart: operations in the order they can be done, and the sentence that answers.

In: steps without a tool in sight. Out: reading the question (`arithmetic`), calling a calculator.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.simulator.arithmetic.expression import (
    Expression,
    Number,
    Operation,
    Operator,
    Value,
    format_value,
    render,
)
from services.simulator.sampling import Sampler


@dataclass(frozen=True)
class Ref:
    """An operand that an earlier sum computes."""

    index: int


@dataclass(frozen=True)
class Sum:
    """One operation on two operands."""

    operator: Operator
    left: Value | Ref
    right: Value | Ref

    @property
    def needs(self) -> tuple[int, ...]:
        return tuple(o.index for o in (self.left, self.right) if isinstance(o, Ref))

    def operands(self, values: Mapping[int, Value]) -> tuple[Value, Value]:
        x, y = (values[o.index] if isinstance(o, Ref) else o for o in (self.left, self.right))
        return x, y


@dataclass(frozen=True)
class Sums:
    """Independent calculations; `roots` are the indices of the sums that hold their results."""

    expressions: tuple[Operation, ...]
    sums: tuple[Sum, ...]
    roots: tuple[int, ...]


def take_apart(expressions: Sequence[Operation]) -> Sums:
    """The operations of all expressions, each after those it needs."""
    sums: list[Sum] = []

    def add(expression: Expression) -> Value | Ref:
        if isinstance(expression, Number):
            return expression.value
        left, right = add(expression.left), add(expression.right)
        sums.append(Sum(expression.operator, left, right))
        return Ref(len(sums) - 1)

    roots = [root.index for e in expressions if isinstance(root := add(e), Ref)]
    return Sums(tuple(expressions), tuple(sums), tuple(roots))


def slip(x: Value, y: Value, sampler: Sampler) -> tuple[Value, Value]:
    """Two operands of which one is wrong, as a model that misreads a digit makes them."""
    change = sampler.choose((1, -1, 10, -10, 2))
    return (x + change, y) if sampler.happens(0.5) else (x, y + change)


def conclusion(sums: Sums, values: Mapping[int, Value], failures: Sequence[str], sampler: Sampler) -> str:
    """The answer to the question, with what could not be computed and why."""
    parts = _results(sums, values, sampler)
    if failures:
        reason = "; ".join(dict.fromkeys(text.rstrip(".") for text in failures))
        parts.append(f"I could not compute {'the rest' if parts else 'this'}: {reason}.")
    return " ".join(parts)


def _results(sums: Sums, values: Mapping[int, Value], sampler: Sampler) -> list[str]:
    pairs = zip(sums.roots, sums.expressions, strict=True)
    found = [(render(e), format_value(values[root])) for root, e in pairs if root in values]
    if len(sums.roots) == 1 and found:
        wordings = ("The result is {}.", "The answer is {}.", "That makes {}.", "The final result is {}.")
        return [sampler.wording(wordings).format(found[0][1])]
    said = [f"{expression} = {value}" for expression, value in found]
    if len(said) < 2:
        return [f"{text}." for text in said]
    return [f"{', '.join(said[:-1])} and {said[-1]}."]
