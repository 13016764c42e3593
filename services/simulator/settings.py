"""Settings of the simulator, read from the environment when the app is made. It has no secrets."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Names in capitals; an empty value counts as not set."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    simulator_latency_scale: float = Field(
        default=1.0, ge=0.0, le=100.0, description="Multiplies every wait; 0 answers at once."
    )
    simulator_max_body_bytes: int = Field(
        default=8 * 1024 * 1024, ge=1024, le=256 * 1024 * 1024, description="Larger requests get 413."
    )
    simulator_fault_memory: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Prompts with counted faults that are remembered."
    )
    simulator_fault_ttl_s: float = Field(
        default=300.0,
        gt=0.0,
        le=86_400.0,
        description="After this time unasked, a counted fault starts anew.",
    )
    log_level: str = Field(default="INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")
