"""Files that the tools of a run made."""

import base64
import binascii
import json
import re
from typing import Annotated, Final

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from services.gateway.auth import Caller
from services.gateway.openapi.describe import gives, operation_id, references, refuses
from services.gateway.parts import Parts, parts_of
from services.gateway.problems import NOT_FOUND, Problem
from services.gateway.routes.parameters import OnlyKnown, RunIdPath, run_key
from services.gateway.runs import Found
from shared.step_codec import decode_step
from shared.steps import Artifact, BodyRef, ToolResult

router: Final = APIRouter(
    prefix="/api/runs", tags=["runs"], dependencies=[OnlyKnown], generate_unique_id_function=operation_id
)
NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
MEDIA_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.+-]{0,100}")
BYTES: Final = "application/octet-stream"
ArtifactPath = Annotated[
    str,
    Path(
        description="The name of an artifact of a tool-result step.",
        examples=["speech-2c26b46b68ff.mp3"],
        json_schema_extra={"pattern": NAME},
    ),
]


@router.get(
    "/{run_id}/artifacts/{name}",
    summary="A file of a run",
    response_class=Response,
    responses={
        **refuses("no-such-run", "no-such-artifact", "broker-away"),
        **gives(
            "artifact",
            description="The file's bytes, under the content type that its tool gave it.",
            content={BYTES: {"schema": {"type": "string"}, "examples": references("artifact")}},
        ),
    },
)
async def get_artifact(request: Request, caller: Caller, run_id: RunIdPath, name: ArtifactPath) -> Response:
    """A file that a tool made, such as the audio of elevenlabs_speak; the steps name the files of a run.

    Of several with the same name it is the last. It comes as an attachment: a browser saves it and never
    shows it.
    """
    parts = parts_of(request)
    found = await parts.runs.find(run_key(caller, run_id))
    artifact = await _last_named(parts, found, name) if re.fullmatch(NAME, name) else None
    if artifact is None:
        raise _no_such_artifact(name)
    return _attachment(artifact, await _content(parts, found, artifact))


async def _last_named(parts: Parts, found: Found, name: str) -> Artifact | None:
    named: Artifact | None = None
    async for page in parts.runs.step_pages(found, -1):
        for text in (step.text for step in page if step.kind == "tool-result" and name.encode() in step.text):
            result = decode_step(json.loads(text))
            if isinstance(result, ToolResult):
                named = next((each for each in result.artifacts if each.name == name), named)
    return named


async def _content(parts: Parts, found: Found, artifact: Artifact) -> bytes:
    data = artifact.data
    if isinstance(data, BodyRef):
        data = await parts.bodies.json_text(found.run, data.sha256)
    try:
        content = base64.b64decode(data, validate=True)
    except binascii.Error:
        content = b""
    if len(content) != artifact.size:
        raise Problem(NOT_FOUND, f"the file {artifact.name!r} is not whole: something in it was redacted")
    return content


def _attachment(artifact: Artifact, content: bytes) -> Response:
    media_type = artifact.media_type if MEDIA_TYPE.fullmatch(artifact.media_type) else BYTES
    disposition = {"Content-Disposition": f'attachment; filename="{artifact.name}"'}
    return Response(content, media_type=media_type, headers=disposition)


def _no_such_artifact(name: str) -> Problem:
    return Problem(
        NOT_FOUND, f"the run has no file {name[:128]!r}; its files are the artifacts of its tool results"
    )
