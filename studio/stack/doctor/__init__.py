"""What is wrong with the stack, in words, and what to do about it. Looks only; changes nothing."""

from collections.abc import Iterator

from studio.stack.doctor.finding import Finding, problem
from studio.stack.doctor.machine import check_machine
from studio.stack.doctor.provider import check_provider
from studio.stack.doctor.running import check_running
from studio.stack.errors import StackError
from studio.stack.folder import DataFolder, FolderLock
from studio.stack.ownership import check_own
from studio.stack.plan import Options
from studio.stack.state import read_state


def examine(folder: DataFolder, options: Options) -> Iterator[Finding]:
    """Findings as they are made: the machine, the folder, what runs, the model provider."""
    refused = _refused(folder)
    if refused is not None:
        yield refused
    else:
        yield from check_machine(folder, options)
        yield from check_running(folder, options)
    yield from check_provider(options.environ)


def _refused(folder: DataFolder) -> Finding | None:
    """Why no command works with this folder: it is a file, or another user's."""
    try:
        check_own(folder.root)
        FolderLock(folder).owner()
        read_state(folder.state_file)
    except StackError as error:
        return problem(str(error), "the folder can be named with --folder or STUDIO_FOLDER")
    return None


__all__ = ["Finding", "examine"]
