"""The gateway's settings, read from the environment when a process starts."""

import re

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from shared.bundle.signing import raw_key
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
    bundle_signing_key: SecretStr | None = Field(
        default=None, description="Ed25519 seed, base64 of 32 bytes; without it no bundles are made."
    )
    bundle_trusted_keys: tuple[str, ...] = Field(
        default=(), description="Public keys (JSON list) whose bundles are taken in; all without it."
    )
    bundle_redact_patterns: tuple[str, ...] = Field(
        default=(), description="Regular expressions (JSON list) whose matches are cut out of bundles."
    )
    bundle_max_bytes: int = Field(
        default=32 * 1024 * 1024,
        ge=1024 * 1024,
        le=64 * 1024 * 1024,  # all bodies that arrive at the same time
        description="Most bytes of a bundle, packed and unpacked.",
    )

    @field_validator("bundle_signing_key", "bundle_trusted_keys")
    @classmethod
    def _are_keys(cls, value: SecretStr | tuple[str, ...] | None) -> SecretStr | tuple[str, ...] | None:
        for key in (value.get_secret_value(),) if isinstance(value, SecretStr) else value or ():
            raw_key(key)
        return value

    @field_validator("bundle_redact_patterns")
    @classmethod
    def _are_patterns(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in value:
            try:
                found = re.search(pattern, "")
            except re.error as error:
                raise ValueError(f"no regular expression: {error}") from None
            if found is not None:
                raise ValueError(
                    "a pattern matches where nothing stands; let it match at least one character"
                )
        return value
