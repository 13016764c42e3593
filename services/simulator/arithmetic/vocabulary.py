"""What words and phrases mean for arithmetic. Data only; the lexer applies it."""

import re
from enum import StrEnum, auto


class Kind(StrEnum):
    """What a token is to the parser; `UNKNOWN` words end a calculation, filler words vanish."""

    NUMBER = auto()
    OPERATOR = auto()
    OPEN = auto()
    CLOSE = auto()
    PERCENT = auto()
    POSTFIX = auto()
    VERB = auto()
    FUNCTION = auto()
    REFERENCE = auto()
    PREPOSITION = auto()
    AND = auto()
    COMMA = auto()
    THEN = auto()
    STOP = auto()
    CUE = auto()
    UNKNOWN = auto()


PHRASES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[’`]", "'"),
        (r"\bwhat's\b", "what is"),
        (r"(?:,|\band\b)?\s*\b(?:then|after that|afterwards|next|finally)\b,?", " then "),
        (r"\bmultiplied by\b", " times "),
        (r"\bdivided by\b", " over "),
        (r"\b(?:raised )?to the power(?: of)?\b", " power "),
        (r"\b(?:raised )?to the second power\b", " power 2 "),
        (r"\b(?:raised )?to the third power\b", " power 3 "),
        (r"\b(?:raised )?to the fourth power\b", " power 4 "),
        (r"\braised to\b", " power "),
        (r"\bsquare root(?: of)?\b", " sqrt "),
        (r"\bnegative\b", " -"),
        (r"\btake away\b", " subtract "),
        (r"\bthe (?:result|value|answer|outcome) of\b", " "),
        (r"\bthe (?:result|value|answer|outcome|total)\b", " it "),
        (r"\bthe (?:sum|product|difference|quotient)\b(?! (?:of|between))", " it "),
        (r"\bper ?cent\b", "%"),
    )
)

SIGNS = {"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "**": "^"}

WORDS: dict[str, tuple[Kind, str]] = {
    "plus": (Kind.OPERATOR, "+"),
    "minus": (Kind.OPERATOR, "-"),
    "times": (Kind.OPERATOR, "*"),
    "over": (Kind.OPERATOR, "/"),
    "power": (Kind.OPERATOR, "^"),
    "and": (Kind.AND, "and"),
    "then": (Kind.THEN, "then"),
}
for _kind, _words in {
    Kind.POSTFIX: "squared cubed",
    Kind.VERB: "add subtract deduct multiply divide raise increase decrease reduce",
    Kind.FUNCTION: "square cube double twice triple half halve quarter sqrt sum product difference quotient "
    "average mean",
    Kind.REFERENCE: "it that this those them",
    Kind.PREPOSITION: "by to from of with between into",
    Kind.CUE: "calculate compute evaluate solve much is are equals equal work",
}.items():
    WORDS.update({word: (_kind, word) for word in _words.split()})

_FILLER = (
    "what how a an the please can could you would tell me us i want need know find out give show my hello "
    "hi hey so now first also start begin take number step-by-step at once using use calculator tool value "
    "answer do does we let's exactly dollars dollar euros euro eur usd your"
)
FILLER = frozenset(_FILLER.split())
