"""Settings of the recorder."""

from pydantic import Field

from shared.settings import DatabaseSettings


class Settings(DatabaseSettings):
    partition_weeks_ahead: int = Field(
        default=8, ge=4, le=52, description="For how many weeks to come the partitions of `steps` exist."
    )
    partition_upkeep_s: float = Field(
        default=86_400.0, gt=0, le=604_800, description="Seconds between two looks at the partitions."
    )
