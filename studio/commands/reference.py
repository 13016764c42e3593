"""From what a person types for a run, or for something else with an id, to what is meant."""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol, TypeVar

from studio.client.errors import Conflict, NotFound, StudioError
from studio.client.models import RunSummary
from studio.client.sync import Studio
from studio.terminal.text import one_line

FULL: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PART: Final = re.compile(r"[0-9a-f-]{1,36}")
RECENT: Final = 500
NAMED: Final = 5
# Of an id that is matched where nobody asks back.
LEAST: Final = 4


class NoSuchReference(StudioError):
    """No run, or more than one, is meant by what was typed."""


def run_id_of(studio: Studio, typed: str) -> str:
    """A whole id stands for itself; a part must begin or end just one of the recent runs' ids.

    Raises NoSuchReference.
    """
    part = typed.strip().lower()
    if FULL.fullmatch(part):
        return part
    if not PART.fullmatch(part):
        raise NoSuchReference(
            f"{one_line(typed, 60)!r} is no part of a run's id; `studio runs` lists the runs"
        )
    found = [run for run in studio.list(limit=RECENT) if _is_meant(run.run_id, part)]
    if len(found) == 1:
        return found[0].run_id
    if not found:
        raise NoSuchReference(
            f"no id of the last {RECENT} runs begins or ends with {part}; `studio runs` lists the runs"
        )
    raise NoSuchReference(_choice(part, found))


class Identified(Protocol):
    @property
    def id(self) -> str: ...


Item = TypeVar("Item", bound=Identified)


def the_one(items: Iterable[Item], typed: str, noun: str, listed_by: str) -> Item:
    """The one whose id begins or ends with what was typed, or whose name it is. Raises NoSuchReference."""
    part = typed.strip()
    is_part = len(part) >= LEAST
    found = [item for item in items if part == _name(item) or (is_part and _is_meant(item.id, part))]
    if len(found) == 1:
        return found[0]
    if not found:
        raise _nothing(noun, typed, listed_by)
    ids = ", ".join(item.id for item in found[:NAMED])
    raise NoSuchReference(f"{len(found)} of them could be meant by {one_line(typed, 60)!r}: {ids}")


@contextmanager
def known(noun: str, name: str, listed_by: str) -> Iterator[None]:
    """Says in the command line's words that there is nothing of that name. Raises NoSuchReference."""
    try:
        yield
    except NotFound as error:
        raise _nothing(noun, name, listed_by) from error


@contextmanager
def in_words(run_id: str, conflict: str = "") -> Iterator[None]:
    """Says what the server's refusal means for someone who typed a command; `conflict` is about the run.

    Raises NoSuchReference and StudioError.
    """
    try:
        yield
    except NotFound as error:
        raise NoSuchReference(f"there is no run {run_id}; `studio runs` lists the runs") from error
    except Conflict as error:
        if not conflict:
            raise
        raise StudioError(f"run {run_id} {conflict.format(short=run_id[-8:])}") from error


def _name(item: Identified) -> str | None:
    return getattr(item, "name", None)


def _nothing(noun: str, typed: str, listed_by: str) -> NoSuchReference:
    what = one_line(typed, 60)
    return NoSuchReference(f"there is no {noun} {what!r}; `studio {listed_by}` lists those that there are")


def _is_meant(identifier: str, part: str) -> bool:
    return identifier.startswith(part) or identifier.endswith(part)


def _choice(part: str, found: list[RunSummary]) -> str:
    lines = [f"  {run.run_id}  {one_line(run.prompt or '', 50)}" for run in found[:NAMED]]
    more = [f"  and {len(found) - NAMED} more"] if len(found) > NAMED else []
    return "\n".join([f"{len(found)} runs have an id that begins or ends with {part}:", *lines, *more])
