"""Verifying keys: what is cached, for how long, and what happens while the database is away."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from services.gateway.credentials import Credential, mint
from services.gateway.key_ring import MOST_ENTRIES, KeyRing
from services.gateway.problems import Problem
from services.gateway.store import KeyRow
from shared.errors import Unavailable

PEPPER = "a pepper for tests only"


@dataclass
class Table:
    """The table of keys, and the time; both in the test's hands."""

    rows: dict[str, KeyRow] = field(default_factory=dict)
    is_away: bool = False
    lookups: int = 0
    time: float = 1000.0

    def add(self, **fields: object) -> Credential:
        credential = mint()
        row = KeyRow(
            id=credential.id,
            project="default",
            name="test",
            digest=credential.digest(PEPPER),
            scopes=frozenset({"read", "write"}),
            expires_at=None,
            revoked_at=None,
        )
        self.rows[credential.id] = replace(row, **fields)  # type: ignore[arg-type]  # fields of KeyRow
        return credential

    async def find(self, key_id: str) -> KeyRow | None:
        self.lookups += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise Unavailable("connection refused")
        return self.rows.get(key_id)

    @property
    def ring(self) -> KeyRing:
        return KeyRing(self.find, PEPPER, clock=lambda: self.time)


async def status_of(ring: KeyRing, text: str) -> int:
    try:
        await ring.verify(text)
    except Problem as problem:
        return problem.kind.status
    return 200


async def test_a_good_key_opens_its_project() -> None:
    table = Table()
    principal = await table.ring.verify(table.add(project="team-a").text)
    assert (principal.project, principal.key_name) == ("team-a", "test")


async def test_an_unknown_key_and_a_wrong_secret_are_refused_alike() -> None:
    table = Table()
    known, stranger = table.add(), mint()
    answers = set()
    for text in (stranger.text, Credential(known.id, stranger.secret).text):
        with pytest.raises(Problem) as caught:
            await table.ring.verify(text)
        answers.add((caught.value.kind, caught.value.detail, tuple(caught.value.headers.items())))
    assert len(answers) == 1
    assert answers.pop()[0].status == 401


async def test_a_key_hashed_with_another_pepper_is_refused() -> None:
    table = Table()
    key = table.add()
    assert await status_of(KeyRing(table.find, "another pepper", clock=lambda: 0), key.text) == 401


async def test_an_expired_and_a_revoked_key_are_refused_and_told_so() -> None:
    table = Table()
    past = datetime.now(UTC) - timedelta(seconds=1)
    expired, revoked = table.add(expires_at=past), table.add(revoked_at=past)
    with pytest.raises(Problem, match="expired at"):
        await table.ring.verify(expired.text)
    with pytest.raises(Problem, match="was revoked"):
        await table.ring.verify(revoked.text)


async def test_a_verdict_is_kept_for_thirty_seconds() -> None:
    table = Table()
    key, ring = table.add(), table.ring
    for _ in range(3):
        await ring.verify(key.text)
    assert table.lookups == 1
    table.time += 31
    await ring.verify(key.text)
    assert table.lookups == 2


async def test_a_revoked_key_dies_within_thirty_seconds() -> None:
    table = Table()
    key, ring = table.add(), table.ring
    await ring.verify(key.text)
    table.rows[key.id] = replace(table.rows[key.id], revoked_at=datetime.now(UTC))
    table.time += 30.1
    assert await status_of(ring, key.text) == 401


async def test_a_key_that_was_just_made_works_a_second_after_it_was_tried_too_early() -> None:
    table = Table()
    key, ring = table.add(), table.ring
    row = table.rows.pop(key.id)
    assert await status_of(ring, key.text) == 401
    table.rows[key.id] = row
    table.time += 1.1
    assert await status_of(ring, key.text) == 200


async def test_a_known_key_goes_on_for_five_minutes_without_the_database() -> None:
    table = Table()
    key, ring = table.add(), table.ring
    await ring.verify(key.text)
    table.is_away = True
    table.time += 299
    assert await status_of(ring, key.text) == 200
    table.time += 2
    assert await status_of(ring, key.text) == 503


async def test_an_unseen_key_is_answered_503_without_the_database() -> None:
    table = Table(is_away=True)
    key = table.add()
    with pytest.raises(Problem) as caught:
        await table.ring.verify(key.text)
    assert caught.value.kind.status == 503
    assert "Retry-After" in caught.value.headers


async def test_a_database_that_just_failed_is_not_asked_for_each_request() -> None:
    table = Table(is_away=True)
    key, ring = table.add(), table.ring
    for _ in range(20):
        assert await status_of(ring, key.text) == 503
    assert table.lookups == 1


async def test_a_hundred_requests_at_once_ask_the_database_once() -> None:
    table = Table()
    key, ring = table.add(), table.ring
    await asyncio.gather(*(ring.verify(key.text) for _ in range(100)))
    assert table.lookups == 1


async def test_the_cache_is_bounded() -> None:
    table = Table()
    ring = table.ring
    for _ in range(MOST_ENTRIES + 50):
        await status_of(ring, mint().text)
    assert len(ring._entries) == MOST_ENTRIES


async def test_a_caller_of_before_is_renewed_until_the_key_is_revoked_or_gone() -> None:
    table = Table()
    key, ring = table.add(), table.ring
    principal = await ring.verify(key.text)
    assert await ring.renew(principal) == principal
    assert table.lookups == 1
    row = table.rows[key.id] = replace(table.rows[key.id], revoked_at=datetime.now(UTC))
    table.time += 30.1
    with pytest.raises(Problem, match="was revoked"):
        await ring.renew(principal)
    table.rows.pop(row.id)
    table.time += 30.1
    with pytest.raises(Problem, match="not known here any more"):
        await ring.renew(principal)
