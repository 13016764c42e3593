"""What is cut out of a message changes the requests to the model, and what is cut out of a call its hash:
they are made again from what is left, where the whole proves that they were what they say.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic import JsonValue

from shared.bundle.contents import Contents, put_back, sha256_of
from shared.bundle.faults import CannotRedact
from shared.bundle.manifest import Proof
from shared.divergence import Made, requests_of
from shared.model_request import canonical
from shared.step_codec import Undecodable, decode_step
from shared.steps import RunRequested, Step

MOST_HASHED: Final = 256 * 1024 * 1024
"""Characters of requests that are made again: each of a run holds all that was said before it."""
Fields = dict[str, JsonValue]


def bind_decisions(contents: Contents, steps: Sequence[Fields], bodies: Mapping[str, bytes]) -> None:
    """A decision is bound to the hash of what was decided about."""
    renamed: dict[JsonValue, str] = {}
    for whole, step in zip(contents.whole_steps(), steps, strict=True):
        if step["kind"] == "approval-requested" and isinstance(whole, dict):
            old = _arguments_hash(whole)
            if whole.get("arguments_hash") == old:
                renamed[old] = _arguments_hash(put_back(step, bodies))
        if (known := step.get("arguments_hash")) in renamed:
            step["arguments_hash"] = renamed[known]


def _arguments_hash(step: Any) -> str:
    return hashlib.sha256(canonical([step["tool"], step.get("arguments")]).encode()).hexdigest()


def prove_again(contents: Contents, steps: Sequence[Fields], bodies: Mapping[str, bytes]) -> Proof:
    """Each request that is as it was recorded gets the hash of what is left of it."""
    before = _requests([decode_step(raw) for raw in contents.whole_steps()])
    after = _requests([_left(seq, step, bodies) for seq, step in enumerate(steps)])
    calls, proved, hashed = 0, 0, 0
    for whole, left in zip(before, after, strict=True):
        calls += 1
        texts = [made.request.canonical() for made in (whole, left)]
        hashed += sum(map(len, texts))
        if hashed > MOST_HASHED:
            raise CannotRedact(
                f"the run's requests to the model have more than {MOST_HASHED} characters, the most that are "
                "made again for a redacted bundle"
            )
        if sha256_of(texts[0].encode()) != whole.turn.model_call.request_hash:
            continue
        proved += 1
        call: Any = steps[whole.turn.seq]["model_call"]
        steps[whole.turn.seq]["model_call"] = {**call, "request_hash": sha256_of(texts[1].encode())}
    return Proof(model_calls=calls, as_recorded=proved)


def _requests(steps: Sequence[Step]) -> Iterator[Made]:
    first = steps[0]
    parts = first.history if isinstance(first, RunRequested) else ()
    messages = [part.messages for part in parts if isinstance(part.messages, list)]
    return requests_of(steps, [each for part in messages for each in part if isinstance(each, dict)])


def _left(seq: int, step: Fields, bodies: Mapping[str, bytes]) -> Step:
    try:
        return decode_step(put_back(step, bodies))
    except Undecodable as error:
        raise CannotRedact(
            f"step {seq}: a redaction pattern matches what is no text but a part of the step's form: {error}"
        ) from None
