"""The few errors that cross module borders, named by what the caller must do.

StudioError
├── Conflict          read again and decide again
├── Unavailable       try the same again later
└── Permanent         never try the same again: put it aside for a person
"""


class StudioError(Exception):
    """Base of the errors below."""


class Conflict(StudioError):
    """Someone else wrote to the run's log first: read it again and decide again."""


class Unavailable(StudioError):
    """The broker, the database or a provider did not answer: the same request may succeed later."""


class Permanent(StudioError):
    """This input can never succeed; it belongs into the dead letters."""
