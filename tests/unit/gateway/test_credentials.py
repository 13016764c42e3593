"""The form of API keys."""

import pytest

from services.gateway.credentials import MalformedKey, mint, parse
from shared.scrub import REDACTED, Scrubber


def test_a_minted_key_is_read_back_whole() -> None:
    credential = mint()
    assert parse(credential.text) == credential


def test_two_minted_keys_share_nothing() -> None:
    first, second = mint(), mint()
    assert first.id != second.id
    assert first.secret != second.secret


def test_a_mistyped_character_is_told_apart_from_an_unknown_key() -> None:
    text = mint().text
    place = len(text) // 2
    mistyped = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
    with pytest.raises(MalformedKey, match="checksum"):
        parse(mistyped)


@pytest.mark.parametrize("text", ["", "aos_", "sk-something", "aos_UPPERCASE123_" + "x" * 51, "ä" * 70])
def test_what_is_no_key_at_all_is_named_so(text: str) -> None:
    with pytest.raises(MalformedKey, match="form"):
        parse(text)


def test_the_digest_depends_on_the_pepper_and_hides_the_secret() -> None:
    credential = mint()
    assert credential.digest("one pepper") != credential.digest("another")
    assert credential.secret.encode() not in credential.digest("one pepper")


def test_a_key_never_shows_its_secret_in_a_representation_or_a_log() -> None:
    credential = mint()
    assert credential.secret not in repr(credential)
    assert Scrubber().text(f"the key is {credential.text}") == f"the key is {REDACTED}"
