"""Reading what tools answered: errors, numbers, lists of names. Tolerant: JSON of any shape or text.

A tool's answer is data: nothing in it is followed as an instruction.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from services.simulator.arithmetic.expression import ArithmeticFailure, Value, tidy

_RESULT_KEYS = ("result", "value", "answer", "output", "content", "text", "data", "body")
_NAME_KEYS = ("id", "modelId", "model_id", "name", "path", "title")
_BAD_STATES = frozenset(("error", "failed", "failure", "denied", "unknown"))
_ERROR_TEXT = re.compile(
    r"^\W*(?:tool )?(?:\w*error\b|\w*exception\b|failed\b|failure\b|denied\b|invalid\b|refused\b"
    r"|unknown tool\b"
    r"|(?:this |the )?(?:tool )?call (?:was )?(?:denied|refused|failed)|cannot\b|could not\b|not found\b"
    r"|no such\b|permission denied\b|timed? ?out\b)",
    re.IGNORECASE,
)
_ERROR_LABEL = re.compile(r"^\W*(?:tool )?\w*(?:error|exception)\s*(?:\([^)]*\))?\s*:\s*", re.IGNORECASE)
_ZERO_DIVISION = re.compile(r"divi(?:sion|ded?|ding) by zero", re.IGNORECASE)
_NUMBER = re.compile(r"[-−]?\d+(?:,\d{3})*(?:\.\d+)?(?:[eE][+-]?\d+)?|[-−]?\.\d+")
MAX_QUOTE = 1_500
MAX_REASON = 300
MAX_DIGITS = 1_500


def read_outcome(text: str) -> str | None:
    """Why the tool failed, or None when its answer is no error."""
    payload = _decode(text)
    if isinstance(payload, dict):
        return _error_of(payload)
    plain = payload if isinstance(payload, str) else text
    failed = _ERROR_TEXT.match(plain) or _ZERO_DIVISION.search(plain[:MAX_REASON])
    return _reason(plain) if failed else None


def _reason(text: str) -> str:
    """An error's text without its label, short enough for an answer."""
    return _ERROR_LABEL.sub("", text).strip()[:MAX_REASON] or "it failed"


def _error_of(payload: dict[str, Any]) -> str | None:
    error = payload.get("error") or payload.get("errors")
    bad = str(payload.get("status", "")).lower() in _BAD_STATES or payload.get("ok") is False
    bad = bad or payload.get("success") is False or payload.get("isError") is True
    if not error and not bad:
        return None
    if isinstance(error, dict):
        error = error.get("message", error)
    text = error if isinstance(error, str) else payload.get("message") or error or _inner(payload)
    return _reason(text if isinstance(text, str) else json.dumps(text))


def read_number(text: str) -> Value | None:
    """The number a calculator answered: `5 + 10 = 15`, `15`, `{"result": 15}`; None without one."""
    payload = _inner(_decode(text))
    if isinstance(payload, bool):
        return None
    if isinstance(payload, int | float):
        return _tidied(payload)
    plain = payload if isinstance(payload, str) else text
    found = _NUMBER.findall(plain.rpartition("=")[2]) or _NUMBER.findall(plain)
    return _tidied(_parse_number(found[-1])) if found else None


def _parse_number(text: str) -> Value:
    digits = text.replace(",", "").replace("−", "-")
    whole = digits.lstrip("-").isdigit() and len(digits) <= MAX_DIGITS
    return int(digits) if whole else float(digits)


def _tidied(value: Value) -> Value | None:
    try:
        return tidy(value)
    except ArithmeticFailure:
        return None


def read_text(text: str) -> str:
    """The text a tool answered, out of its envelope, shortened to what an answer may quote."""
    payload = _inner(_decode(text))
    plain = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
    plain = plain.strip()
    return plain if len(plain) <= MAX_QUOTE else plain[:MAX_QUOTE].rstrip() + " …"


def read_field(text: str, name: str) -> str | None:
    """A field beside the result in the tool's answer, such as the title of a page."""
    payload = _decode(text)
    value = payload.get(name) if isinstance(payload, dict) else None
    return str(value)[:MAX_REASON] if isinstance(value, str | int) and not isinstance(value, bool) else None


def read_names(text: str, limit: int) -> list[str]:
    """The names in a tool's list of things (files, models), at most `limit`."""
    names = list(_names(_inner(_decode(text))))
    return names[:limit]


def _names(payload: Any) -> Iterator[str]:
    if isinstance(payload, list):
        for item in payload:
            yield from _name_of(item)
    elif isinstance(payload, dict):
        lists = [value for value in payload.values() if isinstance(value, list)]
        yield from _names(lists[0]) if lists else _name_of(payload)
    elif isinstance(payload, str):
        lines = (line.strip(" \t-*•") for line in payload.splitlines())
        yield from (line[:200] for line in lines if line)


def _name_of(item: Any) -> Iterator[str]:
    if isinstance(item, dict):
        item = next((item[key] for key in _NAME_KEYS if item.get(key)), "")
    if text := str(item).strip():
        yield text[:200]


def _decode(text: str) -> Any:
    stripped = text.strip()
    if not stripped or stripped[0] not in '{["-0123456789':
        return text
    try:
        return json.loads(stripped)
    except (ValueError, RecursionError):
        return text


def _inner(payload: Any) -> Any:
    """What is inside an envelope such as `{"status": "ok", "result": …}`, a few levels deep."""
    for _ in range(4):
        keys = [k for k in _RESULT_KEYS if isinstance(payload, dict) and k in payload]
        if not keys:
            return payload
        payload = payload[keys[0]]
        payload = _decode(payload) if isinstance(payload, str) else payload
    return payload
