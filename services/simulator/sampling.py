"""Chance of one completion: seeded by the request, so that equal requests can have equal answers.

Temperature 0: everything follows from the request. Above 0 with a random_seed: from the request and
the seed. Above 0 without one: every call differs.
"""

import hashlib
import random
import string
from collections.abc import Sequence
from typing import TypeVar

Option = TypeVar("Option")

_ALPHABET = string.digits + string.ascii_letters
_NUMBER_WIDTH = 2
MAX_STEP_NUMBER = 36**_NUMBER_WIDTH - 1


class Sampler:
    """The source of chance of one answer (`choice` counts the answers of a request with n > 1)."""

    def __init__(self, fingerprint: bytes, temperature: float, seed: int | None, choice: int = 0) -> None:
        self.temperature = temperature
        if temperature > 0 and seed is None:
            self._random = random.Random()
        else:
            salt = b"" if temperature == 0 else str(seed).encode()
            key = b"%s|%s|%d" % (fingerprint, salt, choice)
            self._random = random.Random(hashlib.blake2b(key, digest_size=16).digest())

    def wording(self, options: Sequence[str]) -> str:
        """One of several ways to say the same; always the first at temperature 0."""
        return options[0] if self.temperature == 0 else self._random.choice(options)

    def choose(self, options: Sequence[Option]) -> Option:
        return self._random.choice(options)

    def happens(self, chance: float) -> bool:
        return self._random.random() < chance

    def call_id(self, step: int) -> str:
        """A tool call id as the API forms them (nine letters and digits) that carries a plan's step:
        six of chance, one check character, two for the step."""
        free = "".join(self._random.choices(_ALPHABET, k=6))
        number = _base36(step)
        return f"{free}{_check(free + number)}{number}"


def step_of(call_id: str) -> int | None:
    """The step that `Sampler.call_id` wrote into an id; None for the id of another origin."""
    free, check, number = call_id[:6], call_id[6:7], call_id[7:]
    if len(call_id) != 9 or check != _check(free + number):
        return None
    try:
        return int(number, 36) if number == number.lower() else None
    except ValueError:
        return None


def _base36(number: int) -> str:
    digits = string.digits + string.ascii_lowercase
    high, low = divmod(min(number, MAX_STEP_NUMBER), 36)
    return digits[high] + digits[low]


def _check(text: str) -> str:
    return _ALPHABET[sum((i + 1) * ord(c) for i, c in enumerate(text)) % len(_ALPHABET)]
