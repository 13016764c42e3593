"""From what a client asked for to the order of a replay, with all that the replayer needs to know."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic_core import to_json

from services.gateway.catalog import Catalog
from services.gateway.problems import INVALID, Problem, invalid
from services.gateway.replaying.sources import Inspect, Source, Sources
from services.gateway.replays import refusals
from services.gateway.replays.changes import ChangeResolver, specs_of
from services.gateway.replays.inputs import ReplayInput
from services.gateway.replays.metrics import metrics
from services.gateway.replays.policy import check_verification, tool_answers
from services.gateway.replays.rules import RUNS_OF_BLAME, Way, samples_of, ways
from services.gateway.replays.standing import standing
from shared.fork import CannotFork, kept
from shared.messages import Arm, ReplayRequested
from shared.payload import MESSAGE_LIMIT
from shared.scrub import Scrubber
from shared.steps import Edit, RunStatus, Step, now
from shared.subjects import RunKey

MOST_FORKED: Final = 100
MOST_TAKEN: Final = 5000


@dataclass(frozen=True)
class Wish:
    """Who wants what; `runs` are those that `asked` names."""

    project: str
    who: str
    asked: ReplayInput
    runs: tuple[RunKey, ...]


class Orders:
    """Raises Problem and Unavailable."""

    def __init__(
        self, sources: Sources, changes: ChangeResolver, catalog: Catalog, scrubber: Scrubber
    ) -> None:
        self._sources = sources
        self._catalog = catalog
        self._changes = changes
        self._scrubber = scrubber

    async def make(self, wish: Wish, replay_id: str) -> ReplayRequested:
        """An order that can be carried out; the logs that it needs are on the broker."""
        asked, found = wish.asked, ways(wish.asked)
        measured = metrics(asked.metrics, asked.sources) if asked.mode != "verify" else ()
        is_fork = asked.mode == "fork"
        if is_fork and len(wish.runs) > MOST_FORKED:
            raise invalid("run_ids", f"at most {MOST_FORKED} runs can be forked at once")
        sources = await self._sources.find(wish.runs, _fork_check(asked, found) if is_fork else None)
        if is_fork or asked.mode == "blame":
            _check_length(asked, sources)
        if asked.mode == "blame" and measured[0].name == "success":
            _check_failed(sources[0])
        arms = tuple([await self._arm(wish.project, way, sources) for way in found])
        if asked.mode != "verify":
            await self._require_models(found, sources)
        requests = [source.request for source in sources]
        specs = [spec for arm in arms for spec in specs_of(arm.changes, requests)]
        if asked.mode == "verify":
            check_verification(asked.tools, specs)
        stand = await standing(self._catalog, wish.project, specs, tool_answers(asked.tools, specs))
        order = ReplayRequested(
            replay_id=replay_id,
            project=wish.project,
            at=now(),
            who=wish.who,
            mode=asked.mode,
            sources=tuple(run.run_id for run in wish.runs),
            arms=arms,
            samples=samples_of(asked),
            fork_step=asked.step,
            tools=stand.tools,
            ask_about=stand.ask_about if asked.mode != "verify" else (),
            metrics=measured,
            confidence=asked.confidence,
            stop_early=asked.stop_early,
            most_runs=(asked.most_runs or RUNS_OF_BLAME) if asked.mode == "blame" else None,
            threshold=1.0 if asked.threshold is None else asked.threshold,
            metadata=asked.metadata,
        )
        order = self._scrubbed(order)
        await self._sources.keep(sources)
        return order

    async def _require_models(self, found: Sequence[Way], sources: Sequence[Source]) -> None:
        """Of runs that are live as they were recorded, perhaps long ago and elsewhere."""
        if all(way.changes.model or way.changes.agent for way in found):
            return
        for model in sorted({source.request.model for source in sources}):
            try:
                await self._catalog.require_model(model)
            except Problem as problem:
                if problem.kind is not INVALID:
                    raise
                raise invalid("changes.model", f"of the run: {problem.errors[0].message}; name one") from None

    async def _arm(self, project: str, way: Way, sources: Sequence[Source]) -> Arm:
        requests = [source.request for source in sources]
        field = f"{way.field}changes."
        changes = await self._changes.resolve(project, way.changes, requests, field)
        return Arm(name=way.name, changes=changes, edits=tuple(_edits(way)))

    def _scrubbed(self, order: ReplayRequested) -> ReplayRequested:
        """As it may be stored. Raises Problem (422) where names, or the form of answers, would change."""
        clean = ReplayRequested.model_validate(self._scrubber.value(order.model_dump(mode="json")))
        if _names(clean) != _names(order):
            told = "the names of candidates and metrics, and response_format, must not look like a credential"
            raise invalid("body", f"{told}, nor hold NUL")
        if (size := len(to_json(clean))) > MESSAGE_LIMIT:
            told = f"the replay comes to {size} bytes, with all that its agents say; at most {MESSAGE_LIMIT}"
            raise invalid("body", f"{told}: name fewer candidates, or say less in each")
        return clean


def _names(order: ReplayRequested) -> tuple[object, ...]:
    changes = [arm.changes for arm in order.arms]
    formats = [(each.response_format, each.agent and each.agent.response_format) for each in changes]
    return [arm.name for arm in order.arms], [metric.label for metric in order.metrics], formats


def _edits(way: Way) -> Iterator[Edit]:
    for edit in way.edits:
        yield Edit(step=edit.step, field=edit.field, value=edit.value, call_id=edit.call_id)


def _fork_check(asked: ReplayInput, found: Sequence[Way]) -> Inspect:
    """Raises Problem (422) unless the run can be forked there, and edited like that."""

    def inspect(run: RunKey, steps: Sequence[Step]) -> None:
        for way in found:
            try:
                kept(steps, asked.step or 0, tuple(_edits(way)))
            except CannotFork as error:
                field = f"{way.field}edits" if error.field == "edits" else error.field
                which = f"run {run.run_id}: " if len(asked.sources) > 1 else ""
                raise invalid(field, f"{which}{error}") from None

    return inspect


def _check_length(asked: ReplayInput, sources: Sequence[Source]) -> None:
    """All that a fork takes over goes to the model at once."""
    longest = max(source.view.step_count for source in sources)
    taken = asked.step if asked.mode == "fork" and asked.step is not None else longest
    if taken > MOST_TAKEN:
        field = "step" if asked.mode == "fork" else "run_id"
        raise invalid(field, f"a fork takes over at most {MOST_TAKEN:,} steps; these would be {taken:,}")


def _check_failed(source: Source) -> None:
    if source.view.status is RunStatus.COMPLETED:
        raise refusals.nothing_to_blame(source.run.run_id)
