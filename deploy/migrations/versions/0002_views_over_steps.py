"""The views `messages`, `tool_calls`, `memory_snapshots` and `run_steps` over `steps`.

Ids that the steps do not have are made from the run and the place of the step, so they never change.
Large values are looked up in `bodies`; one that is not there reads as null.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

VIEWS = ("run_steps", "memory_snapshots", "tool_calls", "messages")

FUNCTIONS = (
    """
    CREATE FUNCTION step_id(run_id uuid, seq int) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT AS $$
        SELECT md5(run_id::text || ':' || seq)::uuid
    $$
    """,
    # The value itself, whether it travelled inside the step or as a reference to a body.
    """
    CREATE FUNCTION step_value(project text, value json) RETURNS json LANGUAGE sql STABLE AS $$
        SELECT CASE
            WHEN json_typeof(value) = 'object' AND value ->> '$body' IS NOT NULL THEN (
                SELECT convert_from(bodies.content, 'UTF8')::json FROM bodies
                WHERE bodies.project = step_value.project AND bodies.sha256 = value ->> '$body'
            )
            ELSE value
        END
    $$
    """,
    """
    CREATE FUNCTION step_text(project text, value json) RETURNS text LANGUAGE sql STABLE AS $$
        SELECT step_value(project, value) #>> '{}'
    $$
    """,
)

MESSAGES = """
CREATE VIEW messages AS
SELECT step_id(run_id, seq) AS message_id, run_id, project, seq,
       CASE kind WHEN 'run-requested' THEN 'system' WHEN 'user-request' THEN 'user' ELSE 'assistant' END
           AS role,
       step_text(project, payload -> CASE kind WHEN 'run-requested' THEN 'instructions' ELSE 'content' END)
           AS content,
       at AS "timestamp",
       (payload #>> '{model_call,usage,output}')::bigint AS token_count,
       payload #>> '{model_call,finish_reason}' AS finish_reason
FROM steps
WHERE kind IN ('user-request', 'agent-thought', 'agent-response')
   OR kind = 'run-requested' AND payload ->> 'instructions' <> ''
"""

# A call that was refused before it ran has a result and no call; one that is running has no result.
TOOL_CALLS = """
CREATE VIEW tool_calls AS
SELECT call.call_id, call.run_id, call.project, call.seq,
       (SELECT step_id(thought.run_id, max(thought.seq)) FROM steps AS thought
        WHERE thought.run_id = call.run_id AND thought.kind = 'agent-thought' AND thought.seq < call.seq
        GROUP BY thought.run_id) AS message_id,
       call.tool_name,
       step_value(call.project, call.called -> 'arguments') AS args,
       step_text(call.project, call.ended -> 'result') AS return_value,
       call.ended ->> 'status' AS status,
       (call.ended ->> 'latency_ms')::bigint AS latency_ms
FROM (
    SELECT run_id, project, payload ->> 'call_id' AS call_id, payload ->> 'tool' AS tool_name,
           min(seq) AS seq,
           (array_agg(payload ORDER BY seq DESC) FILTER (WHERE kind = 'tool-call'))[1] AS called,
           (array_agg(payload ORDER BY seq DESC) FILTER (WHERE kind = 'tool-result'))[1] AS ended
    FROM steps
    WHERE kind IN ('tool-call', 'tool-result')
    GROUP BY run_id, project, payload ->> 'call_id', payload ->> 'tool'
) AS call
"""

MEMORY_SNAPSHOTS = """
CREATE VIEW memory_snapshots AS
SELECT step_id(run_id, seq) AS memory_id, run_id, project, seq, at AS "timestamp",
       step_value(project, payload -> 'memory') AS memory_json
FROM steps
WHERE kind = 'memory-snapshot'
"""

RUN_STEPS = """
CREATE VIEW run_steps AS
SELECT step_id(run_id, seq) AS id, run_id, project, kind AS type, payload AS content, at AS "timestamp",
       seq AS "order"
FROM steps
WHERE kind IN ('user-request', 'agent-thought', 'tool-call', 'tool-result', 'agent-response')
"""


def upgrade() -> None:
    for statement in (*FUNCTIONS, MESSAGES, TOOL_CALLS, MEMORY_SNAPSHOTS, RUN_STEPS):
        op.execute(statement)


def downgrade() -> None:
    for view in VIEWS:
        op.execute(f"DROP VIEW {view}")
    for function in ("step_text(text, json)", "step_value(text, json)", "step_id(uuid, int)"):
        op.execute(f"DROP FUNCTION {function}")
