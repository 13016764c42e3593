"""Which code this runner is: the release, and a digest of what decides about runs."""

from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

DISTRIBUTION: Final = "agentops-studio"
SOURCES: Final = (Path(__file__).parent, Path(__file__).parents[2] / "shared")


@cache
def code_version() -> str:
    """As `0.1.0+3f2a9c81d7e4`: equal for equal code of the runner and of what it shares with others."""
    digest = sha256()
    for folder in SOURCES:
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    try:
        release = version(DISTRIBUTION)
    except PackageNotFoundError:  # a checkout that was not installed
        release = "0"
    return f"{release}+{digest.hexdigest()[:12]}"
