"""When a fault is due: counts what prompts asked for, holds what an admin switched on.

Pure but for its memory: the time is passed in. The memory is bounded twice, by age and by number.
A counted directive starts anew once it is used up, so that the same prompt fails again the next time.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from services.simulator.faults.fault import MISTAKES, Fault, Kind

MAX_STANDING = 100
_TOOL_FAULTS = (*MISTAKES, Kind.ENDLESS_TOOLS)
_ANSWER_FAULTS = (Kind.STATUS, Kind.HANG, Kind.CUT_STREAM, Kind.EMPTY, Kind.CONTEXT_TOO_LONG)


@dataclass(frozen=True)
class Standing:
    """A fault an admin switched on; `remaining` None: until it is switched off."""

    id: int
    fault: Fault
    model: str | None
    remaining: int | None


@dataclass(frozen=True)
class Due:
    """What goes wrong with one request: at most one fault of each group."""

    answer: Fault | None = None
    slow: Fault | None = None
    tools: Fault | None = None


@dataclass
class _Count:
    seen: int
    touched: float


class FullLedger(ValueError):
    """No more faults can stand; the message says how many may."""


class Ledger:
    """`memory`: how many prompts are remembered; `ttl_s`: how long."""

    def __init__(self, memory: int, ttl_s: float) -> None:
        self._memory = memory
        self._ttl_s = ttl_s
        self._counts: OrderedDict[tuple[bytes, str, int], _Count] = OrderedDict()
        self._standing: dict[int, Standing] = {}
        self._ids = count(1)

    def due(self, directives: Sequence[Fault], key: bytes, call: int, now: float) -> Due:
        """What the prompt's directives do to the `call`-th model call of the turn that `key` stands for."""
        here = [fault for fault in directives if _is_here(fault, call)]
        answers = [fault for fault in here if fault.kind in _ANSWER_FAULTS]
        slows = [fault for fault in here if fault.kind is Kind.SLOW]
        return Due(
            self._counted(answers, (key, "answer", call), now),
            self._counted(slows, (key, "slow", call), now),
            _tool_fault(directives, call),
        )

    def standing_due(self, names: Sequence[str], call: int) -> Due:
        """What the faults that stand do to a request to a model with these names; uses them up."""
        return Due(
            self._take(_ANSWER_FAULTS, names, call),
            self._take((Kind.SLOW,), names, call),
            self._take(_TOOL_FAULTS, names, call),
        )

    def add(self, fault: Fault, model: str | None) -> Standing:
        """Switch a fault on for the next N requests (`times`) or all. Raises `FullLedger`."""
        if len(self._standing) >= MAX_STANDING:
            raise FullLedger(f"{MAX_STANDING} faults are on already; switch some off first")
        standing = Standing(next(self._ids), fault, model, fault.times)
        self._standing[standing.id] = standing
        return standing

    def standing(self) -> list[Standing]:
        return list(self._standing.values())

    def remove(self, identifier: int) -> bool:
        return self._standing.pop(identifier, None) is not None

    def clear(self) -> None:
        """Switch all standing faults off and forget what prompts have counted."""
        self._standing.clear()
        self._counts.clear()

    def _counted(self, faults: Sequence[Fault], key: tuple[bytes, str, int], now: float) -> Fault | None:
        """The fault whose turn it is: their counts follow each other, one without a count lasts."""
        if not faults:
            return None
        self._forget(now)
        seen = self._counts[key].seen if key in self._counts else 0
        through = 0
        for fault in faults:
            through += fault.times or 0
            if fault.times is None or seen < through:
                self._remember(key, seen + 1, now)
                return fault
        self._counts.pop(key, None)
        return None

    def _remember(self, key: tuple[bytes, str, int], seen: int, now: float) -> None:
        self._counts[key] = _Count(seen, now)
        self._counts.move_to_end(key)
        while len(self._counts) > self._memory:
            self._counts.popitem(last=False)

    def _forget(self, now: float) -> None:
        while self._counts:
            oldest = next(iter(self._counts))
            if now - self._counts[oldest].touched <= self._ttl_s:
                return
            del self._counts[oldest]

    def _take(self, kinds: Sequence[Kind], names: Sequence[str], call: int) -> Fault | None:
        for standing in self.standing():
            fault = standing.fault
            concerned = standing.model is None or standing.model in names
            if fault.kind in kinds and concerned and fault.call in (None, call):
                self._use(standing)
                return fault
        return None

    def _use(self, standing: Standing) -> None:
        if standing.remaining is None:
            return
        if standing.remaining <= 1:
            del self._standing[standing.id]
            return
        left = standing.remaining - 1
        self._standing[standing.id] = Standing(standing.id, standing.fault, standing.model, left)


def _is_here(fault: Fault, call: int) -> bool:
    """Whether a fault belongs to this model call: a count without a place means the first one."""
    if fault.call is not None:
        return fault.call == call
    return fault.times is None or call == 1


def _tool_fault(directives: Sequence[Fault], call: int) -> Fault | None:
    """The tool fault of this model call. The conversation itself does the counting here: every faulty
    call leaves an assistant message in it, so the N-th call of the turn is the N-th chance to err."""
    first = 1
    for fault in (fault for fault in directives if fault.kind in _TOOL_FAULTS):
        first = fault.call or first
        if call >= first and (fault.times is None or call < first + fault.times):
            return fault
        first += fault.times or 0
    return None
