"""Settings that every service has. A service adds its own by inheriting; nothing is read at import."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.addresses import Server, parse_server


def _split_servers(value: object) -> object:
    if isinstance(value, str):
        return frozenset(parse_server(part) for part in value.split(",") if part.strip())
    return value


Servers = Annotated[frozenset[Server], NoDecode, BeforeValidator(_split_servers)]
"""`wiki.intranet:80,[fd00::1]:8080`: each host and port exactly as in the URL."""


class ServiceSettings(BaseSettings):
    """Read from the environment, names in capitals; an empty value counts as not set."""

    model_config = SettingsConfigDict(
        env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    nats_url: str = Field(
        default="nats://127.0.0.1:4222", description="Servers of the broker, comma separated."
    )
    log_level: str = Field(default="INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")
    redact_patterns: tuple[str, ...] = Field(
        default=(), description="More regular expressions (JSON list) whose matches never reach the log."
    )

    def secrets(self) -> tuple[str, ...]:
        """The values of every secret setting, to be redacted wherever they turn up."""
        values = [getattr(self, name) for name in type(self).model_fields]
        secret = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        urls = [
            url for value in values if isinstance(value, str) and "://" in value for url in value.split(",")
        ]
        return tuple(filter(None, [*secret, *(urlsplit(url).password for url in urls)]))


class DatabaseSettings(ServiceSettings):
    """For the services that own or read tables."""

    database_url: str = Field(description="postgresql://user:password@host:port/database")
    database_pool_size: int = Field(default=8, ge=1, le=100)
