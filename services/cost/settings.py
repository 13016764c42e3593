"""Settings of the cost service."""

from shared.settings import DatabaseSettings


class Settings(DatabaseSettings):
    """Nothing of its own: prices come with the installed price book."""
