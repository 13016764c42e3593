"""A server that answers the official client of Weights & Biases as their API does, for what it asks here.

Runs have a summary and rows of history, which arrive through the file stream, as there.
"""

import asyncio
import gzip
import json
from dataclasses import dataclass, field
from typing import Any

from tests.unit.runner.tools.conftest import LocalServer


@dataclass
class Kept:
    """A run: its rows as they came, and the last summary."""

    summary: dict[str, Any] = field(default_factory=dict)
    rows: list[str] = field(default_factory=list)

    @property
    def history(self) -> list[dict[str, Any]]:
        return [json.loads(row) for row in self.rows]


class WandbServer(LocalServer):
    """`stream_status` is what the file stream is answered with."""

    def __init__(self) -> None:
        super().__init__(self.reply)
        self.runs: dict[str, Kept] = {}
        self.graphql_status = self.stream_status = "200 OK"

    async def reply(self, head: str, writer: asyncio.StreamWriter) -> None:
        path, body = head.split()[1], self.bodies[-1]
        if "content-encoding: gzip" in head.lower():
            body = gzip.decompress(body)
        status, answer = "200 OK", {}
        if path == "/graphql":
            status, answer = self.graphql_status, {"data": self.answered(json.loads(body))}
        elif path.endswith("/file_stream"):
            status = self.stream_status
            if status.startswith("200"):
                self.take(path.split("/")[4], json.loads(body).get("files", {}))
        text = json.dumps(answer).encode()
        fields = f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\nConnection: close\r\n"
        writer.write(f"HTTP/1.1 {status}\r\n{fields}\r\n".encode() + text)
        await writer.drain()

    def answered(self, asked: dict[str, Any]) -> dict[str, Any]:
        given = asked["variables"]
        match asked["operationName"]:
            case "RunResumeStatus":
                return {"model": {**_project(given["project"]), "bucket": self.resumed(given["name"])}}
            case "UpsertBucket":
                is_new = given["name"] not in self.runs
                run = self.runs.setdefault(given["name"], Kept())
                bucket = {
                    **_bucket(given["name"], run),
                    "config": given["config"],
                    "project": _project(given["project"]),
                }
                return {"upsertBucket": {"bucket": bucket, "inserted": is_new}}
            case "CreateRunFiles":
                files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in given["files"]]
                return {"createRunFiles": {"runID": "B1", "uploadHeaders": [], "files": files}}
        raise AssertionError(f"the client asked for {asked['operationName']}")

    def resumed(self, name: str) -> dict[str, Any] | None:
        if (run := self.runs.get(name)) is None:
            return None
        return {
            **_bucket(name, run),
            "summaryMetrics": json.dumps(run.summary),
            "historyTail": json.dumps(run.rows[-1:]),
            "eventsTail": "[]",
            "logLineCount": 0,
            "eventsLineCount": 0,
            "config": "{}",
            "tags": [],
            "notes": None,
            "wandbConfig": json.dumps({"t": {"1": 1}}),
        }

    def take(self, name: str, files: dict[str, Any]) -> None:
        if (history := files.get("wandb-history.jsonl")) is not None:
            self.runs[name].rows[history["offset"] :] = history["content"]
        if (summary := files.get("wandb-summary.json")) is not None:
            self.runs[name].summary = json.loads(summary["content"][-1])


def _project(name: str) -> dict[str, Any]:
    return {"id": "P1", "name": name, "entity": {"id": "E1", "name": "team"}}


def _bucket(name: str, run: Kept) -> dict[str, Any]:
    return {
        "id": "B1",
        "name": name,
        "displayName": name,
        "description": "",
        "sweepName": None,
        "historyLineCount": len(run.rows),
    }
