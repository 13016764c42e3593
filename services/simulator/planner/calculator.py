"""How an offered calculator is spoken to: which argument is what, read from its schema."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.simulator.arithmetic.expression import Operator
from services.simulator.planner.offer import OfferedTool

_SYNONYMS: dict[Operator, tuple[str, ...]] = {
    Operator.ADD: ("add", "addition", "plus", "sum", "+"),
    Operator.SUBTRACT: ("subtract", "subtraction", "minus", "sub", "-"),
    Operator.MULTIPLY: ("multiply", "multiplication", "times", "mul", "*"),
    Operator.DIVIDE: ("divide", "division", "div", "/"),
    Operator.POWER: ("power", "pow", "exponent", "exponentiate", "**", "^"),
}


@dataclass(frozen=True)
class Calculator:
    """How the offered calculator names its arguments and operations."""

    tool: str
    operation: str
    x: str
    y: str
    words: Mapping[Operator, str]


def bind(tool: OfferedTool) -> Calculator | None:
    """Which argument is the operation and which the operands, read from the tool's schema."""
    properties = tool.properties()
    operation = tool.slot("operation", "operator", "op", "action")
    numbers = tool.slots_of_type("number", "integer")
    x = tool.slot("x", "a", "left", "first") or next(iter(numbers), None)
    y = tool.slot("y", "b", "right", "second") or next((n for n in numbers if n != x), None)
    if operation is None or x is None or y is None:
        return None
    allowed = properties[operation].get("enum") or [names[0] for names in _SYNONYMS.values()]
    words = {
        operator: word for operator, names in _SYNONYMS.items() for word in reversed(names) if word in allowed
    }
    return Calculator(tool.name, operation, x, y, words)
