"""file_io: a workspace per session that keeps its promises, and out of which no path leads."""

import asyncio
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from services.runner.tools.base import ToolContext
from services.runner.tools.file_io import FileIo
from services.runner.tools.registry import ToolOutcome, ToolRegistry
from services.runner.tools.settings import ToolSettings
from services.runner.tools.workspace import journal, workspace
from services.runner.tools.workspace.journal import Journal
from services.runner.tools.workspace.names import folder_name
from services.runner.tools.workspace.workspace import Quota
from shared.steps import Effect

Contexts = Callable[..., ToolContext]


class Files:
    """The tool in a workspace of its own, called as the runner calls it."""

    def __init__(self, base: Path, contexts: Contexts, quota: Quota) -> None:
        self.base = base
        self.home = base / "default" / "session-s1"
        self.files = self.home / "files"
        self._contexts = contexts
        self._registry = ToolRegistry({"file_io": FileIo(base, quota)})

    async def outcome(
        self, action: str, path: str = ".", key: str | None = None, session: str | None = "s1", **more: Any
    ) -> ToolOutcome:
        arguments: dict[str, Any] = {"action": action, "path": path, **more}
        return await self._registry.call("file_io", arguments, self._contexts(session_id=session, key=key))

    async def do(self, action: str, path: str = ".", key: str | None = None, **more: Any) -> dict[str, Any]:
        outcome = await self.outcome(action, path, key, **more)
        assert outcome.status == "ok", outcome.result
        assert isinstance(outcome.result, dict)
        return outcome.result

    async def refusal(self, action: str, path: str = ".", **more: Any) -> str:
        outcome = await self.outcome(action, path, **more)
        assert outcome.status == "error", outcome.result
        assert "fault of its own" not in str(outcome.result)
        return str(outcome.result)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def files(tmp_path: Path, contexts: Contexts) -> Files:
    return Files(tmp_path / "base", contexts, Quota(file_bytes=1000, total_bytes=2500, files=6))


async def test_what_is_written_can_be_read_listed_and_deleted(files: Files) -> None:
    written = await files.do("write", "notes/today.txt", content="héllo")
    assert written == {"path": "notes/today.txt", "bytes": 6, "created": True}
    assert (await files.do("read", "./notes//today.txt"))["content"] == "héllo"
    assert (await files.do("list"))["entries"] == [{"name": "notes", "type": "folder"}]
    listed = await files.do("list", "notes")
    assert listed["entries"] == [{"name": "today.txt", "type": "file", "bytes": 6}]
    assert (await files.do("delete", "notes/today.txt"))["deleted"] is True
    assert (await files.do("delete", "notes"))["deleted"] is True
    assert (await files.do("list"))["entries"] == []


async def test_append_adds_to_the_end_and_makes_a_missing_file(files: Files) -> None:
    assert (await files.do("append", "log", content="one "))["created"] is True
    await files.do("append", "log", content="two")
    assert (await files.do("read", "log"))["content"] == "one two"


async def test_files_and_folders_are_open_to_the_owner_alone(files: Files) -> None:
    await files.do("write", "a/b", content="x")
    folders = [files.base, files.home.parent, files.home, files.files, files.files / "a"]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    assert stat.S_IMODE((files.files / "a/b").stat().st_mode) == 0o600


async def test_sessions_do_not_see_each_other_and_a_run_without_one_has_its_own(files: Files) -> None:
    for session, content in (("s1", "one"), ("S1", "two"), ("../s1", "three"), (None, "four"), ("", "five")):
        await files.outcome("write", "mine", session=session, content=content)
    for session, content in (("s1", "one"), ("S1", "two"), ("../s1", "three"), (None, "four"), ("", "five")):
        outcome = await files.outcome("read", "mine", session=session)
        assert isinstance(outcome.result, dict)
        assert outcome.result["content"] == content
    assert len(names(files.home.parent)) == 5


