"""Whether what runs in the folder, or was left running, is in order."""

import os
import subprocess
import sys
from collections.abc import Iterator

from studio.stack.doctor.broker import check_streams
from studio.stack.doctor.finding import Finding, ok, problem, warning
from studio.stack.folder import DataFolder, FolderLock
from studio.stack.health import ask
from studio.stack.log_lines import LogLine, merge
from studio.stack.logs import last_lines
from studio.stack.orphans import find_orphans
from studio.stack.plan import Options
from studio.stack.postgres import PostgresServer
from studio.stack.processes import DATABASE, GATEWAY
from studio.stack.project import PROJECT
from studio.stack.status import ProcessReport, StackReport, report
from studio.terminal.text import plain

MOST_ERRORS = 5


def check_running(folder: DataFolder, options: Options) -> Iterator[Finding]:
    if FolderLock(folder).owner():
        yield from _check_supervised(folder, report(folder))
    elif orphans := find_orphans(folder):
        pids = ", ".join(str(each.pid) for each in orphans)
        yield problem(
            f"the supervisor was killed, and its processes {pids} still run",
            "`studio up` ends them and starts again; `studio down` only ends them",
        )
    else:
        yield ok(f"nothing runs in {folder.root}; `studio up` starts it")
    yield from _check_logs(folder)


def _check_supervised(folder: DataFolder, stack: StackReport) -> Iterator[Finding]:
    if stack.status == "ready":
        yield ok(f"supervisor {stack.supervisor_pid} runs; the gateway is at {stack.gateway_url}")
    else:
        yield warning(f"supervisor {stack.supervisor_pid} is {stack.status}", "wait a moment and look again")
    for process in stack.processes:
        yield _check_process(process)
    healthy = {process.name: process for process in stack.processes if process.healthy}
    if "nats" in healthy:
        yield from check_streams(int(stack.nats_monitor_url.rpartition(":")[2]))
    if DATABASE in healthy:
        yield _check_migrations(folder, healthy[DATABASE].port)
    if GATEWAY in healthy:
        yield _check_key(folder, healthy[GATEWAY].port)


def _check_process(process: ProcessReport) -> Finding:
    where = f"see `studio logs {process.name}`"
    if not process.healthy:
        return problem(f"{process.name} is {process.status}: {plain(process.detail)}", where)
    if process.restarts:
        times = "once" if process.restarts == 1 else f"{process.restarts} times"
        return warning(
            f"{process.name} is healthy, but was started again {times}", f"{where} for why it ended"
        )
    return ok(f"{process.name} is healthy on port {process.port} ({process.memory_mb:.0f} MiB)")


def _check_migrations(folder: DataFolder, port: int) -> Finding:
    url = PostgresServer(folder.postgres, port=port).url
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "current", "--check-heads"],
        env={"PATH": os.environ.get("PATH", os.defpath), "DATABASE_URL": url},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode == 0:
        return ok("the database's schema is the newest")
    said = plain((done.stdout + done.stderr).strip()[-300:])
    return problem(
        f"the database's schema is not the newest: {said}", "stop and start: `studio down`, `studio up`"
    )


def _check_key(folder: DataFolder, port: int) -> Finding:
    remake = f"delete {folder.key_file} and start again: `studio down`, `studio up`"
    if not folder.key_file.exists():
        return problem(f"there is no API key in {folder.key_file}", remake)
    authorization = {"Authorization": f"Bearer {folder.key_file.read_text().strip()}"}
    answer = ask(port, "/api/runs?limit=1", timeout=5.0, headers=authorization)
    if answer.ok:
        return ok(f"the gateway accepts the API key in {folder.key_file}")
    if answer.status in (401, 403):
        return problem("the gateway refuses the API key", remake)
    said = plain(answer.body[:300])
    return problem(
        f"the gateway answers a request for runs with {answer.status}: {said}", "see `studio logs gateway`"
    )


def _check_logs(folder: DataFolder) -> Iterator[Finding]:
    logs = {log.stem: last_lines(log, 500) for log in sorted(folder.logs.glob("*.log"))}
    errors = [(name, line) for name, line in merge(logs) if line.level in ("error", "critical")]
    for name, line in errors[-MOST_ERRORS:]:
        yield warning(f"{_when(line)}{name} logged: {plain(line.event)[:300]}", f"see `studio logs {name}`")


def _when(line: LogLine) -> str:
    return f"{line.at.astimezone():%Y-%m-%d %H:%M:%S} " if line.at else ""
