"""Notes on the real broker: kept, found, listed and erased, by their owners alone; and the tool over them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import uuid_utils
from nats.aio.client import Client
from pydantic import ValidationError

from services.runner.tools.base import ToolContext
from services.runner.tools.memory import MemoryTool
from services.runner.tools.registry import ToolRegistry
from services.runner.tools.settings import ToolSettings
from shared import memory as limits
from shared.bus import MEMORY, client_of, jetstream, make_broker
from shared.memory import MOST_KEY_CHARACTERS, MOST_TEXT_BYTES, Memory, MemoryRefused, Owner
from shared.scrub import Scrubber
from shared.service import Runtime
from shared.steps import Effect

NASTY = ["*", ">", "a.b", "a.*", "..", " ", "é" * 20, "$KV.memory.>", "\N{ZERO WIDTH SPACE}x", "x" * 128]


@pytest.fixture
async def runtime(nats_url: str) -> AsyncIterator[Runtime]:
    async with make_broker("test-memory", nats_url) as broker:
        yield Runtime("test-memory", broker, Scrubber())


@pytest.fixture
def client(runtime: Runtime) -> Client:
    return client_of(runtime.broker)


def owner(name: str | None = None, project: str = "default") -> Owner:
    """A session that no other test has."""
    return Owner(project, "session", name or str(uuid_utils.uuid7()))


async def test_a_note_is_there_at_once_can_be_replaced_and_is_gone_when_erased(client: Client) -> None:
    memory, mine = Memory(client), owner()
    assert await memory.get(mine, "name") is None
    await memory.put(mine, "name", "Ada")
    await memory.put(mine, "name", "Grace")
    note = await memory.get(mine, "name")
    assert note is not None
    assert (note.key, note.text) == ("name", "Grace")
    assert await memory.list(mine) == (note,)
    assert await memory.delete(mine, "name") is True
    assert await memory.delete(mine, "name") is False
    assert (await memory.get(mine, "name"), await memory.list(mine)) == (None, ())


async def test_an_erased_note_leaves_nothing_on_the_broker(client: Client) -> None:
    memory, mine = Memory(client), owner()
    before = (await jetstream(client).stream_info(f"KV_{MEMORY}")).state.messages
    await memory.put(mine, "secret", "text")
    await memory.delete(mine, "secret")
    assert (await jetstream(client).stream_info(f"KV_{MEMORY}")).state.messages == before


async def test_every_owner_has_notes_of_its_own(client: Client) -> None:
    memory, name = Memory(client), str(uuid_utils.uuid7())
    owners = [Owner(project, scope, name) for project in ("one", "two") for scope in limits.SCOPES]
    for number, each in enumerate(owners):
        await memory.put(each, "key", str(number))
    for number, each in enumerate(owners):
        assert [note.text for note in await memory.list(each)] == [str(number)]
    await memory.delete(owners[0], "key")
    assert [len(await memory.list(each)) for each in owners] == [0, 1, 1, 1, 1, 1]


async def test_no_name_and_no_key_reaches_another_ones_notes(client: Client) -> None:
    memory, mine = Memory(client), owner()
    await memory.put(mine, "mine", "text")
    for name in NASTY:
        assert await memory.list(owner(name)) == ()
        other = owner(f"{name}{mine.name}")
        await memory.put(other, "k", name)
        assert [note.text for note in await memory.list(other)] == [name]
        assert await memory.delete(mine, name) is False
    for key in NASTY:
        if key.isprintable():
            await memory.put(mine, key, "text")
            assert (await memory.get(mine, key)) is not None
    assert {note.key for note in await memory.list(mine)} == {"mine", *filter(str.isprintable, NASTY)}
    for project in ("*", ">", "a.b", ""):
        with pytest.raises(ValidationError):
            await memory.list(owner(mine.name, project))


async def test_size_and_number_of_notes_are_bounded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_NOTES", 3)
    memory, mine = Memory(client), owner()
    for key, text in [("", "x"), ("k" * (MOST_KEY_CHARACTERS + 1), "x"), ("a\nb", "x"), ("k", "é" * 8193)]:
        with pytest.raises(MemoryRefused):
            await memory.put(mine, key, text)
    for number in range(3):
        await memory.put(mine, f"k{number}", "x" * MOST_TEXT_BYTES)
    with pytest.raises(MemoryRefused, match="3 notes of this session, the limit"):
        await memory.put(mine, "k3", "one more")
    await memory.put(mine, "k0", "another text")
    assert len(await memory.list(mine)) == 3


async def test_no_project_takes_the_room_of_others(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_OF_A_PROJECT", 3)
    memory = Memory(client)
    for number in range(3):
        await memory.put(owner(project="busy"), f"k{number}", "text")
    with pytest.raises(MemoryRefused, match="3 notes in this project, the limit"):
        await memory.put(owner(project="busy"), "k3", "one more")
    await memory.put(owner(project="busy-2"), "k", "of another project")


Call = dict[str, Any]


class Desk:
    """The tool in a run of a session, an agent and a user."""

    def __init__(self, runtime: Runtime) -> None:
        self.tools = ToolRegistry({"memory": MemoryTool.from_settings(ToolSettings())})
        self.tools.connect(runtime)
        self.names = {scope: str(uuid_utils.uuid7()) for scope in limits.SCOPES}

    async def __call__(self, *, session: bool = True, **arguments: Any) -> tuple[str, Any]:
        context = ToolContext(
            project="default",
            run_id="run",
            session_id=self.names["session"] if session else None,
            call_id="call",
            idempotency_key="key",
            user_id=self.names["user"],
            agent=self.names["agent"],
        )
        outcome = await self.tools.call("memory", arguments, context)
        return outcome.status, outcome.result


async def test_an_agent_keeps_notes_for_session_agent_and_user(runtime: Runtime, client: Client) -> None:
    desk = Desk(runtime)
    for scope, name in desk.names.items():
        kept = await desk(action="put", scope=scope, key="likes", text=f"tea ({scope})")
        assert kept == ("ok", {"key": "likes", "kept": True})
        status, found = await desk(action="get", scope=scope, key="likes")
        assert (status, found["text"]) == ("ok", f"tea ({scope})")
        note = await Memory(client).get(Owner("default", scope, name), "likes")
        assert note is not None
    assert await desk(action="list") == ("ok", {"notes": [{"key": "likes", "characters": 13}]})
    assert await desk(action="delete", key="likes") == ("ok", {"key": "likes", "deleted": True})
    assert await desk(action="list") == ("ok", {"notes": []})
    status, told = await desk(action="get", key="likes")
    assert (status, told) == (
        "error",
        "There is no note 'likes' of this session; list shows those there are.",
    )


async def test_what_cannot_be_kept_is_told(runtime: Runtime) -> None:
    desk = Desk(runtime)
    wrong: list[tuple[Call, str]] = [
        ({"action": "put", "key": "k"}, "`text` is required"),
        ({"action": "get"}, "`key` is required"),
        ({"action": "list", "key": "k"}, "no meaning for list"),
        ({"action": "put", "key": "k", "text": "é" * 10_000}, "at most 16384 bytes"),
        ({"action": "put", "key": "a\nb", "text": "x"}, "printable"),
        ({"action": "put", "scope": "world", "key": "k", "text": "x"}, "scope"),
    ]
    for arguments, words in wrong:
        status, told = await desk(**arguments)
        assert (status, words in told) == ("error", True), told
    status, told = await desk(session=False, action="list")
    assert (status, told) == ("error", "This run belongs to no session; use the scope agent or user.")


async def test_looking_is_pure_and_changing_can_be_repeated(runtime: Runtime) -> None:
    effect_of = Desk(runtime).tools.effect_of
    assert effect_of("memory", {"action": "list"}) is Effect.PURE
    assert effect_of("memory", {"action": "put", "key": "k", "text": "x"}) is Effect.IDEMPOTENT
    assert effect_of("memory", {"action": "delete", "key": "k"}) is Effect.IDEMPOTENT


async def test_a_broker_that_is_away_is_told(runtime: Runtime) -> None:
    desk = Desk(runtime)
    await runtime.client.close()
    status, told = await desk(action="list")
    assert (status, told.split(";")[0]) == ("error", "The memory does not answer right now")
