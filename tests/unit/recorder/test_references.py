"""What a run's row shows of a large text."""

import json

import pytest

from services.recorder.references import BodyKey, shown_in
from shared.preview import PREVIEW_CHARACTERS, WHOLE_BYTES, Shown
from shared.steps import BodyRef

KEY = BodyKey("blue", "ab" * 32)


def _ref(encoded: str) -> BodyRef:
    return BodyRef(sha256=KEY.sha256, size=len(encoded.encode()))


def test_a_text_inside_the_step_is_shown_whole() -> None:
    assert shown_in("hello", "blue", {}) == Shown("hello", None)


def test_a_body_within_the_limit_is_shown_whole() -> None:
    text = "é" * 10_000
    encoded = json.dumps(text)
    assert shown_in(_ref(encoded), "blue", {KEY: encoded}) == Shown(text, None)


@pytest.mark.parametrize("character", ["a", "é", "😀", '"', "\n"])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_the_beginning_of_a_longer_body_is_shown_with_the_name_of_the_whole(
    character: str, ascii_only: bool
) -> None:
    text = character * 100_000
    encoded = json.dumps(text, ensure_ascii=ascii_only)
    beginning = encoded.encode()[:WHOLE_BYTES].decode(errors="ignore")
    whole = Shown(character * PREVIEW_CHARACTERS, KEY.sha256)
    assert shown_in(_ref(encoded), "blue", {KEY: beginning}) == whole
