"""What a run's stream tells: its steps, and between them what goes on right now and is not stored."""

from typing import Final, TypeAlias

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from shared.step_codec import Undecodable, decode_steps
from shared.steps import Step
from studio.client.errors import BadAnswer
from studio.client.sse import ServerEvent


class LiveEvent(BaseModel):
    """Not stored: after a broken connection some may be missing, and none comes twice."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


class ModelCallStarted(LiveEvent):
    """The model is being asked."""

    model: str = ""


class Delta(LiveEvent):
    """The next piece of the text that the model writes; the step that follows holds the whole."""

    text: str


class Retrying(LiveEvent):
    """A try of the model call failed (HTTP status, None: no answer); the next one follows after the wait."""

    status: int | None = None
    error: str = ""
    wait_s: float = 0.0


Event: TypeAlias = Step | ModelCallStarted | Delta | Retrying

LIVE_EVENTS: Final[dict[str, type[ModelCallStarted | Delta | Retrying]]] = {
    "model-call": ModelCallStarted,
    "delta": Delta,
    "retry": Retrying,
}
_object: Final = TypeAdapter(dict[str, JsonValue])


def read_event(event: ServerEvent) -> Event | None:
    """None for an event of a kind that this version does not know. Raises BadAnswer."""
    try:
        if event.name == "step":
            return decode_steps(b"[%b]" % event.data.encode())[0]
        if event.name in LIVE_EVENTS:
            return _live(event)
    except (Undecodable, ValidationError) as error:
        raise BadAnswer(f"an event {event.name!r} of the stream cannot be read: {error}") from error
    return None


def _live(event: ServerEvent) -> Event | None:
    """Everything live may come under the name `delta`; then its `type` says what it is."""
    data = _object.validate_json(event.data)
    kind = LIVE_EVENTS.get(str(data.get("type", event.name)))
    return kind.model_validate(data) if kind else None
