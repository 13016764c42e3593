"""The request that a template and arguments make, and the arguments that make none."""

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runner.remote.filling import fill
from services.runner.tools.base import ToolError
from shared.http_request import HttpRequest

BASE = "https://api.example.com"
LETTER = {"to": {"id": "{id}"}, "text": "Hello {name}", "all": ["{id}", "{no}"], "no": "{no}"}
FILLED: list[tuple[dict[str, Any], dict[str, Any], str, bytes | None]] = [
    ({"url": "/a/{x}"}, {"x": "b c/d?e#f"}, "/a/b%20c%2Fd%3Fe%23f", None),
    ({"url": "/a/{x}/b"}, {"x": 7}, "/a/7/b", None),
    ({"url": "/a?v=1&q={x}"}, {"x": "a&b=c"}, "/a?v=1&q=a%26b%3Dc", None),
    ({"url": "/a"}, {"q": "é", "n": 2, "t": True, "none": None}, "/a?q=%C3%A9&n=2&t=true", None),
    ({"url": "/a"}, {"tag": ["x", "y"]}, "/a?tag=x&tag=y", None),
    (
        {"url": "/a", "query": {"from": "{x}", "to": "{y}", "unit": "m"}},
        {"x": 1},
        "/a?from=1&unit=m",
        None,
    ),
    ({"url": "/a", "query": {"q": "in:{x} {y}"}}, {"x": "a", "y": "b"}, "/a?q=in%3Aa+b", None),
    ({"url": "/a", "method": "POST"}, {"x": 1, "y": [None]}, "/a", b'{"x": 1, "y": [null]}'),
    ({"url": "/{x}", "method": "PUT"}, {"x": 1, "y": "b"}, "/1", b'{"y": "b"}'),
    (
        {
            "url": "/a",
            "method": "POST",
            "body": LETTER,
        },
        {"id": 5, "name": "Ann"},
        "/a",
        b'{"to": {"id": 5}, "text": "Hello Ann", "all": [5]}',
    ),
]


@pytest.mark.parametrize(("template", "arguments", "target", "body"), FILLED)
def test_arguments_go_where_the_template_says(
    template: dict[str, Any], arguments: dict[str, Any], target: str, body: bytes | None
) -> None:
    request = HttpRequest.model_validate({**template, "url": BASE + template["url"]})
    filled = fill(request, arguments)
    assert (filled.url, filled.body) == (BASE + target, body)


WRONG: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"url": "/a/{x}/b"}, {"x": ".."}, "path of dots"),
    ({"url": "/a/{x}{y}"}, {"x": ".", "y": "."}, "path of dots"),
    ({"url": "/a/{x}"}, {"x": ""}, "`x` must be a text"),
    ({"url": "/a/{x}"}, {"x": ["a"]}, "`x` must be a text"),
    ({"url": "/a/{x}"}, {}, "`x` must be a text"),
    ({"url": "/a", "method": "POST", "body": {"x": "{x}"}}, {"x": 1, "z": 2}, "Unknown arguments: z"),
]


@pytest.mark.parametrize(("template", "arguments", "words"), WRONG)
def test_arguments_that_make_no_request_are_told(
    template: dict[str, Any], arguments: dict[str, Any], words: str
) -> None:
    request = HttpRequest.model_validate({**template, "url": BASE + template["url"]})
    with pytest.raises(ToolError, match=words):
        fill(request, arguments)


@given(value=st.text(min_size=1).filter(lambda text: text.encode("utf-8", "ignore").decode() == text))
def test_no_argument_leaves_its_place(value: str) -> None:
    request = HttpRequest(url=f"{BASE}/orders/{{x}}/lines?fixed=1&q={{x}}")
    try:
        url = fill(request, {"x": value, "rest": value}).url
    except ToolError:
        assert value in (".", "..")
        return
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "api.example.com", "")
    _, orders, order, lines = parts.path.split("/")
    assert (orders, unquote(order), lines) == ("orders", value, "lines")
    assert parse_qsl(parts.query, keep_blank_values=True) == [("fixed", "1"), ("q", value), ("rest", value)]
