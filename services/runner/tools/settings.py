"""Settings of the built-in tools, read from the environment under the names of the fields in capitals."""

from pathlib import Path

from pydantic import Field, HttpUrl, SecretStr, TypeAdapter, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.settings import Servers

KIB = 1024
MIB = 1024 * KIB


class ToolSettings(BaseSettings):
    """An empty value counts as not set; a wrong one ends the start with the name of the setting."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True, extra="ignore")

    workspace_dir: Path = Field(
        default=Path(".studio/workspace"), description="Where file_io keeps a folder per session."
    )
    file_io_max_file_bytes: int = Field(default=1 * MIB, ge=1, le=64 * MIB, description="Largest file.")
    file_io_max_total_bytes: int = Field(default=16 * MIB, ge=1, description="Largest workspace.")
    file_io_max_files: int = Field(
        default=500, ge=1, le=10_000, description="Most files and folders of a workspace."
    )

    http_fetch_allow: Servers = Field(
        default=frozenset(),
        description="Servers that http_fetch may reach though not public: host:port, comma separated.",
    )
    http_fetch_max_bytes: int = Field(
        default=1 * MIB,
        ge=1 * KIB,
        le=16 * MIB,
        description="Most bytes read of a page, after decompression.",
    )
    http_fetch_timeout_s: float = Field(
        default=20.0, gt=0, le=25, description="Longest time for a page, redirects included, in seconds."
    )

    hf_token: SecretStr | None = Field(
        default=None, description="Token for the Hugging Face Hub; none is fine."
    )
    hf_endpoint: str = Field(default="https://huggingface.co", description="The Hub, or a mirror of it.")

    python_timeout_s: float = Field(
        default=5.0, gt=0, le=30, description="Longest time for a program, in seconds."
    )
    python_max_memory_bytes: int = Field(
        default=64 * MIB, ge=1 * MIB, le=1024 * MIB, description="Most memory of a program."
    )

    web_search_url: str | None = Field(
        default=None, description="A SearXNG server, or one that answers as it does; it need not be public."
    )
    web_search_ddgs: bool = Field(
        default=True, description="Without a server: ask public search engines, through the library ddgs."
    )

    elevenlabs_api_key: SecretStr | None = Field(default=None, description="Key of ElevenLabs.")
    elevenlabs_base_url: str = Field(
        default="https://api.elevenlabs.io", description="ElevenLabs, or a server that answers as it does."
    )
    elevenlabs_voice_id: str = Field(
        default="JBFqnCBsd6RMkjVDRZzb", pattern=r"^[A-Za-z0-9]{1,64}$", description="The voice."
    )
    elevenlabs_model_id: str = Field(default="eleven_multilingual_v2", description="The speech model.")

    wandb_api_key: SecretStr | None = Field(default=None, description="Key of Weights & Biases.")
    wandb_base_url: str = Field(default="https://api.wandb.ai", description="W&B, or a server of your own.")
    wandb_entity: str | None = Field(default=None, description="User or team; the key's own when not set.")
    wandb_project: str = Field(
        default="agentops-studio", pattern=r"^[\w.-]{1,128}$", description="The project of W&B to log to."
    )

    def secrets(self) -> tuple[str, ...]:
        """The values that must be redacted wherever they turn up."""
        values = [getattr(self, name) for name in type(self).model_fields]
        return tuple(value.get_secret_value() for value in values if isinstance(value, SecretStr))

    @field_validator("hf_endpoint", "web_search_url", "elevenlabs_base_url", "wandb_base_url")
    @classmethod
    def _plain_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        TypeAdapter(HttpUrl).validate_python(value)
        return value.rstrip("/")
