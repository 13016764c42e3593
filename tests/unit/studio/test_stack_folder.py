"""The data folder: one owner at a time, secrets for the owner only, a state that never blocks a start."""

import json
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from shared.bundle.signing import SigningKey
from studio.stack import ownership, ports
from studio.stack.control import stop_running
from studio.stack.errors import AlreadyRunning, StackError
from studio.stack.folder import DataFolder, FolderLock
from studio.stack.graph import Node, run_graph
from studio.stack.ownership import append_own, read_or_make_secret, replace_own
from studio.stack.ports import PortClaims
from studio.stack.state import Board, ProcessState, StackState, read_state, write_state
from studio.stack.status import report

STATE = StackState(
    folder="/data",
    key_file="/data/api-key",
    provider="simulator",
    provider_url="",
    gateway_url="http://127.0.0.1:8000",
    monitor_port=8222,
    supervisor_pid=1,
    supervisor_created=1.5,
    started_at=2.5,
    notes=("a note",),
    processes=(
        ProcessState("nats", "server", "/data/nats.log"),
        ProcessState("cost", "service", "/data/cost.log"),
    ),
)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    made = DataFolder.at(tmp_path / "studio")
    made.prepare()
    return made


def test_only_one_has_the_folder(folder: DataFolder) -> None:
    lock, other = FolderLock(folder), FolderLock(folder)
    assert lock.owner() == 0
    lock.acquire()
    with pytest.raises(AlreadyRunning, match="already running in"):
        other.acquire()
    assert other.owner() == os.getpid()
    lock.release()
    other.acquire()
    other.release()
    assert lock.owner() == 0


@pytest.mark.parametrize("name", ["root", "lock", "state.json"])
def test_what_belongs_to_another_user_is_refused_in_words(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_state(folder.state_file, STATE)
    folder.lock_file.touch()
    theirs = folder.root if name == "root" else folder.root / name
    number = theirs.stat().st_ino
    check = ownership._check_owner

    def check_as_a_stranger(path: Path, owner: int) -> None:
        check(path, owner + 1 if path.stat().st_ino == number else owner)

    monkeypatch.setattr(ownership, "_check_owner", check_as_a_stranger)
    for act in (partial(stop_running, folder, lambda _: None), partial(report, folder)):
        with pytest.raises(StackError, match=f"{theirs} belongs to uid .*, but this is uid"):
            act()


@pytest.mark.parametrize("name", ["lock_file", "state_file"])
def test_a_link_is_not_followed(folder: DataFolder, tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").write_text("kept")
    getattr(folder, name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StackError, match="is a symbolic link"):
        report(folder)
    assert (tmp_path / "elsewhere").read_text() == "kept"


def test_a_lock_whose_file_was_deleted_or_replaced_is_out_of_place(folder: DataFolder) -> None:
    lock, other = FolderLock(folder), FolderLock(folder)
    assert not lock.in_place()
    lock.acquire()
    assert lock.in_place()
    folder.lock_file.unlink()
    assert not lock.in_place()
    other.acquire()
    assert (lock.in_place(), other.in_place()) == (False, True)
    lock.release()
    other.release()


def test_a_board_that_left_its_file_tells_and_does_not_write(folder: DataFolder) -> None:
    told: list[StackState] = []
    board = Board(folder.state_file, STATE, told.append)
    board.leave_file()
    board.change(status="stopping")
    assert told[-1].status == "stopping"
    assert read_state(folder.state_file) == STATE


def test_asking_for_the_owner_never_keeps_anyone_from_taking_the_lock(folder: DataFolder) -> None:
    lock, asked = FolderLock(folder), threading.Event()

    def ask() -> None:
        while not asked.is_set():
            FolderLock(folder).owner()

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        for _ in range(300):
            lock.acquire()
            lock.release()
    finally:
        asked.set()
        asker.join()


def test_the_lock_of_a_killed_owner_is_free(folder: DataFolder) -> None:
    script = (
        "import os, sys; from pathlib import Path; from studio.stack.folder import DataFolder, FolderLock; "
        "FolderLock(DataFolder(Path(sys.argv[1]))).acquire(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder.root)], timeout=30, check=False)
    assert done.returncode == -9
    lock = FolderLock(folder)
    assert lock.owner() == 0
    lock.acquire()
    lock.release()


def test_a_folder_that_cannot_be_made_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="file is no folder"):
        DataFolder.at(tmp_path / "file" / "studio").prepare()


def test_others_may_pass_the_folder_and_read_nothing(folder: DataFolder) -> None:
    folder.pepper()
    folder.bundle_key()
    assert folder.root.stat().st_mode & 0o777 == 0o711
    for path in folder.root.iterdir():
        assert path.stat().st_mode & 0o077 == 0


def test_a_stack_signs_with_one_key_for_ever(folder: DataFolder) -> None:
    made = folder.bundle_key()
    assert SigningKey(made).public == SigningKey(DataFolder.at(folder.root).bundle_key()).public


def test_what_is_made_is_closed_to_others_and_follows_no_link(folder: DataFolder) -> None:
    (folder.root / "elsewhere").write_text("kept")
    for name, make in (
        ("log", lambda file: append_own(file).close()),
        ("secret", read_or_make_secret),
        ("state", partial(replace_own, text="{}")),
    ):
        make(folder.root / name)
        assert (folder.root / name).stat().st_mode & 0o777 == 0o600
        (folder.root / name).unlink()
        for link in (name, f"{name}.new"):
            (folder.root / link).symlink_to(folder.root / "elsewhere")
        with pytest.raises(StackError, match="is a symbolic link"):
            make(folder.root / name)
    assert (folder.root / "elsewhere").read_text() == "kept"


def test_port_claims_in_a_strangers_folder_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(StackError, match=r"studio-ports-\d+ belongs to uid"):
        PortClaims().choose(20_000)


def test_looking_for_a_port_ends_when_none_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "is_free", lambda _: False)
    with pytest.raises(StackError, match="no free port was found"):
        PortClaims().choose(20_000)


def test_a_state_is_read_as_it_was_written(folder: DataFolder) -> None:
    write_state(folder.state_file, STATE)
    assert read_state(folder.state_file) == STATE
    assert folder.state_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"processes": [{"name": "x"}]}', '"text"', "null"])
