"""Replays: runs that are run again, verified, forked, compared; and how any two runs differ."""

from collections.abc import Sequence
from typing import Final, Unpack

from shared.diff.models import RunDiff
from studio.client.calls.call import Call, Listing, once, path, reader
from studio.client.models import Page
from studio.client.replay_models import Lineage, Replay, ReplayAccepted, ReplayRun, ReplaySummary
from studio.client.replay_options import ReplayOptions, replay_body

# A comparison of long runs takes the server a while, and an order for runs whose logs have left the broker.
COMPARING_S: Final = 60.0
ORDERING_S: Final = 300.0


def create_replay(runs: str | Sequence[str], **options: Unpack[ReplayOptions]) -> Call[ReplayAccepted]:
    """Replay a run, or several, and return at once; `wait_for_replay` gives what comes of it."""
    headers = once(options.get("idempotency_key"))
    given = replay_body(runs, options)
    read = reader(ReplayAccepted)
    return Call("POST", path("replays"), read, body=given, headers=headers, patience_s=ORDERING_S)


def replay(replay_id: str) -> Call[Replay]:
    """What has come of a replay so far, with its first runs."""
    return Call("GET", path("replays", replay_id), reader(Replay))


def replays(
    *, mode: str | None = None, status: str | None = None, run_id: str | None = None, limit: int | None = None
) -> Listing[ReplaySummary]:
    """The replays, newest first (of a mode, a status, a replayed run); at most `limit`."""
    given = {"mode": mode, "status": status, "run_id": run_id}
    query = {name: value for name, value in given.items() if value is not None}
    return Listing(Page[ReplaySummary], path("replays"), limit, query)


def replay_runs(replay_id: str, *, limit: int | None = None) -> Listing[ReplayRun]:
    """The runs of a replay and what each was measured by; at most `limit`."""
    return Listing(Page[ReplayRun], path("replays", replay_id, "runs"), limit)


def replay_diff(replay_id: str, run_id: str) -> Call[RunDiff]:
    """The stored difference between a run of a replay and the one that it replays."""
    return Call("GET", path("replays", replay_id, "diffs", run_id), reader(RunDiff))


def cancel_replay(replay_id: str) -> Call[ReplayAccepted]:
    """Start no further runs of a replay and end those that go on. Raises Conflict when it has ended."""
    return Call("POST", path("replays", replay_id, "cancel"), reader(ReplayAccepted))


def diff(left: str, right: str) -> Call[RunDiff]:
    """How the run `right` differs from `left`: their steps side by side, and what they took."""
    query = {"left": left, "right": right}
    return Call("GET", path("diff"), reader(RunDiff), query=query, patience_s=COMPARING_S)


def lineage(run_id: str) -> Call[Lineage]:
    """The run that a run comes from by replays, and all that were made of it."""
    return Call("GET", path("runs", run_id, "lineage"), reader(Lineage))
