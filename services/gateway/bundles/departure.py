"""Making the bundle of a run: all that its log points to is gathered, then cut, signed and packed."""

import asyncio
import json
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import version
from typing import Final

from pydantic import JsonValue
from pydantic_core import to_json

from services.gateway.bodies import Bodies
from services.gateway.bundles.reads import charges
from services.gateway.bundles.refusals import goes_on, history_gone, too_large
from services.gateway.bundles.trust import Trust
from services.gateway.problems import NOT_FOUND, DatabaseAway, Problem, invalid
from services.gateway.reads import answered
from services.gateway.runs import Found, Runs
from services.gateway.settings import GatewaySettings
from services.gateway.turns import Turns
from shared.bundle.building import build
from shared.bundle.contents import Contents, dumped, moved_out, put_back, references
from shared.bundle.faults import CannotRedact
from shared.bundle.manifest import Part
from shared.bundle.origin import LEFT_BEHIND, WRITER, as_sent
from shared.bundle.redaction import Redaction
from shared.bundle.signing import SigningKey
from shared.database import Database
from shared.earlier_runs import as_told, said, told_at
from shared.run_state import LogGap
from shared.step_codec import decode_step, encode_step
from shared.steps import RunRequested
from shared.subjects import RunKey

BEGINNING: Final = 16
"""Steps among which is the first claim, with what may have come before it."""


@dataclass
class _Gathering:
    """What is gathered for one bundle, within its bound."""

    run: RunKey
    most_bytes: int
    size: int = 0
    bodies: dict[str, bytes] = field(default_factory=dict)

    def add(self, size: int) -> None:
        """Raises Problem (409) when it has become too much."""
        self.size += size
        if self.size > self.most_bytes:
            raise too_large(self.most_bytes, self.run.run_id)


class Departure:
    """Methods raise Problem and Unavailable."""

    def __init__(self, runs: Runs, bodies: Bodies, database: Database, trust: Trust) -> None:
        self._runs = runs
        self._bodies = bodies
        self._database = database
        self._trust = trust
        self._turns = Turns("bundles are being made")

    async def bundle(self, run: RunKey, settings: GatewaySettings, parts: Collection[Part]) -> bytes:
        """The file of a run that has ended, without these parts of it."""
        key = self._trust.key
        found = await self._runs.find(run)
        if not found.view.status.is_final:
            raise goes_on(found.view.status, run.run_id)
        redaction = Redaction(settings.bundle_redact_patterns, parts)
        async with self._turns.one():
            gathering = _Gathering(run, settings.bundle_max_bytes)
            contents = await self._contents(found, gathering)
            contents = await self._with_history(contents, gathering)
            paid = await answered(self._database, lambda connection: charges(connection, run))
            contents = replace(contents, charges=to_json([each.model_dump() for each in paid]))
            try:
                return await asyncio.to_thread(_made, contents, redaction, key)
            except CannotRedact as error:
                raise invalid("redact", str(error)) from None
            except LogGap as gap:
                raise DatabaseAway(f"Postgres does not have all steps of the run yet: {gap}") from gap

    async def _contents(self, found: Found, gathering: _Gathering) -> Contents:
        """The run's steps; the values that they point to are among the bodies that are gathered."""
        texts: list[bytes] = []
        async for page in self._runs.step_pages(found, -1):
            for step in page:
                gathering.add(len(step.text))
                await self._gather(found.run, step.text, gathering)
                texts.append(step.text)
        return Contents(tuple(texts), gathering.bodies)

    async def _gather(self, run: RunKey, text: bytes, gathering: _Gathering) -> None:
        for ref in references(text):
            if ref.sha256 not in gathering.bodies:
                gathering.add(ref.size)
                gathering.bodies[ref.sha256] = await self._bodies.get(run, ref.sha256)

    async def _with_history(self, contents: Contents, gathering: _Gathering) -> Contents:
        """With the conversation of each earlier run of the session in place of its id alone."""
        first = decode_step(json.loads(contents.steps[0]))
        if not isinstance(first, RunRequested) or all(part.messages is not None for part in first.history):
            return contents
        history: list[JsonValue] = []
        later_began = told_at(
            [first, *(decode_step(json.loads(text)) for text in contents.steps[1:BEGINNING])]
        )
        for part in first.history:
            told = part.messages
            if told is None:
                earlier = RunKey(first.project, part.run_id)
                told = moved_out(await self._said(earlier, later_began, gathering), gathering.bodies)
            history.append({"run_id": part.run_id, "messages": told})
        raw = {**json.loads(contents.steps[0]), "history": history}
        return replace(contents, steps=(dumped(raw), *contents.steps[1:]))

    async def _said(
        self, run: RunKey, later_began: datetime | None, gathering: _Gathering
    ) -> list[JsonValue]:
        """As the runner was told it. Raises Problem (404) for a run that was deleted since: without what it
        said nobody can make the requests again."""
        try:
            found = await self._runs.find(run)
        except Problem as problem:
            if problem.kind is not NOT_FOUND:
                raise
            raise history_gone(run.run_id) from None
        apart = _Gathering(gathering.run, gathering.most_bytes, gathering.size)
        contents = await self._contents(found, apart)
        earlier = as_told([decode_step(raw) for raw in contents.whole_steps()], later_began)
        told: list[JsonValue] = [dict(message) for message in said(earlier)]
        gathering.add(len(to_json(told)))
        return told


def _made(contents: Contents, redaction: Redaction, key: SigningKey) -> bytes:
    """The file. Raises CannotRedact."""
    contents = _sent(contents)
    redactions = proof = None
    if redaction:
        contents, redactions, proof = redaction.apply(contents)
    code_version = version("agentops-studio")
    return build(contents, key, code_version=code_version, redactions=redactions, proof=proof)


def _sent(contents: Contents) -> Contents:
    """An imported run leaves as it came."""
    raw = json.loads(contents.steps[0])
    if raw["writer"] != WRITER:
        return contents
    others = [decode_step(json.loads(text)) for text in contents.steps[1:]]
    request, *steps = as_sent([decode_step(put_back(raw, contents.bodies)), *others])
    bodies = dict(contents.bodies)
    back = request.model_dump(mode="json", include={"run_id", "project", "metadata", *LEFT_BEHIND})
    raw |= back | {"metadata": moved_out(back["metadata"], bodies)}
    return replace(contents, steps=(dumped(raw), *map(encode_step, steps)), bodies=bodies).pruned()
