"""`alembic check` against a fresh database: the tables in code and the migrations say the same."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from studio.stack.postgres import PostgresServer
from tests.support.migrations import ROOT, migrate


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, PostgresServer(Path(folder), fsync=False) as server:
        migrate(server.url)
        check = subprocess.run(
            [sys.executable, "-m", "alembic", "check"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": server.url},
            check=False,
            timeout=60,
        )
    return check.returncode


if __name__ == "__main__":
    sys.exit(main())
