"""Whether the broker holds the streams and consumers that the set-up declares, by its monitoring endpoint."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from studio.stack.doctor.finding import Finding, ok, problem
from studio.stack.health import ask

# By stream, the durable consumers without which a service cannot work.
EXPECTED: Mapping[str, tuple[str, ...]] = {
    "RUNS": ("cost", "recorder", "runner"),
    "WORK": ("replayer", "replayer-ends"),
    "DEAD": (),
    "BODIES": (),
    "CATALOG": (),
}
DECLARE = "stop and start (`studio down`, `studio up`): the set-up declares what is missing"


def check_streams(monitor_port: int) -> Iterator[Finding]:
    answer = ask(monitor_port, "/jsz?streams=true&consumers=true", timeout=5.0)
    if not answer.ok:
        yield problem(
            f"the broker's monitoring answers {answer.status}: {answer.body[:200]}", "see `studio logs nats`"
        )
        return
    streams = _streams(json.loads(answer.body))
    for stream, consumers in EXPECTED.items():
        yield _check_stream(stream, consumers, streams)


def _check_stream(name: str, consumers: tuple[str, ...], streams: Mapping[str, Any]) -> Finding:
    if name not in streams:
        return problem(f"the broker has no stream {name}", DECLARE)
    found = {each["name"]: each for each in streams[name].get("consumer_detail", [])}
    if missing := [each for each in consumers if each not in found]:
        return problem(f"stream {name} has no consumer {', '.join(missing)}", DECLARE)
    state = streams[name]["state"]
    waiting = [f"{each} {_waiting(found[each])} behind" for each in consumers]
    held = f"{state['messages']} message{'s' * (state['messages'] != 1)}"
    return ok(", ".join([f"stream {name}: {held}, {state['bytes'] / 1024**2:.1f} MiB", *waiting]))


def _waiting(consumer: Mapping[str, Any]) -> int:
    return int(consumer.get("num_pending", 0)) + int(consumer.get("num_ack_pending", 0))


def _streams(answer: Mapping[str, Any]) -> dict[str, Any]:
    accounts = answer.get("account_details", [])
    return {stream["name"]: stream for account in accounts for stream in account.get("stream_detail", [])}
