"""Settings of the runner."""

from pydantic import Field, SecretStr

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    mistral_api_key: SecretStr = Field(description="Key of the Mistral API or of a compatible server.")
    mistral_server_url: str | None = Field(
        default=None, description="A compatible server; the Mistral API when not set."
    )
    mistral_provider: str = Field(
        default="", description="What to call the provider; derived from the server when not set."
    )
    mistral_timeout_s: float = Field(default=120.0, gt=0, description="For one try of a model call.")
    mistral_retry_max_attempts: int = Field(default=3, ge=1, le=20)
    mistral_retry_min_wait: float = Field(default=1.0, ge=0, description="Seconds.")
    mistral_retry_max_wait: float = Field(default=60.0, ge=0, description="Seconds.")
    runner_concurrency: int = Field(default=64, ge=1, le=10_000, description="Runs at once in one process.")
    runner_max_attempts: int = Field(
        default=10, ge=1, description="Claims of one run before it fails: a run that kills its runners."
    )
    runner_drain_s: float = Field(
        default=20.0, ge=0, description="How long a stop waits for the current steps."
    )
    run_ack_wait_s: float = Field(default=10.0, ge=1, description="As declared for the job consumer.")

    @property
    def provider(self) -> str:
        if self.mistral_provider:
            return self.mistral_provider
        return "custom" if self.mistral_server_url else "mistral"