@given(st.text(), st.text())
def test_no_two_identities_share_a_folder_and_none_leaves_it(one: str, other: str) -> None:
    assert (folder_name(one) == folder_name(other)) == (one == other)
    assert "/" not in folder_name(one)
    assert not folder_name(one).startswith(".")
    assert 0 < len(folder_name(one)) <= 100


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("../outside", "must not contain `..`"),
        ("a/../../outside", "must not contain `..`"),
        ("/etc/passwd", "must be relative"),
        ("//etc/passwd", "must be relative"),
        ("/dev/zero", "must be relative"),
        ("/proc/self/environ", "must be relative"),
        ("nul\x00.txt", "cannot be printed"),
        ("line\nbreak", "cannot be printed"),
        ("bidi\u202e", "cannot be printed"),
        ("n" * 256, "longer than 255 bytes"),
        ("é" * 128, "longer than 255 bytes"),
        ("x/" * 600, "longer than 1024"),
        ("d/" * 17 + "f", "more than 16 parts"),
        (".", "names the workspace itself"),
        ("", "names the workspace itself"),
    ],
)
async def test_a_path_that_is_not_inside_is_refused_with_what_would_be_right(
    files: Files, path: str, words: str
) -> None:
    assert words in await files.refusal("read", path)
    assert words in await files.refusal("write", path, content="x")
    assert words in await files.refusal("delete", path)


async def test_a_lone_surrogate_is_refused(files: Files) -> None:
    assert "lone surrogates" in await files.refusal("read", "\udc80")
    assert "lone surrogates" in await files.refusal("write", "f", content="\ud800")


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(path=st.text(st.characters() | st.sampled_from("./~\\\x00"), max_size=30))
async def test_no_path_whatever_changes_anything_outside(files: Files, path: str) -> None:
    await files.do("delete", "nothing")
    outcome = await files.outcome("write", path, content="")
    assert "fault of its own" not in str(outcome.result)
    await files.outcome("delete", path)
    assert names(files.base.parent) == ["base"]
    assert names(files.home.parent) == ["session-s1"]
    assert names(files.home) == ["files", "journal", "lock", "staged"]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("secret")
    return folder


async def plant(files: Files, name: str, target: Path) -> None:
    await files.do("list")
    (files.files / name).symlink_to(target)


async def test_a_planted_link_to_a_file_outside_is_neither_read_nor_written(
    files: Files, secret: Path
) -> None:
    await plant(files, "link", secret / "secret")
    assert "not a plain file" in await files.refusal("read", "link")
    assert "not a plain file" in await files.refusal("write", "link", content="x")
    assert "not a plain file" in await files.refusal("append", "link", content="x")
    assert (await files.do("list"))["entries"] == [{"name": "link", "type": "other"}]
    assert (await files.do("delete", "link"))["deleted"] is True
    assert (secret / "secret").read_text() == "secret"


async def test_a_planted_link_to_a_folder_outside_is_not_entered(files: Files, secret: Path) -> None:
    await plant(files, "way", secret)
    for action, more in (("read", {}), ("write", {"content": "x"}), ("append", {"content": "x"})):
        assert "is not a folder" in await files.refusal(action, "way/secret", **more)
    assert "is not a folder" in await files.refusal("list", "way")
    assert (await files.do("delete", "way/secret"))["deleted"] is False
    assert names(secret) == ["secret"]


async def test_a_link_in_place_of_the_workspace_is_not_entered(files: Files, secret: Path) -> None:
    files.home.parent.mkdir(parents=True)
    files.home.symlink_to(secret)
    assert "cannot do this now" in await files.refusal("read", "secret")
    assert names(secret) == ["secret"]


async def test_a_second_hard_link_to_a_file_outside_is_not_read(files: Files, secret: Path) -> None:
    await files.do("list")
    (files.files / "hard").hardlink_to(secret / "secret")
    assert "not a plain file" in await files.refusal("read", "hard")


async def test_pipes_and_sockets_neither_block_nor_read(files: Files) -> None:
    await files.do("list")
    os.mkfifo(files.files / "pipe")
    for action, more in (("read", {}), ("write", {"content": "x"}), ("append", {"content": "x"})):
        assert "not a plain file" in await asyncio.wait_for(files.refusal(action, "pipe", **more), 5)


