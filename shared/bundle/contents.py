"""What a bundle holds beside its manifest: steps as their log has them, large values by hash, and charges."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from pydantic import JsonValue

from shared.bundle.manifest import CHARGES, STEP_HASHES, STEPS
from shared.steps import BodyRef, reference_in

LARGE: Final = 64 * 1024
"""Bytes of a value's JSON text above which it is an entry of its own."""
Replacement = Callable[[BodyRef], JsonValue]


@dataclass(frozen=True)
class Contents:
    """`steps` are the JSON texts of the steps in order, `bodies` the JSON text of values by their sha256,
    `charges` a JSON array."""

    steps: tuple[bytes, ...]
    bodies: Mapping[str, bytes] = field(default_factory=dict)
    charges: bytes = b"[]"

    def entries(self) -> dict[str, bytes]:
        """By name."""
        hashes = "".join(f"{sha256_of(step)}\n" for step in self.steps)
        return {
            STEPS: b"".join(step + b"\n" for step in self.steps),
            STEP_HASHES: hashes.encode(),
            CHARGES: self.charges,
            **{f"bodies/{name}": self.bodies[name] for name in sorted(self.bodies)},
        }

    def pruned(self) -> "Contents":
        """Without values that no step points to."""
        pointed = {ref.sha256 for text in self.steps for ref in references(text)}
        return replace(self, bodies={name: text for name, text in self.bodies.items() if name in pointed})

    def whole_steps(self) -> Iterator[JsonValue]:
        """Each step with its large values back in place."""
        for step in self.steps:
            yield put_back(json.loads(step), self.bodies)


def references(text: bytes) -> list[BodyRef]:
    """The values that a step of this text points to."""
    found: list[BodyRef] = []
    if b'"$body"' in text:
        replaced(json.loads(text), found.append)
    return found


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def dumped(value: JsonValue) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def put_back(value: JsonValue, bodies: Mapping[str, bytes]) -> JsonValue:
    """The value with what its references stand for; what that holds is data."""
    return replaced(value, lambda ref: json.loads(bodies[ref.sha256]))


def moved_out(value: JsonValue, bodies: dict[str, bytes]) -> JsonValue:
    """A reference, if the value is large; then its text is one of the bodies."""
    text = dumped(value)
    if len(text) <= LARGE:
        return value
    bodies[sha256_of(text)] = text
    return dict(BodyRef(sha256=sha256_of(text), size=len(text)).model_dump())


def replaced(value: JsonValue, replacement: Replacement) -> JsonValue:
    """The value with each reference in it replaced."""
    if (ref := reference_in(value)) is not None:
        return replacement(ref)
    match value:
        case dict():
            return {name: replaced(item, replacement) for name, item in value.items()}
        case list():
            return [replaced(item, replacement) for item in value]
    return value
