"""Which system user the database server runs as.

Postgres refuses to run as root. An ordinary user runs it as itself. Root gives it to the owner of
an existing data folder, else to the user `postgres`, else to `nobody`. Nothing on the machine is
created or opened up for it: when the way to the folder or to the programs leads through a directory
closed to that user (a home with mode 0700), the process keeps the one capability that passes it.
"""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from studio.stack.errors import StackError

USERS = ("postgres", "nobody")
# The first is the narrower one; containers often grant only the second.
CAPABILITIES = ("dac_read_search", "dac_override")
# Without it the kernel leaves the capability aside where a program asks what it may open (access(2)), as
# Postgres asks for its own programs.
SECUREBIT = "no_setuid_fixup"


@dataclass(frozen=True)
class Account:
    """The user that the server runs as; None keeps the caller's, and `capability` survives the change."""

    user: int | None = None
    group: int | None = None
    capability: str | None = None

    def command(self, *argv: str) -> tuple[str, ...]:
        """The command line that runs `argv` with this account, started with `spawn_ids`."""
        if self.capability is None:
            return argv
        ids = (f"--reuid={self.user}", f"--regid={self.group}", "--clear-groups")
        kept = (f"--inh-caps=+{self.capability}", f"--ambient-caps=+{self.capability}")
        return ("setpriv", *ids, *kept, f"--securebits=+{SECUREBIT}", "--", *argv)

    @property
    def spawn_ids(self) -> tuple[int | None, int | None]:
        """User and group to start the command with; with a capability, `setpriv` makes the change itself."""
        return (self.user, self.group) if self.capability is None else (None, None)

    def run(self, argv: list[str], text: str = "", timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; its errors are part of its output."""
        user, group = self.spawn_ids
        return subprocess.run(
            self.command(*argv),
            input=text,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            user=user,
            group=group,
            extra_groups=None if user is None else (),
            cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            timeout=timeout,
        )


def choose_account(programs: Path, folder: Path) -> Account:
    """An account that can run `programs` and enter `folder`; StackError says in words why there is none."""
    data = folder / "data"
    owner = data.stat().st_uid if data.exists() else None
    if os.geteuid() != 0:
        return _own_account(data, owner)
    entry = pwd.getpwuid(owner) if owner else _unprivileged_entry()
    for account in _candidates(entry):
        if _can_reach(account, programs, folder):
            return account
    raise StackError(
        f"Postgres does not run as root, and the user {entry.pw_name!r} that it would run as cannot enter "
        f"{folder} or run {programs / 'postgres'}. Start as an ordinary user, or keep the project and its "
        "data folder where other users may pass (for example under /srv or /opt, not in a closed home)."
    )


def _own_account(data: Path, owner: int | None) -> Account:
    if owner not in (None, os.geteuid()):
        raise StackError(
            f"{data} belongs to uid {owner}, but this is uid {os.geteuid()}, and Postgres opens only its own "
            "files. Start as the user who created the folder, or take another folder."
        )
    return Account()


def _unprivileged_entry() -> pwd.struct_passwd:
    for name in USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise StackError(
        f"Postgres does not run as root, and no user {' or '.join(USERS)} exists; start as another user"
    )


def _candidates(entry: pwd.struct_passwd) -> list[Account]:
    return [Account(entry.pw_uid, entry.pw_gid, capability) for capability in (None, *CAPABILITIES)]


def _can_reach(account: Account, programs: Path, folder: Path) -> bool:
    """Try it as that user: enter the folder, and run the program that looks for itself as all of them do."""
    script = ["/bin/sh", "-c", 'cd "$1" && "$2" --bindir', "sh"]
    try:
        done = account.run([*script, str(folder), str(programs / "pg_config")], timeout=10)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0
