"""The text form of steps: a message of the log is a JSON array of them.

Unknown fields are ignored and unknown kinds are kept as `UnknownStep`, so that an old consumer survives a new
producer; what cannot be read is named without its values.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, JsonValue, TypeAdapter, ValidationError

from shared.steps import STEP_KINDS, KnownStep, Step, UnknownStep

_known_step: TypeAdapter[KnownStep] = TypeAdapter(Annotated[KnownStep, Field(discriminator="kind")])
_known_batch: TypeAdapter[list[KnownStep]] = TypeAdapter(
    list[Annotated[KnownStep, Field(discriminator="kind")]]
)
_raw_batch: TypeAdapter[list[JsonValue]] = TypeAdapter(list[JsonValue])


class Undecodable(ValueError):
    """The bytes are not a batch of steps; the message says where and why, without the values."""


@dataclass(frozen=True)
class BrokenStep:
    """A step that could not be read: its place in the message, its JSON value and why."""

    index: int
    raw: JsonValue
    error: str


def decode_steps(data: bytes) -> list[Step]:
    """The steps of one message of the log (a JSON array). Raises Undecodable."""
    steps, broken = decode_each(data)
    if broken:
        raise Undecodable(f"step {broken[0].index} of the message: {broken[0].error}")
    return steps


def decode_each(data: bytes) -> tuple[list[Step], list[BrokenStep]]:
    """As `decode_steps`, but a broken step does not cost its neighbours.

    Raises Undecodable only where the bytes are not a JSON array.
    """
    try:
        return list(_known_batch.validate_json(data)), []
    except ValidationError:
        pass  # rare: a step of an unknown kind, or a broken one; only then is each looked at by itself
    try:
        values = _raw_batch.validate_json(data)
    except ValidationError as error:
        raise Undecodable(explained(error)) from None
    steps: list[Step] = []
    broken: list[BrokenStep] = []
    for index, raw in enumerate(values):
        try:
            steps.append(decode_step(raw))
        except Undecodable as error:
            broken.append(BrokenStep(index, raw, str(error)))
    return steps, broken


def decode_step(raw: JsonValue) -> Step:
    """One step from its parsed JSON. Raises Undecodable."""
    try:
        if isinstance(raw, dict) and raw.get("kind") in STEP_KINDS:
            return _known_step.validate_python(raw)
        return UnknownStep.model_validate(raw)
    except ValidationError as error:
        raise Undecodable(explained(error)) from None


def encode_steps(steps: Sequence[Step]) -> bytes:
    """The text of one message of the log: a JSON array."""
    return b"[" + b",".join(encode_step(step) for step in steps) + b"]"


def encode_step(step: Step) -> bytes:
    return step.__pydantic_serializer__.to_json(step)


def explained(error: ValidationError) -> str:
    """Where and why, without the values."""
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, p['loc'])) or 'message'}: {p['msg']}" for p in problems[:5])