async def test_a_file_over_its_quota_is_refused_and_nothing_is_changed(files: Files) -> None:
    await files.do("write", "f", content="x" * 1000)
    assert "would have 1001 bytes; a file may have 1000" in await files.refusal(
        "write", "f", content="x" * 1001
    )
    assert "would have 1001 bytes" in await files.refusal("append", "f", content="y")
    assert (await files.do("read", "f"))["content"] == "x" * 1000


async def test_a_workspace_over_its_size_is_refused_but_may_replace_and_delete(files: Files) -> None:
    for name in ("a", "b"):
        await files.do("write", name, content="x" * 1000)
    assert "holds 2000 bytes of the 2500" in await files.refusal("write", "c", content="x" * 501)
    await files.do("write", "a", content="y" * 1000)
    await files.do("delete", "b")
    await files.do("write", "c", content="x" * 501)


async def test_a_workspace_with_too_many_files_and_folders_is_refused(files: Files) -> None:
    for name in ("a/b/c", "d", "e"):
        await files.do("write", name, content="")
    assert "may hold 6 files and folders" in await files.refusal("write", "f/g", content="")
    assert not (files.files / "f").exists()
    await files.do("write", "f", content="")
    assert "may hold 6" in await files.refusal("append", "h", content="")
    await files.do("append", "f", content="still fine")


async def test_folders_and_files_are_not_taken_for_each_other(files: Files) -> None:
    await files.do("write", "folder/file", content="x")
    assert "is a folder" in await files.refusal("read", "folder")
    assert "is a folder" in await files.refusal("write", "folder", content="x")
    assert "is not a folder" in await files.refusal("write", "folder/file/deeper", content="x")
    assert "is not a folder" in await files.refusal("list", "folder/file")
    assert "is not empty" in await files.refusal("delete", "folder")
    assert "no file 'nothing'" in await files.refusal("read", "nothing")
    assert "no folder 'no'" in await files.refusal("read", "no/thing")
    assert (await files.do("delete", "nothing"))["deleted"] is False


async def test_content_is_asked_for_where_it_belongs(files: Files) -> None:
    assert "`content` is required to write" in await files.refusal("write", "f")
    assert "no meaning for read" in await files.refusal("read", "f", content="x")


async def test_a_binary_file_is_not_read_as_text(files: Files) -> None:
    await files.do("list")
    (files.files / "binary").write_bytes(b"ab\xff\xfe")
    assert "is not UTF-8 text" in await files.refusal("read", "binary")


async def test_a_long_file_is_read_in_parts_that_join_without_a_seam(
    tmp_path: Path, contexts: Contexts
) -> None:
    files = Files(tmp_path, contexts, Quota(file_bytes=10**6, total_bytes=10**6, files=5))
    content = 'é€😀"\n' * 20_000
    await files.do("write", "long", content=content)
    read, offset = "", 0
    for _ in range(20):
        part = await files.do("read", "long", offset=offset)
        read += part["content"]
        if "next_offset" not in part:
            break
        assert part["truncated"] is True
        offset = part["next_offset"]
    assert read == content
    assert "offset must not be larger" in await files.refusal("read", "long", offset=10**7)


@pytest.mark.parametrize("action", ["append", "write"])
async def test_a_repeated_call_is_applied_once_even_after_others(files: Files, action: str) -> None:
    first = await files.do(action, "f", key="k1", content="a")
    await files.do("append", "f", key="k2", content="b")
    assert await files.do(action, "f", key="k1", content="a") == first
    assert (await files.do("read", "f"))["content"] == "ab"


async def test_a_repeated_delete_does_not_take_a_newer_file(files: Files) -> None:
    await files.do("write", "f", content="old")
    first = await files.do("delete", "f", key="k1")
    await files.do("write", "f", content="new")
    assert await files.do("delete", "f", key="k1") == first
    assert (await files.do("read", "f"))["content"] == "new"


class Crash(BaseException):
    """Ends the work as a killed process would: nothing after it runs, nothing is tidied up."""


