"""The log's door: no secret gets in, nothing that a parser chokes on, and no harm to the rest."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.scrub import REDACTED, Scrubber
from shared.step_codec import decode_steps
from shared.steps import Step
from tests.support.steps import new_key, requested, result

SECRET = "kJ8-vault-Passphrase"
KEY = new_key()


def log_of(scrubber: Scrubber, value: Any) -> tuple[Any, bytes]:
    """The value as the log's reader gets it, and its text."""
    step, text = scrubber.step(result(KEY, 1, value))
    [read] = decode_steps(b"[" + text + b"]")
    assert read == step
    return getattr(read, "result"), text  # noqa: B009 - the step is of a known kind


@pytest.mark.parametrize(
    "secret",
    [
        SECRET,
        'quote"in-the-middle',
        "back\\slash-in-it",
        "two\nlines-of-it",
        "tab\there-and-there",
        "bell\x07-and-more",
        "Gehaimnis-ß-äöü",
        "slash/and<html>&amp;",
        "(regular|expression)+[a-z]*",
        "emoji-\N{KEY}-\N{LOCK}",
    ],
)
def test_a_secret_never_enters_the_log_whatever_it_is_made_of(secret: str) -> None:
    scrubber = Scrubber([secret])
    for value in (secret, f"a {secret} b", {"deep": [{"in": f"x{secret}"}]}, {secret: 1}, json.dumps(secret)):
        read, text = log_of(scrubber, value)
        assert secret not in json.dumps(read, ensure_ascii=False)
        assert secret not in str(read)
        assert json.dumps(secret, ensure_ascii=False)[1:-1] not in text.decode()


def test_a_secret_in_any_field_of_a_step_is_redacted() -> None:
    step = requested(
        KEY,
        prompt=f"my key is {SECRET}",
        instructions=SECRET,
        user_id=f"user {SECRET}",
        metadata={SECRET: {"a": [SECRET]}},
    )
    clean, text = Scrubber([SECRET]).step(step)
    assert SECRET not in text.decode()
    assert getattr(clean, "prompt", "") == f"my key is {REDACTED}"


@pytest.mark.parametrize(
    "credential",
    [
        "sk-proj-abcdefghijklmnopqrstuvwx",
        "hf_" + "a1B2" * 9,
        "ghp_" + "a1B2" * 10,
        "AKIAIOSFODNN7EXAMPLE",
        "xoxb-123456789012-abcdef",
        "aos_live_" + "a1B2c3D4" * 5,
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQ==\n-----END PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\r\nMIIEvQ==\r\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_unmistakable_credentials_are_redacted_without_being_configured(credential: str) -> None:
    for value in (f"before {credential} after", json.dumps({"key": credential})):
        read, _ = log_of(Scrubber(), value)
        assert credential not in read
        assert REDACTED in read
        assert "MIIE" not in read


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"\bACME-\d{4}\b", "ACME-1234"),
        (r"\bACME-\d{4}\b", "first line\nACME-1234\tand more"),
        (r"(?m)^password: .*$", "user: a\npassword: 1234\nmore"),
        (r"(?i)internal-[a-f]+", "an INTERNAL-ABC word"),
        (r"(\w)\1{7}", "code aaaaaaaa end"),
        (r"(?P<id>card \d+)", "a card 4444 here"),
        (r'token="[^"]+"', 'say token="abc" now'),
        (r"\\\\server\\\w+", "at \\\\server\\share"),
        (r"ключ-\d+", "вот ключ-77"),
    ],
)
def test_configured_patterns_match_the_value_and_not_its_escaped_form(pattern: str, text: str) -> None:
    read, _ = log_of(Scrubber((), (r"(never)-there-\d", pattern)), text)
    assert REDACTED in read


