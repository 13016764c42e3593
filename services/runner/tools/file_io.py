"""Reads and changes text files in the workspace of the session, or of the run when it has no session."""

import asyncio
import codecs
import os
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from services.runner.tools.base import KIB, BaseTool, ToolContext, ToolError, ToolParameters
from services.runner.tools.calling.output import fitting
from services.runner.tools.settings import ToolSettings
from services.runner.tools.workspace.folder import Parts, shown
from services.runner.tools.workspace.names import owner, parse_path
from services.runner.tools.workspace.workspace import Quota, Workspace, open_workspace
from shared.steps import Effect

# Leaves room under the tool's output limit for the other fields.
MAX_READ = 56 * KIB
LOOKING = frozenset({"read", "list"})


class FileIoParameters(ToolParameters):
    action: Literal["read", "write", "append", "list", "delete"] = Field(
        description="What to do with the path."
    )
    path: str = Field(
        default=".", description="Path in the workspace, such as notes/today.txt; `.` lists all of it."
    )
    content: str | None = Field(default=None, description="The text to write or append.")
    offset: int = Field(default=0, ge=0, le=2**40, description="Read from this byte on, for long files.")

    @model_validator(mode="after")
    def _content_where_it_belongs(self) -> Self:
        if self.action in ("write", "append") and self.content is None:
            raise ValueError(f"`content` is required to {self.action}; it may be an empty text")
        if self.action not in ("write", "append") and self.content is not None:
            raise ValueError(f"`content` has no meaning for {self.action}; leave it out")
        return self


class FileIo(BaseTool[FileIoParameters]):
    """Changes are applied once per idempotency key, so each may be called again after a crash."""

    name = "file_io"
    display_name = "Files"
    description = (
        "Reads, writes, appends to, lists and deletes text files in the private workspace of this session. "
        "Missing folders are made when a file is written."
    )
    icon = "IconFileText"
    effect = Effect.IDEMPOTENT
    Parameters = FileIoParameters

    def __init__(self, base: Path, quota: Quota) -> None:
        self._base = base
        self._quota = quota

    @classmethod
    def from_settings(cls, settings: ToolSettings) -> Self:
        quota = Quota(
            file_bytes=settings.file_io_max_file_bytes,
            total_bytes=settings.file_io_max_total_bytes,
            files=settings.file_io_max_files,
        )
        return cls(settings.workspace_dir, quota)

    def effect_of(self, arguments: FileIoParameters) -> Effect:
        return Effect.PURE if arguments.action in LOOKING else Effect.IDEMPOTENT

    async def execute(self, arguments: FileIoParameters, context: ToolContext) -> JsonValue:
        path = parse_path(arguments.path)
        if not path and arguments.action != "list":
            raise ToolError(f"The path names the workspace itself; name a file to {arguments.action}.")
        return await asyncio.to_thread(self._do, arguments, path, context)

    def _do(self, arguments: FileIoParameters, path: Parts, context: ToolContext) -> JsonValue:
        whose = owner(context.session_id, context.run_id)
        try:
            with open_workspace(self._base, context.project, whose, self._quota) as workspace:
                return _act(workspace, arguments, path, context.idempotency_key)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else type(error).__name__
            raise ToolError(
                f"The workspace cannot do this now: {reason}. Try another path or go on without."
            ) from error


def _act(workspace: Workspace, arguments: FileIoParameters, path: Parts, key: str) -> JsonValue:
    content = (arguments.content or "").encode("utf-8")
    match arguments.action:
        case "read":
            return _read(workspace, path, arguments.offset)
        case "list":
            return _list(workspace, path)
        case "write":
            return workspace.write(path, content, key)
        case "append":
            return workspace.append(path, content, key)
        case "delete":
            return workspace.delete(path, key)


def _read(workspace: Workspace, path: Parts, offset: int) -> JsonValue:
    """A part of at most MAX_READ bytes that ends between two characters, and where the next one starts."""
    data, size = workspace.read(path, offset, MAX_READ)
    if offset > size:
        raise ToolError(f"{shown(path)} has {size} bytes; the offset must not be larger.")
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        text = fitting(decoder.decode(data, final=offset + len(data) >= size), MAX_READ)
    except UnicodeDecodeError:
        raise ToolError(
            f"{shown(path)} is not UTF-8 text from byte {offset} on; only text can be read."
        ) from None
    result: dict[str, JsonValue] = {"path": "/".join(path), "bytes": size, "content": text}
    end = offset + len(text.encode("utf-8"))
    return result if end == size else result | {"truncated": True, "next_offset": end}


def _list(workspace: Workspace, path: Parts) -> JsonValue:
    found: list[JsonValue] = [
        {"name": entry.name, "type": entry.kind} | ({"bytes": entry.size} if entry.kind == "file" else {})
        for entry in workspace.listing(path)
    ]
    return {"path": "/".join(path) or ".", "entries": found}