def test_a_state_that_cannot_be_read_counts_as_none(folder: DataFolder, content: str) -> None:
    folder.state_file.write_text(content)
    assert read_state(folder.state_file) is None


def test_every_change_is_written_and_told_once(folder: DataFolder) -> None:
    told: list[StackState] = []
    board = Board(folder.state_file, STATE, told.append)
    board.change_process("cost", status="ready", pid=7)
    board.change_process("cost", status="ready", pid=7)
    board.change(status="ready")
    assert [(state.status, state.process("cost").pid) for state in told] == [
        ("starting", 0),
        ("starting", 7),
        ("ready", 7),
    ]
    assert read_state(folder.state_file) == told[-1] == board.state
    assert json.loads(folder.state_file.read_text())["processes"][0]["name"] == "nats"


def test_actions_run_after_those_they_wait_for() -> None:
    order: list[str] = []
    nodes = [
        Node("a", (), lambda: order.append("a")),
        Node("b", ("a",), lambda: order.append("b")),
        Node("c", ("a", "b"), lambda: order.append("c")),
    ]
    run_graph(nodes, on_failure=lambda: order.append("failed"))
    assert order == ["a", "b", "c"]


def test_what_waits_for_a_failed_action_does_not_run() -> None:
    order: list[str] = []

    def fail() -> None:
        raise StackError("no")

    with pytest.raises(StackError, match="no"):
        run_graph(
            [Node("a", (), fail), Node("b", ("a",), lambda: order.append("b"))],
            on_failure=lambda: order.append("failed"),
        )
    assert order == ["failed"]


def test_a_lock_whose_file_names_nobody_alive_is_an_error_not_a_wrong_pid(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.stack.folder.OWNER_S", 0.05)
    lock = FolderLock(folder)
    lock.acquire()
    folder.lock_file.write_text(f"{os.getpid()} 12.5\n")
    with pytest.raises(StackError, match="names no process that lives"):
        lock.owner()
    lock.release()


def test_a_state_that_cannot_be_written_is_noted_and_kept(folder: DataFolder) -> None:
    board = Board(folder.state_file, STATE, lambda _: None)
    unfinished = folder.root / "state.json.new"
    unfinished.mkdir()
    board.change_process("cost", status="ready")
    assert board.state.process("cost").status == "ready"
    assert board.state.notes[-1] == f"the state is not written: {unfinished}: Is a directory"
