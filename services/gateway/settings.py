"""The gateway's settings, read from the environment when a process starts."""

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from shared.settings import DatabaseSettings, Servers


class GatewaySettings(DatabaseSettings):
    """Defaults of a run carry the names that the whole project uses; the gateway's own begin with GATEWAY."""

    # An error that quotes what was given would write secrets into the log of a failed start.
    model_config = SettingsConfigDict(hide_input_in_errors=True)

    api_key_pepper: SecretStr = Field(
        min_length=16,
        description="Secret of the keyed hash under which API keys are stored; at least 16 characters.",
    )
    mistral_model: str = Field(
        default="mistral-large-latest", description="The model of a run that names none."
    )
    max_tokens: int = Field(default=2048, ge=1, description="Most tokens of one answer, unless a run says.")
    temperature: float = Field(default=0.6, ge=0, le=1.5, description="Temperature, unless a run says.")
    gateway_allowed_origins: tuple[str, ...] = Field(
        default=(),
        description="Origins (JSON list) of web pages that may call the API and open its WebSocket; "
        "none by default.",
    )
    gateway_heartbeat_s: float = Field(
        default=15.0,
        ge=0.1,
        le=20,  # clients give up a stream that is silent for 45 s
        description="Seconds between the heartbeats of an idle stream, and between looks at a watched run.",
    )
    gateway_queued_runs: int = Field(
        default=128, ge=1, description="Runs of one project in the broker's queue; more wait for their turn."
    )
    gateway_batch_runs: int = Field(
        default=48, ge=1, description="Runs of batches on their way at once, of all projects."
    )
    gateway_max_streams: int = Field(
        default=10_000, ge=1, description="Event streams and WebSockets open at once in one process."
    )
    gateway_webhook_allow_private: Servers = Field(
        default=frozenset(),
        description="Servers that webhooks may lead to though not public: host:port, comma separated.",
    )
    tools_allow_private: Servers = Field(
        default=frozenset(),
        description="Servers that tools may be at though not public: host:port, comma separated.",
    )
