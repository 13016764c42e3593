"""Reading tokens one by one and joining numbers to expressions, within bounds.

In: the cursor, "it", percentages, limits. Out: the grammar (`terms`, `step`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from services.simulator.arithmetic.expression import Expression, Number, Operation, Operator, tidy
from services.simulator.arithmetic.lexer import Token
from services.simulator.arithmetic.vocabulary import Kind

MAX_DEPTH = 40
MAX_OPERATIONS = 200
ADDITIVE = {"+": Operator.ADD, "-": Operator.SUBTRACT}
_END = Token(Kind.STOP, "")
_BEGINNINGS = (Kind.NUMBER, Kind.OPEN, Kind.REFERENCE, Kind.FUNCTION)


class ParseFailure(Exception):
    """These tokens are no calculation."""


class TooLong(ParseFailure):
    """More operations or deeper brackets than anybody asks a model for."""


@dataclass(frozen=True)
class Percent:
    """`10%` before it is known whether it stands for 0.1 or for a share of something."""

    value: int | float


class Reader:
    """Tokens from `position` on; `used_previous` tells whether the previous result ("it") was needed."""

    def __init__(self, tokens: list[Token], position: int, previous: Expression | None) -> None:
        self.position = position
        self.used_previous = False
        self.operations = 0
        self._tokens = tokens
        self._previous = previous
        self._depth = 0

    def peek(self, ahead: int = 0) -> Token:
        index = self.position + ahead
        return self._tokens[index] if index < len(self._tokens) else _END

    def take(self) -> Token:
        token = self.peek()
        self.position += 1
        return token

    def starts_operand(self, ahead: int) -> bool:
        token = self.peek(ahead)
        return token.kind in _BEGINNINGS or (token.text in ADDITIVE and not token.spoken)

    @property
    def has_previous(self) -> bool:
        return self._previous is not None

    def it(self) -> Expression:
        """The result so far."""
        if self._previous is None:
            raise ParseFailure("there is no previous result")
        self.used_previous = True
        return self._previous

    def join(self, operator: Operator, left: Expression, right: Expression | Percent) -> Expression:
        """One operation; a percentage that is added or taken off is a share of the left side."""
        self.operations += 1
        if self.operations > MAX_OPERATIONS:
            raise TooLong(f"more than {MAX_OPERATIONS} operations")
        if isinstance(right, Percent) and operator in (Operator.ADD, Operator.SUBTRACT):
            share = right.value if operator is Operator.ADD else -right.value
            return Operation(Operator.MULTIPLY, left, Number(tidy((100 + share) / 100)))
        return Operation(operator, left, plain(right))

    @contextmanager
    def deeper(self) -> Iterator[None]:
        """Counts nesting while it is open, so that brackets cannot exhaust the stack."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TooLong(f"more than {MAX_DEPTH} levels")
        yield
        self._depth -= 1


def plain(value: Expression | Percent) -> Expression:
    """A percentage that stands alone is a fraction."""
    return Number(tidy(value.value / 100)) if isinstance(value, Percent) else value
