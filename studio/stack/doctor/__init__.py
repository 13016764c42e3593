"""What is wrong with the stack, in words, and what to do about it. Looks only; changes nothing."""

from collections.abc import Iterator

from studio.stack.doctor.finding import Finding
from studio.stack.doctor.machine import check_machine
from studio.stack.doctor.provider import check_provider
from studio.stack.doctor.running import check_running
from studio.stack.folder import DataFolder
from studio.stack.plan import Options


def examine(folder: DataFolder, options: Options) -> Iterator[Finding]:
    """Findings as they are made: the machine, the folder, what runs, the model provider."""
    yield from check_machine(folder, options)
    yield from check_running(folder, options)
    yield from check_provider(options.environ)


__all__ = ["Finding", "examine"]
