"""What holds after every test of the runner."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.memory_log import Broker
from tests.support.rehearsed import check_rehearsals


@pytest.fixture
async def every_run_can_be_rehearsed(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    brokers: list[Broker] = []
    made = Broker.__init__

    def make(broker: Broker, *args: Any, **fields: Any) -> None:
        made(broker, *args, **fields)
        brokers.append(broker)

    monkeypatch.setattr(Broker, "__init__", make)
    yield
    for broker in brokers:
        await check_rehearsals({key.run_id: broker.steps(key) for key in broker.jobs})
