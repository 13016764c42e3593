"""Why a replay cannot be made or found, as problems."""

from typing import Final

from services.gateway.problems import NOT_FOUND, RUN_ACTIVE, RUN_FAILED, Kind, Problem, invalid, unavailable
from shared.replay_results import Trouble

REPLAY_FINISHED: Final = Kind("replay-finished", 409, "The replay has finished")
REPLAY_UNFINISHED: Final = Kind("replay-unfinished", 504, "The replay did not finish in time")


def no_such_replay(replay_id: str) -> Problem:
    return Problem(NOT_FOUND, f"there is no replay {replay_id[:64]!r}; GET /api/replays lists them")


def no_such_diff(run_id: str) -> Problem:
    told = f"no difference is stored for the run {run_id[:64]!r}; GET /api/diff?left=&right= makes any"
    return Problem(NOT_FOUND, told)


def still_active(run_id: str, status: str) -> Problem:
    told = f"the run {run_id} is {status}; only a run that has ended can be replayed: wait for its end"
    return Problem(RUN_ACTIVE, told, run_id=run_id)


def a_verification(field: str, run_id: str, source_run_id: str) -> Problem:
    told = f"the run {run_id} only verified the run {source_run_id}, and has no answers; replay that one"
    return invalid(field, told)


def nothing_to_blame(run_id: str) -> Problem:
    told = f"the run {run_id} completed, so by 'success' no step is to blame"
    return invalid("metrics", f"{told}; name first what it did badly by, and a threshold")


def finished(status: str) -> Problem:
    return Problem(REPLAY_FINISHED, f"the replay is {status}; there is nothing to cancel")


def never_ran(status: str, error: Trouble | None) -> Problem:
    why = f": {error.message}" if error is not None else ""
    return Problem(RUN_FAILED, f"the replay ended as {status} before it had a run{why}")


def unfinished(replay_id: str) -> Problem:
    return Problem(
        REPLAY_UNFINISHED, f"the replay goes on; ask for it by its id: GET /api/replays/{replay_id}"
    )


def not_confirmed(replay_id: str) -> Problem:
    return unavailable(
        f"the broker did not confirm the replay: it is away, or its stream is full; the replay may have been "
        f"accepted nevertheless: ask for it by its id, {replay_id}, or repeat the request with the same "
        f"Idempotency-Key"
    )
