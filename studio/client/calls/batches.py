"""Many runs at once: batches, and groups of runs that carry the same label."""

from collections.abc import Iterable, Mapping
from typing import Final, Unpack

from pydantic import JsonValue

from studio.client.calls.call import Call, Listing, once, path, reader
from studio.client.models import Batch, BatchCancelled, BatchLine, Group, GroupCancelled, Page
from studio.client.options import RunOptions, run_body

BATCH_S: Final = 600.0


def create_batch(
    runs: Iterable[Mapping[str, JsonValue]], *, name: str | None = None, **defaults: Unpack[RunOptions]
) -> Call[tuple[BatchLine, ...]]:
    """Start many runs, up to 10,000, each given as the fields of `POST /api/runs`; `defaults` hold where
    one does not say otherwise. Each is answered, in the same order, with its id or why it was refused.

    With the same `idempotency_key` again, it is the same batch.
    """

    def read(body: bytes) -> tuple[BatchLine, ...]:
        return tuple(reader(BatchLine)(line) for line in body.splitlines())

    fields = {field: value for field, value in run_body("", defaults).items() if field != "prompt"}
    first: list[Mapping[str, JsonValue]] = [{"defaults": fields}] if fields else []
    return Call(
        "POST",
        path("runs", "batch"),
        read,
        query={"name": name} if name else {},
        lines=[*first, *runs],
        headers=once(defaults.get("idempotency_key")),
        patience_s=BATCH_S,
    )


def batch(batch_id: str) -> Call[Batch]:
    """How far a batch is."""
    return Call("GET", path("batches", batch_id), reader(Batch))


def batches(*, limit: int | None = None) -> Listing[Batch]:
    """The batches, newest first; at most `limit`."""
    return Listing(Page[Batch], path("batches"), limit)


def cancel_batch(batch_id: str) -> Call[BatchCancelled]:
    """Ask for the end of a batch's unfinished runs; to ask again asks those that are left."""
    return Call("POST", path("batches", batch_id, "cancel"), reader(BatchCancelled))


def groups(*, limit: int | None = None) -> Listing[Group]:
    """The labels of runs with what their runs add up to, the one used last first; at most `limit`."""
    return Listing(Page[Group], path("groups"), limit)


def group(group: str) -> Call[Group]:
    """What the runs of a label add up to."""
    return Call("GET", path("groups", group), reader(Group))


def cancel_group(group: str, why: str = "") -> Call[GroupCancelled]:
    """Ask for the end of a group's unfinished runs; while some are `left`, call it again."""
    return Call("POST", path("groups", group, "cancel"), reader(GroupCancelled), body={"why": why})
