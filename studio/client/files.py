"""Writing a file that is downloaded: the whole of it or nothing, and nothing in place of another unasked."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from studio.client.errors import NotSaved


@contextmanager
def new_file(target: Path, *, overwrite: bool) -> Iterator[BinaryIO]:
    """To be written to; it goes when the block fails. Raises NotSaved."""
    part = target.with_name(f".{uuid4().hex}.part") if overwrite else target
    try:
        file = part.open("xb")
    except FileExistsError as error:
        raise NotSaved(f"{target} is there already and is not overwritten unasked") from error
    except OSError as error:
        raise _not_written(target, error) from error
    try:
        with file:
            yield file
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise _not_written(target, error) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _not_written(target: Path, error: OSError) -> NotSaved:
    return NotSaved(f"{target} cannot be written: {error.strerror}")
