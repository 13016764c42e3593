"""Bundles for tests: made of any steps, and made again with something changed."""

import base64
import io
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

from services.runner.means import Means
from services.runner.model import Model
from services.runner.rehearsal.rehearsal import Outcome, Rehearsal
from shared.bundle.building import build
from shared.bundle.contents import Contents
from shared.bundle.reading import Bundle
from shared.bundle.signing import SigningKey
from shared.model_request import JsonObject
from shared.step_codec import decode_step, encode_step
from shared.steps import RunRequested, Step, now
from tests.support.rehearsed import installed_tools

SEED = base64.b64encode(bytes(range(32))).decode()
OTHER_SEED = base64.b64encode(bytes(range(1, 33))).decode()
KEY = SigningKey(SEED)
Change = Callable[[bytes], bytes | None]


def contents_of(steps: Iterable[Step], bodies: Mapping[str, bytes] | None = None) -> Contents:
    return Contents(tuple(encode_step(step) for step in steps), bodies or {})


def bundled(steps: Iterable[Step], key: SigningKey = KEY) -> bytes:
    return build(contents_of(steps), key, code_version="0.1.0")


def entries_of(file: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(entries: Iterable[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Any zip, also one with a name twice."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, method)
    return target.getvalue()


def changed(file: bytes, name: str, change: Change) -> bytes:
    """The file with an entry changed, dropped (None) or, where there is none of the name, added."""
    entries = entries_of(file)
    data = change(entries.get(name, b""))
    kept = {each: text for each, text in entries.items() if each != name}
    return zipped([*kept.items(), *([(name, data)] if data is not None else [])])


def steps_of(bundle: Bundle) -> list[Step]:
    """With their large values in place."""
    return [decode_step(raw) for raw in bundle.contents.whole_steps()]


async def rehearsed(steps: Sequence[Step]) -> Outcome:
    """As `studio replay` rehearses a file."""
    first = steps[0]
    assert isinstance(first, RunRequested)
    history = [each for part in first.history for each in cast("list[JsonObject]", part.messages)]
    means = Means(cast("Model", None), installed_tools(), now)
    return await Rehearsal(steps, means, history=history).play()
