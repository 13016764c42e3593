"""An example of every problem that a route may answer, word for word as the gateway says it."""

from typing import Final

from services.gateway.agents import examples as agents
from services.gateway.examples import BATCH_ID, BODY_SHA256, RUN_ID, SCHEDULE_ID
from services.gateway.problems import (
    BUNDLE_INVALID,
    FORBIDDEN,
    INVALID,
    KEY_REUSED,
    NOT_FOUND,
    NOT_SET_UP,
    REQUEST_TIMEOUT,
    RUN_ACTIVE,
    RUN_FAILED,
    RUN_FINISHED,
    RUN_TOO_LARGE,
    RUN_UNFINISHED,
    TOO_LARGE,
    TOO_MANY_RUNS,
    UNSUPPORTED_MEDIA_TYPE,
    FieldError,
    Problem,
    invalid,
    no_such_run,
    unauthorized,
    unavailable,
)
from services.gateway.replays import examples as replays
from services.gateway.tools import examples as tools
from services.gateway.waiting import examples as waiting
from services.gateway.webhooks import examples as webhooks
from services.gateway.webhooks.hooks import no_such_delivery, no_such_webhook

_MISTYPED: Final = (
    FieldError(field="prompt", message="this field is required"),
    FieldError(field="promt", message="unknown field; the fields here are prompt, user_id"),
)
_TOO_LARGE_TOGETHER: Final = (FieldError(field="right", message="too large to be compared with left"),)
_STEP: Final = FieldError(field="steps.jsonl, step 3", message="content does not match its hash")
_SIGNER: Final = FieldError(
    field="manifest.json",
    message="it is signed by 21fe31dfa154a261, which is not one of BUNDLE_TRUSTED_KEYS; add its key there",
)
PROBLEMS: Final[dict[str, Problem]] = {
    "no-key": unauthorized(
        "the request carries no API key; send it as 'Authorization: Bearer <key>' or 'X-API-Key: <key>'"
    ),
    "read-only-key": Problem(FORBIDDEN, "this API key has no scope 'write'; use one that has"),
    "write-only-key": Problem(FORBIDDEN, "this API key has no scope 'read'; use one that has"),
    "no-such-run": no_such_run(RUN_ID),
    "no-such-body": Problem(
        NOT_FOUND,
        f"the run has no body {BODY_SHA256!r}; a body's name is the $body of a reference in a step",
    ),
    "no-such-webhook": no_such_webhook(webhooks.WEBHOOK_ID),
    "no-such-delivery": no_such_delivery(webhooks.DELIVERY_ID),
    "no-such-schedule": Problem(
        NOT_FOUND, f"there is no schedule {SCHEDULE_ID!r}; GET /api/schedules lists them"
    ),
    "no-such-artifact": Problem(
        NOT_FOUND, "the run has no file 'speech.mp3'; its files are the artifacts of its tool results"
    ),
    "slow-body": Problem(REQUEST_TIMEOUT, "the body did not arrive within 30 s"),
    "key-reused": Problem(
        KEY_REUSED,
        "this Idempotency-Key was used for another request; use a new key for a new request",
        run_id=RUN_ID,
    ),
    "key-reused-elsewhere": Problem(
        KEY_REUSED, "this Idempotency-Key was used for another request; use a new key for a new request"
    ),
    "run-active": Problem(RUN_ACTIVE, f"the run is running; cancel it first: POST /api/runs/{RUN_ID}/cancel"),
    "run-goes-on": Problem(
        RUN_ACTIVE, "the run is running; a bundle is made of a run that has ended", run_id=RUN_ID
    ),
    "run-too-large": Problem(
        RUN_TOO_LARGE,
        "its steps and values have more than 33554432 bytes (BUNDLE_MAX_BYTES)",
        run_id=RUN_ID,
    ),
    "no-signing-key": Problem(
        NOT_SET_UP, "bundles are signed, and there is no key to sign with: set BUNDLE_SIGNING_KEY"
    ),
    "large-bundle": Problem(TOO_LARGE, "the body is larger than the limit of 33554432 bytes"),
    "json-bundle": Problem(
        UNSUPPORTED_MEDIA_TYPE, "the content type is 'application/json'; send application/octet-stream"
    ),
    "tampered-bundle": Problem(BUNDLE_INVALID, f"{_STEP.field}: {_STEP.message}", errors=[_STEP]),
    "unknown-signer": Problem(BUNDLE_INVALID, f"{_SIGNER.field}: {_SIGNER.message}", errors=[_SIGNER]),
    "unknown-part": invalid(
        "redact",
        "unknown part 'prompt'; there is metadata, user, session, people, reasoning, artifacts",
    ),
    "run-finished": Problem(RUN_FINISHED, "the run is completed; there is nothing to cancel"),
    "large-body": Problem(TOO_LARGE, "the body is larger than the limit of 1048576 bytes"),
    "form-body": Problem(
        UNSUPPORTED_MEDIA_TYPE,
        "the content type is 'application/x-www-form-urlencoded'; send application/json",
    ),
    **agents.PROBLEMS,
    **waiting.PROBLEMS,
    **tools.PROBLEMS,
    **replays.problems(RUN_ID),
    "no-such-group": Problem(
        NOT_FOUND, "no run has the label 'weekly'; GET /api/groups lists the labels there are"
    ),
    "no-such-batch": Problem(NOT_FOUND, f"there is no batch {BATCH_ID!r}; GET /api/batches lists them"),
    "batch-key-reused": Problem(
        KEY_REUSED, "this Idempotency-Key was used for another batch; use a new key for a new batch"
    ),
    "empty-batch": invalid("body", "there is no run in it; send one JSON object a line"),
    "too-many-runs": Problem(
        TOO_MANY_RUNS,
        "100,000 runs of this project wait for their turn, the most there may be; come back later",
        headers={"Retry-After": "30"},
    ),
    "no-such-session": Problem(
        NOT_FOUND, "no run has the session_id 'session-8'; GET /api/sessions lists the sessions"
    ),
    "no-such-note": Problem(
        NOT_FOUND, "the session has no note 'tone'; GET /api/sessions/{session_id}/memory lists those it has"
    ),
    "long-note": invalid("text", "String should have at most 16384 characters"),
    "unknown-parameter": invalid("verbose", "unknown query parameter; there is none here"),
    "large-limit": invalid("limit", "Input should be less than or equal to 200"),
    "long-diff": Problem(
        INVALID,
        "the two runs have 31,204 steps together; at most 20,000 can be compared",
        errors=_TOO_LARGE_TOGETHER,
    ),
    "large-diff": Problem(
        INVALID,
        "the steps of the two runs are too large; at most 16,777,216 bytes can be compared",
        errors=_TOO_LARGE_TOGETHER,
    ),
    "bad-cursor": invalid("cursor", "give the next_cursor of an earlier answer, unchanged, or leave it out"),
    "bad-after": invalid("after", "Input should be greater than or equal to -1"),
    "bad-event-id": invalid("Last-Event-ID", "String should match pattern '^[0-9]{1,9}$'"),
    "hot-parameter": invalid("parameters.temperature", "Input should be less than or equal to 1.5"),
    "unknown-tool": invalid("tools.0", "unknown tool 'shell'; the tools are calculator"),
    "bad-idempotency-key": invalid(
        "Idempotency-Key", "give 1 to 255 printable ASCII characters without spaces"
    ),
    "blank-message": invalid("message", "must hold more than white space"),
    "private-url": invalid(
        "url", "'127.0.0.1' is not a public server; give a URL that the internet can reach"
    ),
    "webhook-off": invalid("active", "the webhook is switched off; switch it on first"),
    "cron-never-fires": invalid("cron", "never fires: no month that it names has such a day"),
    "mistyped-field": Problem(
        INVALID, "; ".join(f"{error.field}: {error.message}" for error in _MISTYPED), errors=_MISTYPED
    ),
    "unknown-field": invalid("reason", "unknown field; the fields here are why"),
    "run-failed": Problem(RUN_FAILED, "the run failed: model-error: the provider said no", run_id=RUN_ID),
    "key-not-checked": unavailable("the API key cannot be checked: the database is away", retry_after_s=2),
    "broker-away": unavailable("the broker does not answer as it should right now; try again"),
    "database-away": unavailable("the database does not answer as it should right now; try again"),
    "busy-diff": unavailable("too many runs are being compared at the same time; try again"),
    "no-runner": unavailable("no runner has announced its tools yet", retry_after_s=2),
    "not-confirmed": unavailable(
        "the broker did not confirm the run: it is away, or its stream is full; the run may have been "
        "accepted nevertheless: ask for it by its id, or repeat the request with the same Idempotency-Key",
        run_id=RUN_ID,
    ),
    "too-many-streams": unavailable("this gateway has 10000 streams open, its limit", retry_after_s=10),
    "run-unfinished": Problem(
        RUN_UNFINISHED, "the run is still running; it goes on, ask for it by its id", run_id=RUN_ID
    ),
}
