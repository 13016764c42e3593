"""Agents: create, list, look at, change, archive. What a run makes of one is told with `POST /api/runs`."""

import re
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from services.gateway import examples
from services.gateway.agents import refusals
from services.gateway.agents.definition import NAME, AgentDefinition, AgentInput
from services.gateway.agents.difference import difference
from services.gateway.agents.version import AgentVersion
from services.gateway.agents.views import AgentDiff, AgentList, AgentSummary, AgentView
from services.gateway.answers import json_answer, replay_headers
from services.gateway.auth import Caller
from services.gateway.cursor import decode_cursor, encode_cursor
from services.gateway.idempotency import REPLAYED_HEADER
from services.gateway.limits import read_model
from services.gateway.openapi.describe import gives, operation_id, refuses, takes
from services.gateway.parts import Parts, parts_of
from services.gateway.problems import invalid
from services.gateway.routes.creation import id_for
from services.gateway.routes.parameters import IdempotencyKey, OnlyKnown, who
from shared.steps import now

router: Final = APIRouter(
    prefix="/api/agents", tags=["agents"], dependencies=[OnlyKnown], generate_unique_id_function=operation_id
)
ETAG: Final = ("ETag",)
EXPECTED: Final = re.compile(r'\*|(?:W/)?"([1-9][0-9]{0,8})"')
AgentPath = Annotated[
    str,
    Path(
        description="The name of an agent.",
        examples=["reviewer"],
        json_schema_extra={"pattern": f"^{NAME}$"},
    ),
]
Version = Annotated[
    int, Path(ge=1, lt=10**9, description="The number of a version of the agent.", examples=[1])
]
From = Annotated[
    int,
    Query(alias="from", ge=1, lt=10**9, description="The version that counts as the old one.", examples=[1]),
]
To = Annotated[
    int,
    Query(alias="to", ge=1, lt=10**9, description="The version that counts as the new one.", examples=[2]),
]
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="The version that is changed, as its ETag has it; `*` for whichever is the newest.",
        examples=['"1"'],
    ),
]


class AgentQuery(BaseModel):
    """Which agents, and how many of them."""

    archived: bool = Field(
        default=False, description="Those that are archived instead of those that are not.", examples=[False]
    )
    limit: int = Field(default=50, ge=1, le=200, description="Most agents of the page.", examples=[20])
    cursor: str | None = Field(
        default=None,
        max_length=100,
        description="The next_cursor of the page before; none for the first.",
        examples=[encode_cursor(examples.RUN_ID)],
    )


class VersionQuery(BaseModel):
    """Which versions, and how many of them."""

    before: int | None = Field(
        default=None, ge=1, lt=10**9, description="Only versions older than this one.", examples=[3]
    )
    limit: int = Field(default=50, ge=1, le=200, description="Most versions of the page.", examples=[20])


class VersionList(BaseModel):
    items: tuple[AgentSummary, ...]
    next_before: int | None = Field(description="When set, there are more: give it as ?before=.")


@router.post(
    "",
    status_code=201,
    summary="Create an agent",
    response_model=AgentView,
    responses={
        **refuses(
            "read-only-key",
            "agent-exists",
            "key-reused-elsewhere",
            "bad-idempotency-key",
            "circle-of-agents",
            "no-schema",
            "no-runner",
            body=True,
        ),
        **gives(
            "agent", status=201, description="Version 1 of it is there.", headers=(*ETAG, REPLAYED_HEADER)
        ),
    },
    openapi_extra=takes(AgentInput, examples.AGENT_INPUT),
)
async def create_agent(request: Request, caller: Caller, idempotency_key: IdempotencyKey = None) -> Response:
    """Runs may name it from now on. A name that an archived agent had goes on with that one's versions."""
    body = await read_model(request, AgentInput)
    agent_id, _ = await id_for(request, caller, idempotency_key, body)
    draft = AgentVersion(
        id=agent_id,
        name=body.name,
        version=1,
        newest=1,
        definition=body.definition,
        created_at=now(),
        created_by=who(caller),
    )
    agent, is_replay = await parts_of(request).agents.create(caller.project, draft)
    return _answer(agent, 201, replay_headers(is_replay))


@router.get(
    "",
    summary="List agents",
    response_model=AgentList,
    responses={**refuses("large-limit", "bad-cursor", "database-away"), **gives("agent-list")},
)
async def list_agents(request: Request, caller: Caller, query: Annotated[AgentQuery, Query()]) -> Response:
    """The newest version of each, those created last first; the one that is built in is the last."""
    before = decode_cursor(query.cursor) if query.cursor is not None else None
    found = await parts_of(request).agents.page(
        caller.project, before, query.limit + 1, archived=query.archived
    )
    items, more = found[: query.limit], len(found) > query.limit
    cursor = encode_cursor(str(items[-1].id)) if more else None
    return json_answer(AgentList(items=tuple(map(AgentSummary.of, items)), next_cursor=cursor))


