"""Tools, servers, webhooks, schedules and sessions on the terminal: what others wrote is only text."""

from datetime import timedelta

import pytest
from rich.console import RenderableType

from shared.http_request import HttpRequest
from studio.client.automation_models import Delivery, Schedule, Tick, Webhook
from studio.client.models import Note, Session
from studio.client.tool_models import McpServer, Tool
from studio.terminal.amounts import ahead, size
from studio.terminal.automation import deliveries_table, schedule_view, schedules_table, webhooks_table
from studio.terminal.sessions import session_view, sessions_table
from studio.terminal.tools import server_view, servers_table, tool_view, tools_table
from tests.unit.studio.client_steps import BEGIN, RUN_ID
from tests.unit.studio.test_cli_text import HOSTILE, assert_harmless, printed

SCHEMA = {"type": "object", "properties": {HOSTILE: {"type": HOSTILE, "description": HOSTILE}}}
REQUEST = HttpRequest(url=HOSTILE, headers={HOSTILE: HOSTILE}, query={HOSTILE: HOSTILE}, body=HOSTILE)
TOOL = Tool(
    name=HOSTILE, description=HOSTILE, source=HOSTILE, server=HOSTILE, parameters=SCHEMA, request=REQUEST
)
SERVER = McpServer(
    name=HOSTILE,
    url=HOSTILE,
    headers={HOSTILE: HOSTILE},
    tools=(HOSTILE,),
    allowed_tools=(HOSTILE,),
    error=HOSTILE,
)
WEBHOOK = Webhook(id=RUN_ID, url=HOSTILE, events=(HOSTILE,), description=HOSTILE, created_at=BEGIN)
DELIVERY = Delivery(
    id=RUN_ID, webhook_id=RUN_ID, event_id="e", type=HOSTILE, at=BEGIN, status=HOSTILE, error=HOSTILE
)
SCHEDULE = Schedule(
    id=RUN_ID, name=HOSTILE, cron=HOSTILE, timezone=HOSTILE, input={HOSTILE: HOSTILE}, created_at=BEGIN
)
TICK = Tick(due_at=BEGIN, status=HOSTILE, error=HOSTILE)
SESSION = Session(session_id=HOSTILE, runs=2, last_run_id=RUN_ID, last_status="completed")
NOTE = Note(key=HOSTILE, text=HOSTILE, updated_at=BEGIN)


@pytest.mark.parametrize(
    "shown",
    [
        tools_table([TOOL]),
        tool_view(TOOL),
        tool_view(TOOL.model_copy(update={"parameters": {HOSTILE: HOSTILE}})),
        servers_table([SERVER], BEGIN),
        server_view(SERVER, BEGIN),
        webhooks_table([WEBHOOK], BEGIN),
        deliveries_table([DELIVERY], BEGIN),
        schedules_table([SCHEDULE], BEGIN),
        schedule_view(SCHEDULE, [TICK]),
        sessions_table([SESSION], BEGIN),
        session_view(SESSION, [], [NOTE], short=False),
    ],
)
def test_what_others_wrote_is_shown_as_text(shown: RenderableType) -> None:
    output = printed(shown)
    assert "red" in output
    assert_harmless(output)


def test_a_delivery_that_is_tried_again_says_when() -> None:
    tried = {"id": "d1", "type": "run.failed", "status": "pending", "attempts": 1, "error": "answered 500"}
    again = DELIVERY.model_copy(update={**tried, "next_attempt_at": BEGIN + timedelta(seconds=95)})
    assert "answered 500; again in 1 min" in printed(deliveries_table([again], BEGIN))


@pytest.mark.parametrize(
    ("number", "says"),
    [(1, "1 byte"), (1023, "1,023 bytes"), (1024, "1.0 KiB"), (10 * 1024**2, "10.0 MiB")],
)
def test_sizes_have_a_unit(number: int, says: str) -> None:
    assert size(number) == says


def test_what_is_due_already_is_due_now() -> None:
    assert ahead(BEGIN, BEGIN + timedelta(seconds=5)) == "in 0 s"
