"""The grammar of one step of a chain: an imperative ("add 5 to it") or an expression that may go on
from the result before it ("times 3")."""

from services.simulator.arithmetic.expression import Expression, Operation, Operator
from services.simulator.arithmetic.reader import ADDITIVE, Percent
from services.simulator.arithmetic.terms import Terms
from services.simulator.arithmetic.vocabulary import Kind

MAX_OPERANDS = 20
_SEPARATORS = (Kind.AND, Kind.COMMA, Kind.PREPOSITION)
_VERBS = {
    "add": (Operator.ADD, "to"),
    "subtract": (Operator.SUBTRACT, "from"),
    "deduct": (Operator.SUBTRACT, "from"),
    "multiply": (Operator.MULTIPLY, ""),
    "divide": (Operator.DIVIDE, ""),
    "raise": (Operator.ADD, ""),
    "increase": (Operator.ADD, ""),
    "decrease": (Operator.SUBTRACT, ""),
    "reduce": (Operator.SUBTRACT, ""),
}
"""Each verb's operation, and the preposition that turns its operands round ("subtract 1 from 5")."""


class Step(Terms):
    def read(self, after_then: bool) -> Expression:
        """`after_then`: the word "then" stands before, so that even a bare minus goes on."""
        if self.peek().kind is Kind.VERB:
            return self._imperative()
        return self.expression(self.it() if self._goes_on(after_then) else None)

    def _goes_on(self, after_then: bool) -> bool:
        """A step that begins with an operator works on the previous result; a bare minus is a sign."""
        token = self.peek()
        is_sign = token.text in ADDITIVE and not token.spoken and not after_then
        return self.has_previous and token.kind in (Kind.OPERATOR, Kind.POSTFIX) and not is_sign

    def _imperative(self) -> Expression:
        operator, reversing = _VERBS[self.take().text]
        if self.peek().text == "^":
            return self.expression(self.it())
        if self.peek().kind is Kind.PREPOSITION:
            self.take()
        operands = [self.sum()]
        while self.peek().kind in _SEPARATORS and self.starts_operand(1) and len(operands) < MAX_OPERANDS:
            separator = self.take().text
            operands.append(self.sum())
            if separator == reversing:
                operands.reverse()
        return self.fold(operator, operands) if operands[1:] else self._on_previous(operator, operands[0])

    def _on_previous(self, operator: Operator, operand: Expression | Percent) -> Expression:
        """ "add 5" works on the previous result; "raise 2 to the power of 3" says all by itself."""
        if isinstance(operand, Operation) and (not self.has_previous or operand.operator is Operator.POWER):
            return operand
        return self.join(operator, self.it(), operand)
