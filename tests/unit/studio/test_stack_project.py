"""An installation without what a stack needs says so; one that carries it is used as it is."""

import os
import subprocess
import sys
from pathlib import Path

from studio.stack.project import FILES, PROJECT, check_project, missing_parts

WHERE = "from studio.stack.project import PROJECT, missing_parts; print(PROJECT, missing_parts() or 'whole')"


def installed(site: Path) -> None:
    """The packages as a wheel puts them: without the rest of the project."""
    for package in ("studio", "shared", "services"):
        (site / package).mkdir(parents=True)
        for part in (PROJECT / package).iterdir():
            (site / package / part.name).symlink_to(part)


def python(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=site,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_this_project_is_whole() -> None:
    check_project()


def test_every_missing_part_is_named(tmp_path: Path) -> None:
    lacks = missing_parts(tmp_path)
    assert lacks.startswith("this installation cannot start a stack")
    assert all(name in lacks for name in FILES)


def test_packages_alone_are_told_what_is_missing_and_make_nothing(tmp_path: Path) -> None:
    installed(tmp_path / "site")
    done = python(tmp_path / "site", "-m", "studio.cli", "up")
    assert done.returncode == 1
    assert f"{tmp_path / 'site'} lacks alembic.ini, deploy/migrations/env.py" in done.stderr
    assert "`make up`" in done.stderr
    assert "STUDIO_URL" in done.stderr
    assert not (tmp_path / "site" / ".studio").exists()


def test_packages_that_carry_the_rest_are_whole(tmp_path: Path) -> None:
    installed(tmp_path / "site")
    carried = tmp_path / "site" / "studio" / "project"
    carried.mkdir()
    for name in ("alembic.ini", "deploy"):
        (carried / name).symlink_to(PROJECT / name)
    assert python(tmp_path / "site", "-c", WHERE).stdout == f"{carried} whole\n"
