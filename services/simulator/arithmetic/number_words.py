"""Numbers in English words: `two hundred and five` is 205. In: cardinals up to billions."""

from collections.abc import Sequence

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = {"thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_MULTIPLIERS = ("hundred", "dozen", *_SCALES)

NUMBER_WORDS: dict[str, int] = {
    **{word: value for value, word in enumerate(_SMALL.split())},
    **{word: 20 + 10 * index for index, word in enumerate(_TENS)},
    "dozen": 12,
    "hundred": 100,
    **_SCALES,
}


def spoken_number(words: Sequence[str]) -> int:
    """The value of a run of number words, each a key of `NUMBER_WORDS`."""
    total, group = 0, 0
    for word in words:
        value = NUMBER_WORDS[word]
        if word in _SCALES:
            total, group = total + max(1, group) * value, 0
        elif word in ("hundred", "dozen"):
            group = max(1, group) * value
        else:
            group += value
    return total + group


def joins(previous: str, word: str) -> bool:
    """Whether two number words in a row belong to one number: `twenty one` do, `five ten` do not."""
    if word in _MULTIPLIERS or previous in _MULTIPLIERS:
        return True
    return previous in _TENS and 0 < NUMBER_WORDS[word] < 10


def joins_with_and(previous: str, word: str) -> bool:
    """Whether `and` between two number words is part of one number: `two hundred and five`."""
    return previous in ("hundred", "thousand") and NUMBER_WORDS[word] < 100
