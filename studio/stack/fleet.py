"""The processes of one start: made from the plan, started as a graph, ended stage by stage."""

import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from studio.stack.environment import MARK, child_environment
from studio.stack.errors import StackError
from studio.stack.folder import DataFolder
from studio.stack.graph import Node, run_graph
from studio.stack.nats import NatsServer
from studio.stack.plan import MONITOR, Options, Plan
from studio.stack.postgres import PostgresServer
from studio.stack.processes import BROKER, DATABASE, Service, SetupStep
from studio.stack.server import Server
from studio.stack.service_process import ServiceProcess, await_end, run_step
from studio.stack.state import Board, ProcessState


class Fleet:
    """Made anew for each start. Setting `cancel` makes every start and wait end at once."""

    def __init__(self, folder: DataFolder, plan: Plan, options: Options) -> None:
        self._folder = folder
        self._plan = plan
        self._options = options
        self._pepper, self._bundle_key = folder.pepper(), folder.bundle_key()
        self.cancel = threading.Event()
        self.nats = NatsServer(
            folder.nats, port=plan.ports[BROKER], monitor_port=plan.ports[MONITOR], log=folder.log(BROKER)
        )
        # Here, since set-up steps that ask for the address begin before or after the broker does.
        self.nats.prepare()
        self.postgres = PostgresServer(
            folder.postgres, port=plan.ports[DATABASE], fsync=options.fsync, log=folder.log(DATABASE)
        )
        self.services = tuple(
            ServiceProcess(
                service, plan.ports[service.name], folder.log(service.name), partial(self._env, service)
            )
            for service in plan.services
        )
        self.servers: tuple[Server, ...] = (self.nats, self.postgres, *self.services)
        for server in self.servers:
            server.cancel = self.cancel

    def processes(self) -> tuple[ProcessState, ...]:
        """How everything looks before the start, in the order in which it is shown."""
        log = self._folder.log
        servers = [
            ProcessState(each.name, "server", str(each.log), port=each.port) for each in self.servers[:2]
        ]
        steps = [ProcessState(each.name, "setup", str(log(each.name))) for each in self._options.table.steps]
        services = [
            ProcessState(each.name, "service", str(each.log), port=each.port) for each in self.services
        ]
        return (*servers, *steps, *services)

    def start(self, board: Board) -> None:
        """Start all, each as early as it can; returns when all are ready. After an error the caller stops."""
        for server in self.servers:
            server.on_spawn = partial(_record, board)
        nodes = [
            Node(each.name, (), partial(self._start, each, board)) for each in (self.nats, self.postgres)
        ]
        steps = self._options.table.steps
        nodes += [Node(each.name, each.after, partial(self._run_step, each, board)) for each in steps]
        nodes += [
            Node(each.name, each.service.after, partial(self._start, each, board)) for each in self.services
        ]
        run_graph(nodes, on_failure=self.cancel.set)

    def stop(self, board: Board) -> None:
        """End the stages in turn, then broker and database; raises StackError for what could not be ended."""
        self.cancel.set()
        stages = sorted({each.service.stage for each in self.services})
        groups: list[Sequence[Server]] = [
            [each for each in self.services if each.service.stage == stage] for stage in stages
        ]
        groups += [[self.nats], [self.postgres]]
        stuck = [error for group in groups for error in _stop_all(group, board)]
        if stuck:
            raise StackError("; ".join(stuck))

    def kill_services(self) -> None:
        """Cut the services' grace time short. Broker and database are never cut: they end in a moment."""
        for service in self.services:
            if service.running:
                service.process.signal(signal.SIGKILL)

    def _start(self, server: Server, board: Board) -> None:
        try:
            server.start()
        except StackError as error:
            self._record_failure(board, server.name, error)
            raise
        board.change_process(server.name, status="ready")

    def _record_failure(self, board: Board, name: str, error: StackError) -> None:
        """What ends because something else failed has not failed itself."""
        if self.cancel.is_set():
            board.change_process(name, status="stopped", pid=0)
        else:
            board.change_process(name, status="failed", pid=0, note=str(error))

    def _run_step(self, step: SetupStep, board: Board) -> None:
        if self.cancel.is_set():
            raise StackError(f"{step.name} is not run: the stack is being stopped")
        environment = child_environment(step, self._given(), self._options.environ)
        arguments = {"key_file": str(self._folder.key_file)}
        process = run_step(step, self._folder.log(step.name), environment, arguments)
        board.change_process(step.name, status="starting", pid=process.pid, created=process.created)
        try:
            await_end(process, self.cancel)
        except StackError as error:
            self._record_failure(board, step.name, error)
            raise
        board.change_process(step.name, status="done", pid=0)

    def _env(self, service: Service) -> dict[str, str]:
        return child_environment(service, self._given(), self._options.environ)

    def _given(self) -> dict[str, str]:
        """What the stack decides. The database's address exists only once its folder was made."""
        given = {
            MARK: str(self._folder.root),
            "NATS_URL": self.nats.url,
            "API_KEY_PEPPER": self._pepper,
            "BUNDLE_SIGNING_KEY": self._bundle_key,
            "WORKSPACE_DIR": str(self._folder.workspace),
            **self._plan.provider.environment,
        }
        return {**given, "DATABASE_URL": self.postgres.url} if self.postgres.data.exists() else given


def _record(board: Board, server: Server) -> None:
    process = server.process
    board.change_process(
        server.name, status="starting", pid=process.pid, created=process.created, port=server.port
    )


def _stop_all(servers: Sequence[Server], board: Board) -> list[str]:
    with ThreadPoolExecutor(max_workers=len(servers), thread_name_prefix="stop") as pool:
        return [error for error in pool.map(partial(_stop, board), servers) if error]


def _stop(board: Board, server: Server) -> str:
    if not server.running:
        return ""
    board.change_process(server.name, status="stopping")
    try:
        server.stop()
    except StackError as error:
        return str(error)
    board.change_process(server.name, status="stopped", pid=0)
    return ""
