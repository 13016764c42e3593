"""The gateway's metrics. Routes appear as their patterns, never as paths: a path holds a run's id."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

REQUESTS: Final = Counter(
    "studio_http_requests_total", "Requests answered, by route pattern.", ["route", "method", "status"]
)
SECONDS: Final = Histogram(
    "studio_http_request_seconds",
    "Time until a request was answered; event streams are not in here.",
    ["route", "method"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
REJECTED: Final = Counter(
    "studio_requests_rejected_total", "Requests answered with a problem, by its kind.", ["reason"]
)
ACCEPTED: Final = Counter("studio_runs_accepted_total", "Runs that the broker has on disk.")
REPLAYED: Final = Counter(
    "studio_idempotent_replays_total", "Requests answered with the run of an earlier one of the same key."
)
STREAMS: Final = Gauge("studio_open_streams", "Event streams and WebSockets that are open.", ["kind"])
WATCHED: Final = Gauge("studio_watched_runs", "Runs that somebody waits for or watches.")
OVERFLOWS: Final = Counter(
    "studio_stream_overflows_total", "Streams ended because their client was too slow."
)
DROPPED_DELTAS: Final = Counter("studio_dropped_deltas_total", "Deltas not sent because a client was slow.")
REPAIRS: Final = Counter(
    "studio_watch_repairs_total", "Times that a watch found the log ahead of what it had heard."
)
