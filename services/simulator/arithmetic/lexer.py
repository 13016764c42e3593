"""Text → arithmetic tokens: numbers in digits and words, operators in signs and words.

In: cutting the text into tokens. Out: the words' meanings (`vocabulary`) and the grammar (`parser`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from services.simulator.arithmetic.number_words import NUMBER_WORDS, joins, joins_with_and, spoken_number
from services.simulator.arithmetic.vocabulary import FILLER, PHRASES, SIGNS, WORDS, Kind


@dataclass(frozen=True)
class Token:
    """`text` is the canonical word or sign; `spoken` tells "times" from "*"; `tight`: between digits."""

    kind: Kind
    text: str
    value: int | float = 0
    spoken: bool = False
    tight: bool = False


_LEXEME = re.compile(
    r"""
    (?P<opaque>https?://\S+ | \d{4}-\d{1,2}-\d{1,2}\b | \d{1,2}:\d{2}\b | \d+(?:\.\d+){2,}
        | [^\W\d][\w-]*\.[a-z]\w{0,7}\b | \d+(?![xe][\d+-])[a-z_]\w* )
  | (?P<number>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,]) | \d+(?:\.\d+)?(?:e[+-]?\d{1,3})? | \.\d+)
  | (?P<times>x(?=\s*[\d(.]))
  | (?P<sign>\*\* | [-+*/^×·÷−–])
  | (?P<percent>%)
  | (?P<open>\() | (?P<close>\))
  | (?P<stop>[.?!;:\n]+) | (?P<comma>,)
  | (?P<quiet>[\s$€£=]+)
  | (?P<word>[^\W\d_](?:[\w']|-(?=\w))*)
  | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)


def tokenize(text: str) -> list[Token]:
    """The arithmetic tokens of a text; words that mean nothing here become `UNKNOWN`."""
    return list(_merge_spoken_numbers(_raw_tokens(_normalise(text))))


def _normalise(text: str) -> str:
    text = text.lower()
    for pattern, replacement in PHRASES:
        text = pattern.sub(replacement, text)
    return text


def _raw_tokens(text: str) -> Iterator[Token]:
    for match in _LEXEME.finditer(text):
        group, lexeme = str(match.lastgroup), match.group()
        if group == "word":
            yield from _word_tokens(lexeme)
        elif group != "quiet":
            yield _symbol_token(group, lexeme, _is_tight(text, match.start(), match.end()))


def _is_tight(text: str, start: int, end: int) -> bool:
    return start > 0 and text[start - 1].isdigit() and text[end : end + 1].isdigit()


def _symbol_token(group: str, lexeme: str, tight: bool) -> Token:
    match group:
        case "number":
            digits = lexeme.replace(",", "")
            return Token(Kind.NUMBER, lexeme, float(digits) if {".", "e"} & set(digits) else int(digits))
        case "sign":
            return Token(Kind.OPERATOR, SIGNS.get(lexeme, lexeme), tight=tight)
        case "times":
            return Token(Kind.OPERATOR, "*")
        case "percent" | "open" | "close" | "stop" | "comma":
            return Token(Kind[group.upper()], lexeme)
        case _:
            return Token(Kind.UNKNOWN, lexeme)


def _word_tokens(word: str) -> Iterator[Token]:
    if word in WORDS:
        kind, text = WORDS[word]
        yield Token(kind, text, spoken=True)
    elif all(part in NUMBER_WORDS for part in word.split("-")):
        yield from (Token(Kind.NUMBER, part, spoken=True) for part in word.split("-"))
    elif word not in FILLER:
        yield Token(Kind.UNKNOWN, word)


def _merge_spoken_numbers(tokens: Iterator[Token]) -> Iterator[Token]:
    """Runs of number words become one number: two · hundred · and · five → 205."""
    run: list[str] = []
    conjunction: Token | None = None
    for token in tokens:
        if token.spoken and token.kind is Kind.NUMBER:
            fits = joins if conjunction is None else joins_with_and
            if run and not fits(run[-1], token.text):
                yield from _flush(run, conjunction)
                run = []
            conjunction = None
            run.append(token.text)
        elif token.kind is Kind.AND and run and conjunction is None:
            conjunction = token
        else:
            yield from _flush(run, conjunction)
            run, conjunction = [], None
            yield token
    yield from _flush(run, conjunction)


def _flush(run: list[str], conjunction: Token | None) -> Iterator[Token]:
    if run:
        yield Token(Kind.NUMBER, " ".join(run), spoken_number(run), spoken=True)
    if conjunction is not None:
        yield conjunction
