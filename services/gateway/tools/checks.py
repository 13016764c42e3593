"""What must hold before a project's tool or MCP server is kept; what does not is a Problem (422)."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from services.gateway.problems import INVALID, FieldError, Problem, invalid
from services.gateway.tools.models import HttpToolInput
from services.gateway.tools.request_faults import FieldFault, header_faults, request_faults, url_fault
from shared.addresses import Server
from shared.catalog import HttpTool, SecretName
from shared.guarded_network import Guard, NotPublic, Refused
from shared.http_request import HttpRequest, names_in, secrets_in
from shared.scrub import Scrubber

LOOK_UP_S: Final = 2.0
PORTS: Final = {"http": 80, "https": 443}
OF_THE_REQUEST: Final = frozenset(HttpRequest.model_fields)


class Checks:
    """`allow`: servers that tools may be at though they are not public."""

    def __init__(self, allow: frozenset[Server], scrubber: Scrubber) -> None:
        self._network = Guard(allow)
        self._scrubber = scrubber

    async def http_tool(self, project: str, asked: HttpToolInput, secrets: Sequence[SecretName]) -> HttpTool:
        """The tool that was asked for."""
        given = asked.model_dump(exclude={"kind"})
        request = HttpRequest.model_validate({name: given.pop(name) for name in OF_THE_REQUEST})
        if asked.parameters.get("type") != "object":
            raise invalid("parameters", "the arguments of a tool are an object: give type 'object'")
        _refuse(request_faults(request, asked.parameters))
        self.refuse_credentials(given | request.model_dump())
        await self._reachable(project, request.url, request.headers, secrets)
        return HttpTool(request=request, **given)

    async def server(
        self, project: str, url: str, headers: Mapping[str, str], secrets: Sequence[SecretName]
    ) -> None:
        if (told := url_fault(url)) is not None:
            raise invalid("url", told)
        if any(names_in(url)) or "{" in url or "}" in url:
            raise invalid("url", "the URL of a server is fixed; leave the braces out")
        _refuse(header_faults(headers))
        self.refuse_credentials({"url": url, "headers": dict(headers)})
        await self._reachable(project, url, headers, secrets)

    def refuse_credentials(self, given: Mapping[str, Any]) -> None:
        """What looks like one would be redacted in every run, and the tool be another than was meant."""
        for field, value in given.items():
            if self._scrubber.value(value) != value:
                raise invalid(
                    field, "holds what looks like a credential, NUL or a lone surrogate; write {secret:NAME}"
                )

    async def _reachable(
        self, project: str, url: str, headers: Mapping[str, str], secrets: Sequence[SecretName]
    ) -> None:
        parts = urlsplit(url)
        host = parts.hostname or ""
        known = sorted(each.name for each in secrets if each.projects is None or project in each.projects)
        sendable = {each.name for each in secrets if each.allows(project, host)}
        for name in sorted(secrets_in(headers)):
            if name not in known:
                raise invalid(
                    "headers", f"unknown secret {name!r}; the runners know {', '.join(known) or 'none'}"
                )
            if name not in sendable:
                raise invalid("headers", f"the secret {name!r} must not be sent to {host!r}")
        try:
            async with asyncio.timeout(LOOK_UP_S):
                await self._network.judged(host, parts.port or PORTS[parts.scheme])
        except NotPublic as error:
            raise invalid("url", f"{error}; tools may only be at public addresses") from None
        except (Refused, TimeoutError):
            return  # not known here and now: the runner judges again at every call


def _refuse(faults: Iterable[FieldFault]) -> None:
    errors = [FieldError(field=field, message=message) for field, message in faults]
    if errors:
        detail = "; ".join(f"{error.field}: {error.message}" for error in errors[:3])
        raise Problem(INVALID, detail, errors=errors[:20])
