"""Embeddings: unit vectors that follow from the text alone; texts that share words and letters are near.

Every word and every three letters in a row add to (or take from) one dimension, picked by a hash.
"""

import math
import re
from collections.abc import Iterator
from zlib import crc32

DIMENSIONS = 1_024
WORD_WEIGHT = 3.0
_WORD = re.compile(r"\w+")


def embed(text: str) -> list[float]:
    """The vector of a text, of length 1."""
    vector = [0.0] * DIMENSIONS
    for feature, weight in _features(text.lower()):
        code = crc32(feature.encode())
        vector[code % DIMENSIONS] += weight if code & 0x8000_0000 else -weight
    length = math.sqrt(sum(value * value for value in vector))
    if length == 0.0:
        return [1.0, *vector[1:]]
    return [value / length for value in vector]


def _features(text: str) -> Iterator[tuple[str, float]]:
    for word in _WORD.findall(text):
        yield word, WORD_WEIGHT
        padded = f" {word} "
        yield from ((padded[i : i + 3], 1.0) for i in range(len(padded) - 2))