@router.get(
    "/{name}",
    summary="An agent",
    response_model=AgentView,
    responses={**refuses("no-such-agent", "database-away"), **gives("agent", headers=ETAG)},
)
async def get_agent(request: Request, caller: Caller, name: AgentPath) -> Response:
    """Its newest version. An archived agent is there too, and says since when it is archived."""
    return _answer(await _find(parts_of(request), caller.project, name))


@router.put(
    "/{name}",
    summary="Change an agent",
    response_model=AgentView,
    responses={
        **refuses(
            "read-only-key",
            "no-such-agent",
            "agent-built-in",
            "agent-changed",
            "version-needed",
            "circle-of-agents",
            "no-schema",
            "no-runner",
            body=True,
        ),
        **gives("changed-agent", description="The newest version, which says this.", headers=ETAG),
    },
    openapi_extra=takes(AgentDefinition, examples.AGENT_DEFINITION),
)
async def update_agent(
    request: Request, caller: Caller, name: AgentPath, if_match: IfMatch = None
) -> Response:
    """Makes a new version; the old ones stay as they are. What is left out gets its default.

    When the newest version says the same already, it stays the newest: to repeat a change changes nothing.
    """
    expected = _expected(if_match)
    definition = await read_model(request, AgentDefinition)
    agent = await parts_of(request).agents.update(
        caller.project, _name(name), definition, expected=expected, who=who(caller)
    )
    return _answer(agent)


@router.delete(
    "/{name}",
    status_code=204,
    summary="Archive an agent",
    responses=refuses("read-only-key", "no-such-agent", "agent-in-use", "agent-built-in", "database-away"),
)
async def archive_agent(request: Request, caller: Caller, name: AgentPath) -> Response:
    """No run may name it from now on. Its versions stay: runs that are there go on, and show what it was."""
    await parts_of(request).agents.archive(caller.project, _name(name))
    return Response(status_code=204)


@router.get(
    "/{name}/versions",
    summary="An agent's versions",
    response_model=VersionList,
    responses={**refuses("no-such-agent", "large-limit", "database-away"), **gives("agent-versions")},
)
async def list_agent_versions(
    request: Request, caller: Caller, name: AgentPath, query: Annotated[VersionQuery, Query()]
) -> Response:
    """Newest first, each with who made it and when."""
    agents = parts_of(request).agents
    found = await agents.versions(caller.project, _name(name), query.before, query.limit + 1)
    items, more = found[: query.limit], len(found) > query.limit
    page = VersionList(
        items=tuple(map(AgentSummary.of, items)), next_before=items[-1].version if more else None
    )
    return json_answer(page)


@router.get(
    "/{name}/versions/{version}",
    summary="A version of an agent",
    response_model=AgentView,
    responses={**refuses("no-such-agent", "database-away"), **gives("agent", headers=ETAG)},
)
async def get_agent_version(request: Request, caller: Caller, name: AgentPath, version: Version) -> Response:
    """It never changes; runs that carry its number were begun with it."""
    return _answer(await _find(parts_of(request), caller.project, name, version))


@router.get(
    "/{name}/diff",
    summary="Compare two versions",
    response_model=AgentDiff,
    responses={**refuses("no-such-agent", "database-away"), **gives("agent-diff")},
)
async def diff_agent_versions(
    request: Request, caller: Caller, name: AgentPath, old: From, new: To
) -> Response:
    """The fields that differ, with their values before and after, and the instructions as a unified diff."""
    parts = parts_of(request)
    versions = [await _find(parts, caller.project, name, each) for each in (old, new)]
    return json_answer(difference(*versions))


async def _find(parts: Parts, project: str, name: str, version: int | None = None) -> AgentVersion:
    return await parts.agents.get(project, _name(name), version)


def _name(text: str) -> str:
    """Raises Problem (404) for what can be no agent's name."""
    if not re.fullmatch(NAME, text):
        raise refusals.no_such_agent(text)
    return text


def _expected(if_match: str | None) -> int | None:
    """Raises Problem: 428 when there is none, 422 when it is no version."""
    if if_match is None:
        raise refusals.version_needed()
    found = EXPECTED.fullmatch(if_match.strip())
    if found is None:
        raise invalid("If-Match", 'give the number of a version in quotes, as "3", or *')
    return int(found[1]) if found[1] else None


def _answer(agent: AgentVersion, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return json_answer(AgentView.of(agent), status, headers={"ETag": f'"{agent.version}"', **(headers or {})})
