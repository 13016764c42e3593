"""What can be wrong with a bundle, by the entry that it is wrong with."""

from shared.errors import StudioError


class BundleFault(StudioError):
    """The file is not what was signed, or no bundle that this code can read; never try the same again."""

    def __init__(self, entry: str, what: str) -> None:
        super().__init__(f"{entry}: {what}")
        self.entry = entry


class CannotRedact(StudioError):
    """What is to be cut out cannot be cut out of this run; the message says why."""
