"""What can go wrong with the embedded stack. Every message says what happened and what to do about it."""


class StackError(Exception):
    """The stack cannot do what was asked; the message is meant for the user."""


class StartError(StackError):
    """A process ended, or was not ready in time, while it was being started."""


class AlreadyRunning(StackError):
    """Another supervisor holds the data folder."""
