"""Arithmetic tokens → expressions: chains ("…, then multiply by 3") and independent questions.

In: cutting a text into steps, what is a question at all. Out: the grammar of a step, computing.
"""

from dataclasses import dataclass, field

from services.simulator.arithmetic.expression import Expression, Number, Operation
from services.simulator.arithmetic.lexer import Token, tokenize
from services.simulator.arithmetic.reader import MAX_OPERATIONS, ParseFailure, TooLong
from services.simulator.arithmetic.step import Step
from services.simulator.arithmetic.vocabulary import Kind

MAX_TEXT = 4_000
"""A longer text is prose that happens to hold numbers."""
_BREAKS = (Kind.COMMA, Kind.AND, Kind.THEN, Kind.STOP, Kind.CUE, Kind.PREPOSITION)


@dataclass
class _Reading:
    """What was read so far: expressions, whether a question was asked, how many foreign words."""

    expressions: list[Expression] = field(default_factory=list)
    asked: bool = False
    foreign: int = 0
    operations: int = 0


def parse(text: str, previous: Expression | None = None) -> list[Operation]:
    """The independent calculations a text asks for, in order; empty when it asks for none.

    `previous` is what "it" means before anything was computed (the answer given a turn ago).
    """
    if len(text) > MAX_TEXT or not any(character.isalnum() for character in text):
        return []
    try:
        reading = _read(tokenize(text), previous)
    except TooLong:
        return []
    found = [item for item in reading.expressions if isinstance(item, Operation)]
    return found if reading.asked or not reading.foreign else []


def _read(tokens: list[Token], previous: Expression | None) -> _Reading:
    reading, position = _Reading(), 0
    while position < len(tokens):
        token = tokens[position]
        if token.kind in _BREAKS or token.kind is Kind.UNKNOWN:
            _note(reading, token)
            position += 1
            continue
        position = _read_step(tokens, position, reading, previous)
    return reading


def _note(reading: _Reading, token: Token) -> None:
    reading.asked = reading.asked or token.kind is Kind.CUE or "?" in token.text
    if token.kind is Kind.UNKNOWN:
        reading.foreign += 1
        _drop_seed(reading)


def _drop_seed(reading: _Reading) -> None:
    """A bare number before a foreign word ("3 models") is no beginning of a calculation."""
    if reading.expressions and isinstance(reading.expressions[-1], Number):
        reading.expressions.pop()


def _read_step(tokens: list[Token], start: int, reading: _Reading, previous: Expression | None) -> int:
    """Reads one step from `start`; returns where to go on (at least one token further)."""
    current = reading.expressions[-1] if reading.expressions else previous
    after_then = start > 0 and tokens[start - 1].kind is Kind.THEN
    step = Step(tokens, start, current)
    try:
        expression = step.read(after_then)
    except TooLong:
        raise
    except ParseFailure:
        return max(start + 1, step.position - 1)
    if _is_range(tokens, start, step.position):
        return step.position
    reading.asked = reading.asked or (tokens[start].kind is Kind.VERB and isinstance(expression, Operation))
    reading.operations += step.operations
    if reading.operations > MAX_OPERATIONS:
        raise TooLong(f"more than {MAX_OPERATIONS} operations")
    if step.used_previous and reading.expressions:
        reading.expressions[-1] = expression
    else:
        reading.expressions.append(expression)
    return max(step.position, start + 1)


def _is_range(tokens: list[Token], start: int, end: int) -> bool:
    """`3-4 sentences`, `in 1990-1995`: digits glued by one sign, right beside a foreign word."""
    glued = end - start == 3 and tokens[start + 1].tight and tokens[start + 1].text in ("-", "/")
    beside = [*tokens[max(0, start - 1) : start], *tokens[end : end + 1]]
    return glued and any(token.kind is Kind.UNKNOWN for token in beside)
