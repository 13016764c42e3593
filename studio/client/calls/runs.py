"""Starting runs, reading and ending them; a chat message is a run, too. What they ask is in `waiting.py`."""

from typing import Final, Unpack

from pydantic import JsonValue

from studio.client.calls.call import Call, Listing, json_value, nothing, once, path, reader
from studio.client.errors import BadAnswer
from studio.client.models import Accepted, ChatReply, ModelList, Page, Run, RunSummary, StepPage
from studio.client.options import ChatOptions, RunFilters, RunOptions, chat_body, query_of, run_body

# Longer than a run lasts unless it was given more time than usual.
WAIT_S: Final = 900.0
# The server answers a chat message within this time.
CHAT_S: Final = 300.0
STEP_PAGE: Final = 500


def create(prompt: str, **options: Unpack[RunOptions]) -> Call[Accepted]:
    """Start a run and return at once."""
    headers = once(options.get("idempotency_key"))
    return Call("POST", path("runs"), reader(Accepted), body=run_body(prompt, options), headers=headers)


def get_head(run_id: str) -> Call[Run]:
    """The run with its first steps."""
    return Call("GET", path("runs", run_id), reader(Run))


def get_steps(run_id: str, after: int) -> Call[StepPage]:
    """The next page of steps."""

    def read(body: bytes) -> StepPage:
        page = reader(StepPage)(body)
        if page.next_after is not None and page.next_after <= after:
            raise BadAnswer(f"the page of steps behind {after} leads back to {page.next_after}")
        return page

    query = {"after": str(after), "limit": str(STEP_PAGE)}
    return Call("GET", path("runs", run_id, "steps"), read, query=query)


def body(run_id: str, sha256: str) -> Call[JsonValue]:
    """A value that is too large for its step, where a `BodyRef` stands for it."""
    return Call("GET", path("runs", run_id, "bodies", sha256), json_value)


def list_runs(*, limit: int | None = None, **filters: Unpack[RunFilters]) -> Listing[RunSummary]:
    """The runs, newest first, read page by page; at most `limit`."""
    return Listing(Page[RunSummary], path("runs"), limit, query_of(filters))


def cancel(run_id: str, why: str = "") -> Call[Accepted]:
    """Ask for the end of a run; it ends a moment later. Raises Conflict when it has ended."""
    return Call("POST", path("runs", run_id, "cancel"), reader(Accepted), body={"why": why})


def retry(run_id: str, why: str = "") -> Call[Accepted]:
    """Let a run that failed or was cancelled go on from its last good step."""
    return Call("POST", path("runs", run_id, "retry"), reader(Accepted), body={"why": why})


def delete(run_id: str) -> Call[None]:
    """Erase a finished run's content everywhere. Raises Conflict while it runs."""
    return Call("DELETE", path("runs", run_id), nothing, gone_is_done=True)


def chat(message: str, **options: Unpack[ChatOptions]) -> Call[ChatReply]:
    """One message to the assistant. Raises RunFailed or StillRunning, which name the run."""
    headers = once(options.get("idempotency_key"))
    given = chat_body(message, options)
    return Call("POST", path("chat"), reader(ChatReply), body=given, headers=headers, patience_s=CHAT_S)


def models() -> Call[ModelList]:
    """The models that a run may name, and whose they are."""
    return Call("GET", path("models"), reader(ModelList))
