"""The environment of each child, built from what it is meant to know and nothing else.

A service gets no secret that it does not need, and no variable of the user's shell by accident.
"""

import os
from collections.abc import Mapping
from fnmatch import fnmatchcase

from studio.stack.errors import StackError
from studio.stack.processes import COMMON, Service, SetupStep

# What any Python process wants from its surroundings.
BASE = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH")
# Marks every child with its folder, so that one that outlives a killed supervisor can be recognised.
MARK = "STUDIO_STACK_FOLDER"


def child_environment(
    child: Service | SetupStep, given: Mapping[str, str], user: Mapping[str, str]
) -> dict[str, str]:
    """`given` is what the stack decides (addresses, secrets, provider); it wins over the user's variables."""
    patterns = (*COMMON, *child.takes)
    known = {**user, **given}
    taken = {
        name: value for name, value in known.items() if any(fnmatchcase(name, each) for each in patterns)
    }
    return {**_base(user), **taken, **_needed(child.name, child.needs, given)}


def _base(user: Mapping[str, str]) -> dict[str, str]:
    base = {name: user[name] for name in BASE if name in user}
    # A proxy for the outside world must not get the calls between the processes here.
    direct = ",".join(filter(None, (user.get("NO_PROXY") or user.get("no_proxy"), "127.0.0.1", "localhost")))
    return {"PATH": os.defpath, **base, "PYTHONUNBUFFERED": "1", "NO_PROXY": direct, "no_proxy": direct}


def _needed(name: str, needs: tuple[str, ...], given: Mapping[str, str]) -> dict[str, str]:
    missing = [variable for variable in needs if variable not in given]
    if missing:
        raise StackError(f"{name} needs the variables {missing}, which the stack does not provide")
    return {variable: given[variable] for variable in needs} | {MARK: given[MARK]}
