"""The simulator's metrics. Labels are bounded: route patterns, catalogue ids, names of faults."""

from prometheus_client import Counter, Histogram

REQUESTS = Counter(
    "studio_simulator_requests_total", "Requests by route pattern and status.", ["route", "status"]
)
SECONDS = Histogram("studio_simulator_request_seconds", "Time until a response was complete.", ["route"])
TOKENS = Counter(
    "studio_simulator_tokens_total",
    "Tokens by model and kind (prompt, cached, completion).",
    ["model", "kind"],
)
FAULTS = Counter("studio_simulator_faults_total", "Faults that were made to happen.", ["fault"])
