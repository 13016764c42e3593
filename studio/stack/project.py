"""What the processes need beside the packages of this installation: migrations, the broker's configuration.

In a checkout they are where the project has them; an installed wheel carries them inside `studio`.
"""

import importlib.util
from pathlib import Path
from typing import Final

from studio.stack.errors import StackError

STUDIO: Final = Path(__file__).parents[1]
CARRIED: Final = STUDIO / "project"
PROJECT: Final = CARRIED if CARRIED.is_dir() else STUDIO.parent
PACKAGES: Final = ("services", "shared", "uvicorn", "alembic")
FILES: Final = ("alembic.ini", "deploy/migrations/env.py", "deploy/nats/nats-server.conf")
REMEDY: Final = (
    "start it from a checkout of the project (`make up` there), or set STUDIO_URL and STUDIO_API_KEY to use "
    "a stack that runs elsewhere"
)


def missing_parts(folder: Path = PROJECT) -> str:
    """What this installation lacks, in words; empty when a stack can be started from it."""
    missing = [name for name in PACKAGES if not importlib.util.find_spec(name)]
    missing += [name for name in FILES if not (folder / name).is_file()]
    return f"this installation cannot start a stack: {folder} lacks {', '.join(missing)}" if missing else ""


def check_project(folder: Path = PROJECT) -> None:
    """Raises StackError when something is missing; it says what, and what to do."""
    if lacks := missing_parts(folder):
        raise StackError(f"{lacks}; {REMEDY}")
