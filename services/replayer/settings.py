"""Settings of the replayer."""

from pydantic import Field

from shared.settings import DatabaseSettings


class Settings(DatabaseSettings):
    replayer_parallel: int = Field(
        default=8, ge=1, le=64, description="Runs of one replay that are under way at once."
    )
    replayer_open: int = Field(
        default=6,
        ge=1,
        le=64,
        description="Replays in work at once; the oldest of each project is in any case.",
    )
    replayer_most_runs: int = Field(
        default=10_000, ge=1, le=100_000, description="Above it the order of a replay is refused."
    )
    replayer_run_limit_s: float = Field(
        default=86_400.0, gt=0, description="After so long a run that has not ended is cancelled."
    )
