"""What runs leave behind, files and sessions, through the client and the `studio` command."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from shared.steps import Artifact, RunRequested, ToolResult
from shared.subjects import RunKey
from studio import AsyncStudio, NotFound, NotSaved
from tests.integration.test_gateway_artifacts import LARGE, SMALL, artifact
from tests.support.commands import Command
from tests.support.fake_runner import Batches, running_fake_runner, use_tool
from tests.support.gateway import Gateway, projecting, running_gateway
from tests.support.waiting import eventually

FILES = (artifact("note.txt", SMALL, "text/plain"), artifact("speech.mp3", LARGE))
WAY_OUT = (artifact("../out", b"x"),)


def making(files: tuple[Artifact, ...], key: RunKey, request: RunRequested) -> Batches:
    return [
        [
            step.model_copy(update={"artifacts": files}) if isinstance(step, ToolResult) else step
            for step in batch
        ]
        for batch in use_tool(key, request)
    ]


@pytest.fixture
async def gateway(nats_url: str, database_url: str) -> AsyncIterator[Gateway]:
    async with (
        running_gateway(nats_url, database_url) as running,
        running_fake_runner(running.nats) as runner,
        projecting(running.nats, running.database),
    ):
        runner.scripts |= {"files": partial(making, FILES), "escape": partial(making, WAY_OUT)}
        yield running


@pytest.fixture
def command(gateway: Gateway) -> Command:
    return Command(gateway)


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[AsyncStudio]:
    async with AsyncStudio(gateway.url, gateway.key) as client:
        yield client


async def recorded(client: AsyncStudio, prompt: str, session_id: str | None = None) -> str:
    """A run that has ended and is in the lists."""
    run_id = (await client.run(prompt, session_id=session_id)).run_id

    async def is_listed() -> bool:
        return [run.status.is_final async for run in client.list(limit=1) if run.run_id == run_id] == [True]

    await eventually(is_listed)
    return run_id


async def test_the_client_saves_the_files_of_a_run(client: AsyncStudio, tmp_path: Path) -> None:
    run = await client.run("files please")
    made = [(file.name, file.media_type, file.size) for file in run.artifacts]
    assert made == [(file.name, file.media_type, file.size) for file in FILES]
    target = tmp_path / "speech"
    await client.save_artifact(run.run_id, "speech.mp3", target)
    assert target.read_bytes() == LARGE
    with pytest.raises(NotSaved, match="is there already"):
        await client.save_artifact(run.run_id, "note.txt", target)
    assert target.read_bytes() == LARGE
    await client.save_artifact(run.run_id, "note.txt", target, overwrite=True)
    assert target.read_bytes() == SMALL
    with pytest.raises(NotFound):
        await client.save_artifact(run.run_id, "other.txt", tmp_path / "other")
    assert [file.name for file in tmp_path.iterdir()] == ["speech"]


async def test_files_of_a_run_are_shown_listed_and_saved_by_commands(
    client: AsyncStudio, command: Command, tmp_path: Path
) -> None:
    run_id = await recorded(client, "files please")
    assert "note.txt (" in (await command("show", run_id)).stdout
    heading, first, second = (await command("artifacts", run_id[-8:])).stdout.splitlines()
    assert heading.split() == ["file", "type", "size"]
    assert first.split()[:2] == ["note.txt", "text/plain"]
    assert second.split() == ["speech.mp3", "audio/mpeg", "1.4", "MiB"]
    assert [file["size"] for file in await command.json("artifacts", run_id)] == [len(SMALL), len(LARGE)]
    folder = tmp_path / "new" / "folder"
    saved = (await command("artifacts", run_id, "--save", str(folder))).stdout
    assert f"saved {folder / 'speech.mp3'}, 1.4 MiB" in saved
    assert (folder / "speech.mp3").read_bytes() == LARGE
    refusal = await command.refused("artifacts", run_id, "--save", str(folder))
    assert f"{folder / 'note.txt'} is there already; `--overwrite`" in refusal
    await command("artifacts", run_id, "--save", str(folder), "--overwrite")
    assert sorted(file.name for file in folder.iterdir()) == ["note.txt", "speech.mp3"]


async def test_a_file_never_leaves_the_folder_that_it_is_saved_into(
    client: AsyncStudio, command: Command, tmp_path: Path
) -> None:
    run_id = (await client.run("escape please")).run_id
    refusal = await command.refused("artifacts", run_id, "--save", str(tmp_path / "in"))
    assert "'../out' is no name for a file" in refusal
    assert list(tmp_path.iterdir()) == []


async def test_a_run_without_files_says_so(client: AsyncStudio, command: Command, tmp_path: Path) -> None:
    run_id = (await client.run("hi")).run_id
    assert "no tool of the run made a file" in (await command("artifacts", run_id)).stderr
    assert "files" not in (await command("show", run_id)).stdout
    await command.refused("artifacts", run_id, "--save", str(tmp_path / "in"))
    (tmp_path / "taken").write_text("x")
    files = (await client.run("files please")).run_id
    assert "cannot be made" in await command.refused("artifacts", files, "--save", str(tmp_path / "taken"))


async def test_the_client_reads_a_session_and_writes_its_notes(client: AsyncStudio) -> None:
    runs = [await recorded(client, f"hi {number}", "a/b") for number in range(2)]
    assert (await client.session("a/b")).runs == 2
    found = [run async for run in client.session_runs("a/b")]
    assert [run.run_id for run in found] == runs
    assert found[0].memory == {}
    written = await client.put_note("a/b", "language", "French")
    assert await client.notes("a/b") == (written,)
    await client.delete_note("a/b", "language")
    assert await client.notes("a/b") == ()
    with pytest.raises(NotFound):
        await client.session("nobody's")


async def test_a_session_is_shown_with_its_newest_runs_and_its_notes(
    client: AsyncStudio, command: Command
) -> None:
    assert "studio run --session" in (await command("session")).stderr
    first, second = [await recorded(client, f"hi {number}", "s1") for number in range(2)]
    await client.put_note("s1", "language", "French\x1b[31m\nand German")
    assert (await command("session")).stdout.splitlines()[1].split()[:2] == ["s1", "2"]
    view = (await command("session", "s1")).stdout
    assert view.index(first) < view.index(second)
    for words in ("language", "and German"):
        assert words in view
    assert "\x1b" not in view
    newest = (await command("session", "s1", "-n", "1")).stdout
    assert "2, the last 1 below" in newest
    assert first not in newest
    whole = (await command.json("session", "s1"))[0]
    assert ([run["run_id"] for run in whole["items"]], whole["runs"]) == ([first, second], 2)
    assert [note["key"] for note in whole["notes"]] == ["language"]
    assert "there is no session 'nope'" in await command.refused("session", "nope")