class CrashingAt:
    """A function of `os` that works until its n-th call."""

    def __init__(self, function: str, last: int) -> None:
        self._real = getattr(os, function)
        self._last = last
        self.calls = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        if self.calls == self._last:
            raise Crash
        return self._real(*args, **kwargs)


@pytest.fixture
def crash_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, int], CrashingAt]]:
    def patch(function: str, last: int) -> CrashingAt:
        monkeypatch.undo()
        crashing = CrashingAt(function, last)
        monkeypatch.setattr(os, function, crashing)
        return crashing

    yield patch
    monkeypatch.undo()


@pytest.mark.parametrize("function", ["rename", "fsync", "open"])
async def test_a_crash_at_any_moment_leaves_an_append_applied_once(
    files: Files, monkeypatch: pytest.MonkeyPatch, crash_at: Callable[[str, int], CrashingAt], function: str
) -> None:
    counted = crash_at(function, 0)
    await files.do("append", "f", content="start ")
    monkeypatch.undo()
    assert 0 < counted.calls < 100
    for last in range(1, counted.calls + 1):
        await files.do("write", "f", content="start ")
        crash_at(function, last)
        await files.outcome("append", "f", key=f"once-{last}", content="once ")
        monkeypatch.undo()
        await files.do("append", "f", content="other ")
        assert names(files.home / "staged") == []
        await files.do("append", "f", key=f"once-{last}", content="once ")
        assert sorted((await files.do("read", "f"))["content"].split()) == ["once", "other", "start"]


@pytest.mark.parametrize("last", [1, 2])
async def test_a_second_crash_while_healing_leaves_an_append_applied_once(
    files: Files, monkeypatch: pytest.MonkeyPatch, crash_at: Callable[[str, int], CrashingAt], last: int
) -> None:
    crash_at("rename", 2)
    await files.outcome("append", "f", key="once", content="once")
    crash_at("unlink", last)
    await files.outcome("append", "f", key="once", content="once")
    monkeypatch.undo()
    await files.do("append", "f", key="once", content="once")
    await files.do("append", "f", key="once", content="once")
    assert (await files.do("read", "f"))["content"] == "once"


async def test_changes_at_the_same_time_are_all_applied(files: Files) -> None:
    await asyncio.gather(*(files.do("append", "f", content=f"{number} ") for number in range(20)))
    content = (await files.do("read", "f"))["content"]
    assert sorted(content.split(), key=int) == [str(number) for number in range(20)]


async def test_a_workspace_that_stays_locked_is_told_in_bounded_time(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "LOCK_WAIT_S", 0.1)
    await files.do("write", "f", content="x")
    with (files.home / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "Another call is changing" in await files.refusal("write", "f", content="y")
    await files.do("write", "f", content="y")


async def test_the_journal_stays_small_and_keeps_the_newest(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "MAX_RECORDS", 10)
    for number in range(25):
        await files.do("append", "f", key=f"k{number}", content=f"{number} ")
    assert len(names(files.home / "journal")) <= 10
    await files.do("append", "f", key="k24", content="24 ")
    assert (await files.do("read", "f"))["content"].count("24 ") == 1


async def test_a_full_disk_is_told_and_leaves_the_old_file(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    await files.do("write", "f", content="old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "stage", full)
        assert "No space left on device" in await files.refusal("write", "f", content="new")
    assert (await files.do("read", "f"))["content"] == "old"


def test_looking_is_pure_and_changing_is_idempotent(tmp_path: Path) -> None:
    registry = ToolRegistry({"file_io": FileIo.from_settings(ToolSettings(workspace_dir=tmp_path))})
    effects = {
        action: registry.effect_of("file_io", {"action": action, "path": "f"} | content)
        for action, content in (
            ("list", {}),
            ("read", {}),
            ("delete", {}),
            ("write", {"content": ""}),
            ("append", {"content": ""}),
        )
    }
    assert effects.pop("list") == effects.pop("read") == Effect.PURE
    assert set(effects.values()) == {Effect.IDEMPOTENT}