@pytest.mark.parametrize(
    "text", ["", "plain", "tabs\tand\nlines", 'a "quoted" \\ word', "naïve 日本 🙂", "$body"]
)
def test_clean_text_is_left_exactly_as_it_is(text: str) -> None:
    scrubber = Scrubber([SECRET, 'odd"one\n\\here'], [r"\bACME-\d+\b"])
    step = result(KEY, 1, {"a": [text, 1, 2.5, True, None, {}, []], f"k{text}": text})
    clean, encoded = scrubber.step(step)
    assert clean == step
    assert decode_steps(b"[" + encoded + b"]") == [step]


def test_nul_and_lone_surrogates_are_replaced_and_seen() -> None:
    read, text = log_of(Scrubber(), "a\x00b\ud800c\udfff")
    assert "\x00" not in read
    assert read.startswith("a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}")
    assert b"\\u0000" not in text
    read, _ = log_of(Scrubber(), {"k\x00ey\ud800": 1})
    assert next(iter(read)).startswith("k\N{REPLACEMENT CHARACTER}ey")


def test_what_was_read_back_is_what_the_writer_goes_on_with() -> None:
    """Not a number is written as text, so the writer's own copy must hold the text as well."""
    for value in (float("nan"), float("inf"), {"a": [float("-inf")]}):
        step, text = Scrubber().step(result(KEY, 1, value))
        assert decode_steps(b"[" + text + b"]") == [step]
        assert b"NaN" not in text.replace(b'"NaN"', b"")


@pytest.mark.parametrize("depth", [10, 150, 190, 198, 199, 200, 205, 230, 250])
@pytest.mark.parametrize("of", ["lists", "objects"])
def test_whatever_depth_passes_the_door_can_be_read_again(depth: int, of: str) -> None:
    value: Any = "core"
    for _ in range(depth):
        value = [value] if of == "lists" else {"a": value}
    read, _ = log_of(Scrubber(), value)
    assert "core" in json.dumps(read) or "nested deeper" in json.dumps(read)
    assert "core" in json.dumps(read) or depth > 150


def test_a_tools_result_cannot_pose_as_a_reference_to_a_body() -> None:
    forged = {"$body": "0" * 64, "bytes": 5}
    read, text = log_of(Scrubber(), {"page": forged})
    assert b'"$body"' not in text
    assert read == {"page": {"$$body": "0" * 64, "bytes": 5}}


def test_scrubbing_twice_is_scrubbing_once() -> None:
    scrubber = Scrubber([SECRET])
    once, text = scrubber.step(result(KEY, 1, {"$body": [SECRET, "\x00", "\ud800"]}))
    assert scrubber.step(once) == (once, text)


def test_short_and_empty_secrets_would_redact_half_the_world_and_are_ignored() -> None:
    scrubber = Scrubber(["", "a", "short"])
    assert scrubber.text("a short word") == "a short word"


SECRETS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=8, max_size=20).filter(
    lambda s: not any(part in s for part in REDACTED) and "\ufffd" not in s and s.strip() != ""
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def _plant(value: Any, secret: str) -> Any:
    if isinstance(value, str):
        return f"{value}{secret}{value}"
    if isinstance(value, list):
        return [_plant(item, secret) for item in value]
    if isinstance(value, dict):
        return {f"{key}{secret}": _plant(item, secret) for key, item in value.items()}
    return value


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    if isinstance(value, dict):
        return [text for key, item in value.items() for text in (key, *_texts(item))]
    return []


@settings(max_examples=150, deadline=None)
@given(VALUES, st.lists(SECRETS, min_size=1, max_size=3), st.sampled_from("\x00\ud800 "))
def test_no_value_carries_a_secret_through_the_door(value: Any, secrets: list[str], noise: str) -> None:
    scrubber = Scrubber(secrets)
    for secret in secrets:
        read, _ = log_of(scrubber, _plant([value, noise], secret))
        for text in _texts(read):
            assert not any(secret in text for secret in secrets)


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_whatever_passes_the_door_is_read_back_equal(value: Any) -> None:
    step, text = Scrubber([SECRET]).step(result(KEY, 1, value))
    read: list[Step] = decode_steps(b"[" + text + b"]")
    assert read == [step]
    assert json.loads(text)["result"] == getattr(read[0], "result")  # noqa: B009 - of a known kind
