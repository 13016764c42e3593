"""The supervisor as a process of its own, for `studio up --detach`: `python -m studio.stack --folder DIR`."""

import argparse
from pathlib import Path

from rich.console import Console

from studio.stack.causes import in_words
from studio.stack.errors import StackError
from studio.stack.folder import DEFAULT
from studio.stack.foreground import run
from studio.stack.plan import Options
from studio.terminal.output import write_line


def main() -> int:
    parser = argparse.ArgumentParser(prog="studio.stack", description=__doc__)
    parser.add_argument("--folder", type=Path, default=DEFAULT)
    parser.add_argument("--port", type=int, default=None)
    arguments = parser.parse_args()
    try:
        # Nobody looks: its progress is in the state file, what happens later in the journal.
        run(arguments.folder, Options(port=arguments.port), Console(quiet=True))
    except (StackError, OSError) as error:
        write_line(in_words(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
