"""Metrics of tool calls. A tool's name becomes a label only when it is the name of a tool that exists."""

from prometheus_client import Counter, Histogram

TOOL_SECONDS = Histogram(
    "studio_tool_seconds",
    "Duration of a tool call, from the check of its arguments to its bounded result.",
    ["tool", "status"],
    buckets=(0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
TOOL_ERRORS = Counter(
    "studio_tool_errors_total",
    "Tool calls that ended in an error: unknown tool, arguments, missing, busy, tool, timeout or crash.",
    ["tool", "reason"],
)
