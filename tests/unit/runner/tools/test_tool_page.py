"""HTML as text: what a reader would see, for any input, in linear time."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.runner.tools.calling.output import fitting
from services.runner.tools.web.page import read_page
from services.runner.tools.web.text import decode, is_text, media_type


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<p>one<p>two", "one\ntwo"),
        ("a<br>b<BR/>c", "a\nb\nc"),
        ("<ul><li>x</li><li>y</li></ul>", "x\n\ny"),
        ("<td>a</td><td>b</td>", "a b"),
        ("in<b>side</b> a  word\n and a line", "inside a word and a line"),
        ("<pre>one\ntwo</pre>three\nfour", "one\ntwo\nthree four"),
        ("<a title='a > b'>link</a>", "link"),
        ("<p title=it's>kept</p>", "kept"),
        ('<p title="open>kept</p>', "kept"),
        ("<script>if (a < b) {}</SCRIPT >after", "after"),
        ("before<style>p { }", "before"),
        ("a<!-- <p>hidden</p> -->b<!doctype html>c", "abc"),
        ("2 < 3 &lt; 4 &amp;&#65; &nosuch;", "2 < 3 < 4 &A &nosuch;"),
        ("&#" + "9" * 5000 + ";", "&#" + "9" * 5000 + ";"),
        ("", ""),
    ],
)
def test_a_page_reads_as_it_is_shown(source: str, text: str) -> None:
    assert read_page(source).text == text


def test_the_title_is_the_first_one_and_no_part_of_the_text() -> None:
    page = read_page("<title>A &amp; B</title>body<svg><title>drawing</title></svg>")
    assert (page.title, page.text) == ("A & B", "body")


@pytest.mark.parametrize(
    "pattern",
    [
        "<",
        "<!",
        "<a ",
        "</",
        "<![",
        "<!--",
        "<a b='",
        '<a b="',
        "<a b=\"'>",
        "&#",
        "&amp",
        "<script>",
        "<pre>\n",
        "<title>",
        " ",
        "\n",
        "<p>\n",
        "<a/",
        "<?",
        "''=",
        "<svg",
    ],
)
def test_hostile_pages_take_linear_time(pattern: str) -> None:
    source = pattern * (500_000 // len(pattern))
    started = time.process_time()
    read_page(source)
    assert time.process_time() - started < 3


@given(st.text(alphabet=st.sampled_from("<>/!-'\"=&#;ab \n") | st.characters(), max_size=200))
def test_no_page_breaks_the_reader(source: str) -> None:
    assert isinstance(read_page(source).text, str)


def test_character_sets_that_are_no_character_sets_are_read_as_utf8() -> None:
    for name in ("zlib", "base64", "punycode", "idna", "unicode_escape", "utf-7", "nonsense", "\x00"):
        assert decode("é".encode(), f"text/plain; charset={name}") == "é"
    assert decode("é".encode("cp1252"), 'text/html; Charset="Windows-1252"') == "é"
    assert decode(b"\xff", "text/plain") == "\ufffd"


def test_text_is_told_from_other_content_by_its_type() -> None:
    texts = ["text/csv", "application/json", "application/ld+json", "image/svg+xml", "Text/HTML; charset=x"]
    others = ["image/png", "application/pdf", "application/octet-stream", "", "application/zip"]
    assert all(is_text(media_type(text)) for text in texts)
    assert not any(is_text(media_type(other)) for other in others)


@given(text=st.text(alphabet=st.sampled_from('a"\\\né€\x00😀')), limit=st.integers(2, 60))
def test_a_fitting_text_is_the_longest_beginning_within_the_limit(text: str, limit: int) -> None:
    fit = fitting(text, limit)
    assert text.startswith(fit)
    assert size(fit) <= limit
    assert fit == text or size(text[: len(fit) + 1]) > limit


def size(text: str) -> int:
    """Of the text as a JSON string, in bytes: two quotes, and two or six for what must be escaped."""
    return 2 + sum({'"': 2, "\\": 2, "\n": 2, "\x00": 6}.get(char, len(char.encode())) for char in text)
