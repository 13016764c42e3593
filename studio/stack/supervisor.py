"""The stack as one object: everything started, kept alive, and ended in order, in one data folder.

`studio up`, the demo and the tests all use it. What runs is decided in `plan.py` and `processes.py`,
how it is started and ended in `fleet.py`.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from studio.stack.errors import StackError, StartError
from studio.stack.fleet import Fleet
from studio.stack.folder import DEFAULT, DataFolder, FolderLock
from studio.stack.journal import Journal
from studio.stack.orphans import end_orphans
from studio.stack.other_processes import create_time
from studio.stack.plan import MONITOR, Options, Plan, make_plan
from studio.stack.ports import PortClaims
from studio.stack.processes import GATEWAY
from studio.stack.project import check_project
from studio.stack.server import Server
from studio.stack.state import Board, ProcessStatus, StackState
from studio.stack.watch import Watcher

START_ATTEMPTS = 3

Listener = Callable[[StackState], None]


class Stack:
    """`with Stack(folder) as stack: … stack.gateway_url, stack.api_key`. Start and stop block, within bounds.

    The listener hears of every change, in whichever thread it happens.
    """

    def __init__(
        self, folder: Path = DEFAULT, options: Options | None = None, listener: Listener | None = None
    ) -> None:
        self.folder = DataFolder.at(folder)
        self._options = options or Options()
        self._listener = listener or _nobody_listens
        self._lock = FolderLock(self.folder)
        self._journal = Journal(self.folder)
        self._claims = PortClaims()
        self._fleet: Fleet | None = None
        self._board: Board | None = None
        self._watcher: Watcher | None = None

    @property
    def state(self) -> StackState:
        return self._running_board.state

    @property
    def ready(self) -> bool:
        """Whether the start was completed and no stop was asked for."""
        return self._board is not None and self._board.state.status == "ready"

    @property
    def deleted(self) -> bool:
        """Whether the data folder was taken away while it runs: no other command can find it any more."""
        return self.ready and not self._lock.in_place()

    @property
    def gateway_url(self) -> str:
        return self.state.gateway_url

    @property
    def api_key(self) -> str:
        """The key that the set-up made."""
        return self.folder.key_file.read_text().strip()

    @property
    def nats_url(self) -> str:
        """Holds the password."""
        return self._running_fleet.nats.url

    @property
    def database_url(self) -> str:
        """Holds the password."""
        return self._running_fleet.postgres.url

    def server(self, name: str) -> Server:
        """The process of that name, for instance to `kill()` it; raises KeyError."""
        return {each.name: each for each in self._running_fleet.servers}[name]

    def start(self) -> None:
        """Everything ready, or nothing left running and an error that says why.

        Raises AlreadyRunning when another supervisor has the folder.
        """
        check_project()
        self.folder.prepare()
        self._lock.acquire()
        try:
            ended = end_orphans(self.folder)
            processes = "process" if ended == 1 else "processes"
            note = f"ended {ended} {processes} that an earlier supervisor had left running"
            notes = (note,) if ended else ()
            self._start_on_free_ports(notes)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all in order. Does nothing when nothing runs; raises StackError when a process survives."""
        try:
            if self._fleet and self._board:
                if lost := not self._lock.in_place():
                    self._board.leave_file()
                self._board.change(status="stopping")
                self._journal.write("stopping")
                self._fleet.cancel.set()
                if self._watcher:
                    self._watcher.join()
                self._fleet.stop(self._board)
                self._journal.write("stopped")
                if not lost:
                    self.folder.state_file.unlink(missing_ok=True)
        finally:
            self._fleet = self._watcher = None
            self._claims.release()
            self._lock.release()

    def hurry(self) -> None:
        """While `stop` waits in another thread: kill the services instead of waiting for them."""
        if fleet := self._fleet:
            fleet.kill_services()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _running_board(self) -> Board:
        if self._board is None:
            raise StackError("the stack was not started")
        return self._board

    @property
    def _running_fleet(self) -> Fleet:
        if self._fleet is None:
            raise StackError("the stack is not running")
        return self._fleet

    def _start_on_free_ports(self, notes: tuple[str, ...]) -> None:
        """A port found free may be gone when its process takes it; then all starts again on other ports."""
        for attempt in range(1, START_ATTEMPTS + 1):
            plan = make_plan(self._options, self._claims)
            fleet = self._fleet = Fleet(self.folder, plan, self._options)
            first = self._first_state(plan, fleet, (*notes, *plan.notes))
            board = self._board = Board(self.folder.state_file, first, self._listener)
            self._journal.write("starting", provider=plan.provider.name)
            try:
                fleet.start(board)
            except StartError as error:
                if attempt == START_ATTEMPTS or "address already in use" not in str(error).lower():
                    raise
                fleet.stop(board)
                self._claims.release()
            else:
                self._keep_alive(fleet, board)
                return

    def _keep_alive(self, fleet: Fleet, board: Board) -> None:
        self._watcher = Watcher(fleet.servers, self._report, self._options.backoff)
        self._watcher.start()
        self._journal.keep_logs_small(fleet.cancel)
        board.change(status="ready")
        self._journal.write("ready", url=board.state.gateway_url)

    def _first_state(self, plan: Plan, fleet: Fleet, notes: tuple[str, ...]) -> StackState:
        return StackState(
            folder=str(self.folder.root),
            key_file=str(self.folder.key_file),
            provider=plan.provider.name,
            provider_url=plan.provider.url,
            gateway_url=plan.url(GATEWAY),
            monitor_port=plan.ports[MONITOR],
            supervisor_pid=os.getpid(),
            supervisor_created=create_time(os.getpid()),
            started_at=time.time(),
            notes=notes,
            processes=fleet.processes(),
        )

    def _report(self, server: Server, status: ProcessStatus, note: str) -> None:
        restarts = self._running_board.state.process(server.name).restarts + (status == "ready")
        self._running_board.change_process(server.name, status=status, note=note, restarts=restarts)
        self._journal.write(note, level="info" if status == "ready" else "warning", process=server.name)


def _nobody_listens(state: StackState) -> None:
    """The listener of a stack that nobody watches."""
