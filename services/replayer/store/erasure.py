"""What is erased with a run: of the texts of deleted runs nothing stays in diffs, measures and results."""

from collections.abc import Sequence
from typing import Final

from shared.database import Connection

# Whoever looks at one of these replays right now may still be writing what it has read.
LOCK: Final = """
SELECT replay_id FROM replays WHERE replay_id IN (
    SELECT replay_id FROM replay_runs WHERE run_id = ANY ($1::uuid[]) OR source_run_id = ANY ($1::uuid[])
) ORDER BY replay_id FOR UPDATE
"""
DIFFS: Final = "DELETE FROM diffs WHERE left_run_id = ANY ($1::uuid[]) OR right_run_id = ANY ($1::uuid[])"
MEASURES: Final = """
UPDATE replay_runs SET measures = measures - '{divergence,faults,error}'::text[]
WHERE (run_id = ANY ($1::uuid[]) OR source_run_id = ANY ($1::uuid[])) AND measures IS NOT NULL
"""
RESULTS: Final = """
UPDATE replays SET result = jsonb_set(result, '{verification,not_equal}', (
    SELECT jsonb_agg(CASE
        WHEN each ->> 'run_id' = ANY ($2::text[]) OR each ->> 'source_run_id' = ANY ($2::text[])
        THEN each || '{"divergence": null, "error": null}' ELSE each END)
    FROM jsonb_array_elements(result #> '{verification,not_equal}') AS each
))
WHERE replay_id = ANY ($1::uuid[]) AND jsonb_array_length(result #> '{verification,not_equal}') > 0
"""


async def erase(connection: Connection, run_ids: Sequence[str]) -> None:
    """Repeating it is harmless. Raises Unavailable while a look at one of their replays lasts too long."""
    replays = [row[0] for row in await connection.fetch(LOCK, run_ids)]
    if not replays:
        return
    await connection.execute(DIFFS, run_ids)
    await connection.execute(MEASURES, run_ids)
    await connection.execute(RESULTS, replays, run_ids)
