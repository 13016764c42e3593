"""What is sent to a webhook: that something happened, never its content. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic_core import to_json

TEST: Final = "webhook.test"


@dataclass(frozen=True)
class Event:
    id: str
    type: str
    project: str
    at: datetime
    run_id: str | None

    @property
    def body(self) -> bytes:
        """The same bytes in every attempt."""
        payload = {
            "id": self.id,
            "type": self.type,
            "project": self.project,
            "time": self.at,
            "run_id": self.run_id,
        }
        return to_json(payload)
