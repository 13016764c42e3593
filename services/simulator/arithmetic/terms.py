"""The grammar of expressions: precedence, brackets, percentages, functions ("sum of …", "half of …").

Usual precedence; `-2^2` is -(2^2) and powers associate to the right, as in Python. A percentage that
is added or taken off is a share of what stands left of it (`200 + 10%` is 220), any other a fraction.
"""

from collections.abc import Mapping, Sequence

from services.simulator.arithmetic.expression import Expression, Number, Operation, Operator
from services.simulator.arithmetic.lexer import Token
from services.simulator.arithmetic.reader import ADDITIVE, ParseFailure, Percent, Reader, plain
from services.simulator.arithmetic.vocabulary import Kind

_MULTIPLICATIVE = {"*": Operator.MULTIPLY, "/": Operator.DIVIDE}
_LISTED = {
    "sum": Operator.ADD,
    "product": Operator.MULTIPLY,
    "difference": Operator.SUBTRACT,
    "quotient": Operator.DIVIDE,
}
_SCALING = {
    "double": (Operator.MULTIPLY, 2),
    "twice": (Operator.MULTIPLY, 2),
    "triple": (Operator.MULTIPLY, 3),
    "half": (Operator.DIVIDE, 2),
    "halve": (Operator.DIVIDE, 2),
    "quarter": (Operator.DIVIDE, 4),
    "square": (Operator.POWER, 2),
    "squared": (Operator.POWER, 2),
    "cube": (Operator.POWER, 3),
    "cubed": (Operator.POWER, 3),
    "sqrt": (Operator.POWER, 0.5),
}


class Terms(Reader):
    """A recursive descent, one method for each level of precedence. `listed` counts the operands of a
    "sum of …" so far: after two of them a spoken operator ends the list ("sum of 5 and 10 times 3")."""

    def expression(self, left: Expression | None = None) -> Expression:
        return plain(self.sum(left))

    def sum(self, left: Expression | None = None, listed: int = 0) -> Expression | Percent:
        result = self._product(left, listed)
        while self._at_operator(ADDITIVE, listed):
            operator = ADDITIVE[self.take().text]
            result = self.join(operator, plain(result), self._product())
        return result

    def _product(self, left: Expression | None = None, listed: int = 0) -> Expression | Percent:
        result = self._unary() if left is None else self._power(left)
        while True:
            if self._at_operator(_MULTIPLICATIVE, listed):
                operator = _MULTIPLICATIVE[self.take().text]
            elif self.peek().text == "of" and isinstance(result, Percent):
                self.take()
                operator = Operator.MULTIPLY
            elif self.peek().kind is Kind.OPEN and self.starts_operand(1):
                operator = Operator.MULTIPLY
            else:
                return result
            result = self.join(operator, plain(result), self._unary())

    def _at_operator(self, operators: Mapping[str, Operator], listed: int) -> bool:
        """Whether an operator with an operand stands here."""
        token = self.peek()
        if token.kind is not Kind.OPERATOR or token.text not in operators or (token.spoken and listed >= 2):
            return False
        signed = self.peek(1).text in ADDITIVE
        return self.starts_operand(2 if signed else 1)

    def _unary(self) -> Expression | Percent:
        negative = False
        while self.peek().kind is Kind.OPERATOR and self.peek().text in ADDITIVE:
            negative ^= self.take().text == "-"
        value = self._power(self._primary())
        if not negative:
            return value
        if isinstance(value, Percent):
            return Percent(-value.value)
        return Number(-value.value) if isinstance(value, Number) else self._negated(value)

    def _negated(self, value: Operation) -> Expression:
        return self.join(Operator.SUBTRACT, Number(0), value)

    def _power(self, base: Expression | Percent) -> Expression | Percent:
        while self.peek().kind is Kind.POSTFIX:
            base = self._scale(self.take().text, plain(base))
        if self.peek().kind is Kind.OPERATOR and self.peek().text == "^":
            self.take()
            with self.deeper():
                base = self.join(Operator.POWER, plain(base), self._unary())
        return base

    def _primary(self) -> Expression | Percent:
        token = self.take()
        match token.kind:
            case Kind.NUMBER:
                return self._percent_or_number(token)
            case Kind.REFERENCE:
                return self.it()
            case Kind.OPEN:
                return self._bracket()
            case Kind.FUNCTION:
                with self.deeper():
                    return self._function(token.text)
            case _:
                raise ParseFailure(f"no number at {token.text!r}")

    def _bracket(self) -> Expression:
        with self.deeper():
            inside = self.expression()
        if self.take().kind is not Kind.CLOSE:
            raise ParseFailure("a bracket is not closed")
        return inside

    def _percent_or_number(self, token: Token) -> Expression | Percent:
        if self.peek().kind is not Kind.PERCENT:
            return Number(token.value)
        self.take()
        return Percent(token.value)

    def _function(self, name: str) -> Expression:
        """`half of 80`, `square it`, `sum of 1, 2 and 3`; without an operand it works on the previous."""
        if name in _SCALING:
            if self.peek().text == "of":
                self.take()
            operand = plain(self._unary()) if self.starts_operand(0) else self.it()
            return self._scale(name, operand)
        if self.take().text not in ("of", "between"):
            raise ParseFailure(f"{name} of what?")
        operands = self._list()
        result = self.fold(_LISTED.get(name, Operator.ADD), operands)
        if name in ("average", "mean"):
            return self.join(Operator.DIVIDE, result, Number(len(operands)))
        return result

    def _list(self) -> list[Expression | Percent]:
        operands = [self.sum()]
        while self.peek().kind in (Kind.AND, Kind.COMMA) and self.starts_operand(1):
            if len(operands) >= 2 and self.peek(1).text in _LISTED:
                break
            self.take()
            operands.append(self.sum(listed=len(operands) + 1))
        return operands

    def fold(self, operator: Operator, operands: Sequence[Expression | Percent]) -> Expression:
        """The operands joined from left to right."""
        if len(operands) < 2:
            raise ParseFailure("an operation needs two numbers")
        result = plain(operands[0])
        for operand in operands[1:]:
            result = self.join(operator, result, operand)
        return result

    def _scale(self, name: str, operand: Expression) -> Expression:
        operator, factor = _SCALING[name]
        return self.join(operator, operand, Number(factor))
