"""The lines of an upload: how they are told apart, what holds for all of them, and what is refused."""

from collections.abc import AsyncIterator

import pytest

from services.gateway.batches import lines
from services.gateway.batches.lines import Defaults, Line, defaults_in, split
from services.gateway.problems import Problem


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def split_of(*chunks: bytes) -> list[bytes]:
    return [line async for line in split(pieces(*chunks))]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
async def test_lines_are_the_same_however_they_arrive(size: int) -> None:
    body = b'{"a": 1}\r\n\n  \n{"b": "\xc3\xbc"}\n{"c": 3}'
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    assert await split_of(*chunks) == [b'{"a": 1}', b'{"b": "\xc3\xbc"}', b'{"c": 3}']


async def test_an_empty_body_has_no_line() -> None:
    assert await split_of() == await split_of(b"", b"\n", b" \n") == []


async def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lines, "LINE_LIMIT", 10)
    taken: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        for number in range(1000):
            taken.append(number)
            yield b"xxxx"

    with pytest.raises(Problem, match="longer than the limit of 10 bytes"):
        [line async for line in split(endless())]
    assert len(taken) == 3


def test_only_a_line_with_nothing_but_defaults_gives_them() -> None:
    assert defaults_in(b'{"defaults": {"max_rounds": 2}}') == Defaults({"max_rounds": 2})
    for first in (b'{"prompt": "a"}', b'{"defaults": {}, "prompt": "a"}', b"[]", b"no JSON"):
        assert defaults_in(first) is None


@pytest.mark.parametrize("wrong", [b'{"defaults": 1}', b'{"defaults": {"promt": 1}}'])
def test_defaults_that_hold_for_no_run_are_refused(wrong: bytes) -> None:
    with pytest.raises(Problem):
        defaults_in(wrong)


def test_what_a_line_says_wins_over_the_defaults() -> None:
    defaults = Defaults({"group": "night", "tools": ["calculator"]})
    run = defaults.run(Line(0, b'{"prompt": "a", "group": "day"}'))
    assert (run.prompt, run.group, run.tools) == ("a", "day", ("calculator",))


@pytest.mark.parametrize(
    "text", [b"null", b"[]", b'"a"', b"{", b'{"prompt": 1}', b'{"prompt": "a", "metadata": {"x": NaN}}']
)
def test_a_line_that_is_no_run_is_a_problem_with_and_without_defaults(text: bytes) -> None:
    for defaults in (Defaults({}), Defaults({"group": "night"})):
        with pytest.raises(Problem) as refused:
            defaults.run(Line(0, text))
        assert refused.value.kind.status == 422
