"""Settings of remote tools: secrets that their headers may name, and MCP servers that run on this machine."""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.scrub import MIN_SECRET_LENGTH
from shared.settings import Servers

SecretKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
ServerKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]


class Secret(BaseModel):
    """A value; `hosts` alone may be sent it, `projects` alone may have tools that send it; None: all."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # A shorter value cannot be told from ordinary text, and so could not be redacted.
    value: SecretStr = Field(min_length=MIN_SECRET_LENGTH)
    hosts: tuple[str, ...] | None = None
    projects: tuple[str, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _value_alone(cls, given: Any) -> Any:
        return {"value": given} if isinstance(given, str) else given

    @field_validator("value")
    @classmethod
    def _fits_a_header(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if not (text.isascii() and text.isprintable()):
            raise ValueError("a secret is printable ASCII")
        return value


class StdioServer(BaseModel):
    """How a local MCP server is started. `env` may name secrets, as `{secret:NAME}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    command: str = Field(min_length=1)
    args: tuple[str, ...] = ()
    env: dict[str, str] = Field(default_factory=dict)


class RemoteSettings(BaseSettings):
    """An empty value counts as not set; a wrong one ends the start and is not quoted."""

    model_config = SettingsConfigDict(
        frozen=True, env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    tool_secrets: dict[SecretKey, Secret] = Field(
        default_factory=dict, description="JSON object: name to value, or to {value, hosts?, projects?}."
    )
    mcp_stdio: dict[ServerKey, StdioServer] = Field(
        default_factory=dict, description="JSON object: name to {command, args?, env?}."
    )
    tools_allow_private: Servers = Field(
        default=frozenset(),
        description="Servers that tools may be at though not public: host:port, comma separated.",
    )

    def secrets(self) -> tuple[str, ...]:
        """The values that must be redacted wherever they turn up."""
        return tuple(secret.value.get_secret_value() for secret in self.tool_secrets.values())
