"""What the runner's code may do at a place of the record."""

from typing import TypeVar

from services.runner.decision import Action
from services.runner.performer import Performer
from services.runner.rehearsal.journal import Diverged, RehearsalJournal
from services.runner.rehearsal.script import Script
from shared.steps import Divergence, RunWaiting, Step

Kind = TypeVar("Kind", bound=Action)


class Choices:
    def __init__(self, performer: Performer, journal: RehearsalJournal, script: Script) -> None:
        self._performer = performer
        self._journal = journal
        self._script = script
        self._before_news: list[Action] = []

    def news(self) -> None:
        """Something comes from outside: what is done next may have been decided before."""
        self._before_news.append(self._next())

    def made(self) -> None:
        """A decision was carried out; what was possible before it is past."""
        self._before_news = []

    def all(self) -> list[Action]:
        """As things stand, or stood before the last news came. Of a wish to cancel a runner learns with its
        next append, which may hold the steps of several decisions."""
        choices = [self._next(), *reversed(self._before_news)]
        state = self._journal.state
        if (cancel := state.cancel) is not None:
            state.cancel = None
            choices.append(self._next())
            state.cancel = cancel
        return choices

    def of(self, kind: type[Kind]) -> Kind | None:
        return next((choice for choice in self.all() if isinstance(choice, kind)), None)

    def require(self, kind: type[Kind], step: Step) -> Kind:
        """Raises Diverged unless the step may come of such an action."""
        if (choice := self.of(kind)) is None:
            raise self.otherwise(step)
        return choice

    def otherwise(self, step: Step) -> Diverged:
        instead = type(self._next()).__name__
        why = f"The log has {step.kind} here; today's code would go on with {instead}."
        return Diverged(Divergence(step=step.seq, cause="code-version", path="/kind", diff=why))

    def no_copy(self, step: Step) -> Diverged:
        why = f"The log calls {step.kind} a copy from the run's source, which it cannot be here."
        return Diverged(Divergence(step=step.seq, cause="code-version", path="/copied_from", diff=why))

    def cut(self) -> Diverged:
        """The log has no end."""
        last = self._script.steps[-1]
        why = f"The log ends in the middle, behind step {last.seq} ({last.kind})."
        return Diverged(Divergence(step=last.seq, cause="code-version", path="/kind", diff=why))

    def _next(self) -> Action:
        """Once a run waits, all the runs that it has asked have begun."""
        calls = self._performer.calls
        calls.away = {
            call.call_id
            for call in self._journal.state.open_calls.values()
            if isinstance(self._script.next, RunWaiting) and calls.spec_of(call).source == "agent"
        }
        return self._performer.next()
