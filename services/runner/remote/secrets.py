"""Putting secrets into headers at the last moment: the one place where their values are taken out."""

from collections.abc import Mapping

from services.runner.remote.settings import Secret
from services.runner.tools.base import ToolError
from shared.catalog import LOCAL, SecretName
from shared.http_request import SECRET


class Secrets:
    def __init__(self, secrets: Mapping[str, Secret]) -> None:
        self._secrets = dict(secrets)

    @property
    def names(self) -> tuple[SecretName, ...]:
        """What may be told of them."""
        return tuple(
            SecretName(name=name, hosts=secret.hosts, projects=secret.projects)
            for name, secret in self._secrets.items()
        )

    def fill(self, texts: Mapping[str, str], project: str, host: str) -> dict[str, str]:
        """The headers for a request of that project to that host; what the operator of this runner configured
        (LOCAL) may use every secret. Raises ToolError that names the secret."""
        allowed = {each.name for each in self.names if project == LOCAL or each.allows(project, host)}
        return {
            name: SECRET.sub(lambda match: self._value(match[1], allowed), text)
            for name, text in texts.items()
        }

    def _value(self, name: str, allowed: set[str]) -> str:
        if name not in allowed:
            raise ToolError(
                f"The secret {name} that this tool needs is not there or must not be sent to its server; "
                "go on without the tool."
            )
        return self._secrets[name].value.get_secret_value()
