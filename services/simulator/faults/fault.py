"""What can be made to go wrong, and how it is written: in a prompt's directive or by an admin.

    [[simulate: NAME [DURATION] [xN] [@R]]]        e.g. [[simulate: 429 2s x2]]

NAME is an HTTP status or one of `Kind`; DURATION (`3s`, `250ms`) is how long to hang or be slow, or
the Retry-After of a status; xN limits it to the first N requests; @R means the R-th call of the model
in a turn instead of the first. A prompt may hold several directives: their counts follow each other.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

MAX_DIRECTIVES = 8
MAX_COUNT = 1_000
MAX_SECONDS = 600.0
STATUSES = (400, 401, 403, 404, 422, 429, 500, 502, 503, 504)

_DIRECTIVE = re.compile(r"\[\[\s*simulate\s*:\s*([^\[\]]{0,200})\]\]", re.IGNORECASE)
_GRAMMAR = re.compile(
    r"\s*(?P<name>[a-z0-9-]+)(?:\s+(?P<duration>\d{1,6}(?:\.\d{1,3})?)(?P<unit>ms|s))?"
    r"(?:\s+x(?P<times>\d{1,4}))?(?:\s+@(?P<call>\d{1,3}))?\s*",
    re.IGNORECASE,
)


class Kind(StrEnum):
    """The faults besides a status. `hang`: no byte for a while, then the answer; `slow`: an answer that
    trickles; `cut-stream`: the connection dropped in the middle of the answer."""

    STATUS = "status"
    HANG = "hang"
    SLOW = "slow"
    CUT_STREAM = "cut-stream"
    EMPTY = "empty"
    CONTEXT_TOO_LONG = "context-too-long"
    BAD_JSON = "bad-json"
    BAD_ARGUMENTS = "bad-arguments"
    UNKNOWN_TOOL = "unknown-tool"
    ENDLESS_TOOLS = "endless-tools"


MISTAKES = (Kind.BAD_JSON, Kind.BAD_ARGUMENTS, Kind.UNKNOWN_TOOL)
"""Mistakes in a tool call: made once and then mended, unless a count says otherwise."""
_DEFAULT_SECONDS = {Kind.HANG: 30.0, Kind.SLOW: 2.0}


class BadDirective(ValueError):
    """A directive that says nothing known; the message says what would be right."""


@dataclass(frozen=True)
class Fault:
    """`seconds` is the wait of hang and slow and the Retry-After of a status; `times` None: always;
    `call` is the model call of the turn it belongs to (1 is the first), None where it was not said."""

    kind: Kind
    status: int | None = None
    seconds: float | None = None
    times: int | None = None
    call: int | None = None

    @property
    def name(self) -> str:
        return str(self.status) if self.status is not None else self.kind.value


def parse_fault(text: str) -> Fault:
    """One fault as written in a directive. Raises `BadDirective`."""
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise BadDirective(f"{text.strip()!r} is not of the form NAME [DURATION] [xN] [@R], e.g. 429 2s x2")
    kind, status = _kind(match["name"].lower())
    seconds = _seconds(match["duration"], match["unit"] or "s", kind)
    return Fault(kind, status, seconds, _times(match["times"], kind), _positive(match["call"], "@R"))


def read_directives(text: str) -> tuple[Fault, ...]:
    """The faults a prompt asks for, in its order. Raises `BadDirective`."""
    if "[[" not in text:
        return ()
    written = _DIRECTIVE.findall(text)
    if len(written) > MAX_DIRECTIVES:
        raise BadDirective(f"{len(written)} directives in one prompt; at most {MAX_DIRECTIVES} are allowed")
    return tuple(parse_fault(directive) for directive in written)


def without_directives(text: str) -> str:
    """What the model gets to read."""
    return _DIRECTIVE.sub(" ", text).strip() if "[[" in text else text


def _kind(name: str) -> tuple[Kind, int | None]:
    if name.isdigit() and int(name) in STATUSES:
        return Kind.STATUS, int(name)
    kinds = {kind.value: kind for kind in Kind if kind is not Kind.STATUS}
    if name in kinds:
        return kinds[name], None
    names = ", ".join([*map(str, STATUSES), *kinds])
    raise BadDirective(f"there is no fault {name!r}; the faults are: {names}")


def _seconds(duration: str | None, unit: str, kind: Kind) -> float | None:
    if duration is None:
        return _DEFAULT_SECONDS.get(kind)
    if kind not in (Kind.HANG, Kind.SLOW, Kind.STATUS):
        raise BadDirective(f"{kind.value} takes no duration")
    seconds = float(duration) / (1000 if unit.lower() == "ms" else 1)
    if seconds > MAX_SECONDS:
        raise BadDirective(f"a duration of {seconds:g}s is too long; at most {MAX_SECONDS:g}s are allowed")
    return seconds


def _times(text: str | None, kind: Kind) -> int | None:
    times = _positive(text, "xN")
    if times is not None and times > MAX_COUNT:
        raise BadDirective(f"x{times} is too often; at most x{MAX_COUNT} is allowed")
    return 1 if times is None and kind in MISTAKES else times


def _positive(text: str | None, what: str) -> int | None:
    if text is None:
        return None
    if int(text) < 1:
        raise BadDirective(f"{what} counts from 1")
    return int(text)
