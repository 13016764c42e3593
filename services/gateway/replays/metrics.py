"""From the metrics that a client asked for to those of the order. Pure."""

import ast
import builtins
from collections.abc import Sequence
from typing import Final

from services.gateway.problems import invalid
from services.gateway.replays.inputs import MetricInput
from shared.messages import MetricName, WantedMetric

MOST_EXPRESSIONS: Final = 4
USUAL: Final[tuple[MetricName, ...]] = ("success", "cost_usd", "latency_ms", "tokens")
LESS_IS_BETTER: Final = frozenset({"cost_usd", "latency_ms", "tokens", "rounds", "tool_calls"})
NEED_EXPECTED: Final = frozenset({"exact", "contains"})
NAMES: Final = (
    *("answer", "status", "cost_usd", "latency_ms", "tokens", "rounds", "tool_calls"),
    "expected",
)


def metrics(asked: Sequence[MetricInput], sources: Sequence[str]) -> tuple[WantedMetric, ...]:
    """Raises Problem (422)."""
    own = [index for index, metric in enumerate(asked) if metric.name == "expression"]
    if len(own) > MOST_EXPRESSIONS:
        told = f"{len(own)} expressions would be evaluated for each run; at most {MOST_EXPRESSIONS}"
        raise invalid(f"metrics.{own[MOST_EXPRESSIONS]}.name", told)
    given = [*asked] or [MetricInput(name=name) for name in USUAL]
    if all("success" not in (metric.name, metric.label) for metric in given):
        given.append(MetricInput(name="success"))  # what fails is never just cheap
    seen: set[str] = set()
    for index, metric in enumerate(given):
        label = metric.label or metric.name
        if label in seen:
            raise invalid(
                f"metrics.{index}.label", f"there are two metrics {label!r}; give one another label"
            )
        seen.add(label)
    return tuple(_metric(metric, f"metrics.{index}", sources) for index, metric in enumerate(given))


def _metric(asked: MetricInput, field: str, sources: Sequence[str]) -> WantedMetric:
    _check_expected(asked, f"{field}.expected", sources)
    _check_expression(asked, f"{field}.expression")
    better = asked.higher_is_better
    return WantedMetric(
        name=asked.name,
        label=asked.label or asked.name,
        higher_is_better=asked.name not in LESS_IS_BETTER if better is None else better,
        expected=asked.expected,
        expression=asked.expression,
    )


def _check_expected(asked: MetricInput, field: str, sources: Sequence[str]) -> None:
    expected = asked.expected
    if expected is None and asked.name in NEED_EXPECTED:
        raise invalid(field, f"{asked.name} compares the answer with it: give the answer that is right")
    if expected is not None and asked.name not in (*NEED_EXPECTED, "expression"):
        raise invalid(field, f"{asked.name} compares with nothing; leave it out")
    if isinstance(expected, dict):
        for run_id in expected:
            if run_id not in sources:
                raise invalid(field, f"{run_id!r} is none of the replayed runs")
        for run_id in sources:
            if run_id not in expected:
                raise invalid(field, f"what is expected of the run {run_id} is missing")


def _check_expression(asked: MetricInput, field: str) -> None:
    if asked.name != "expression":
        if asked.expression is not None:
            raise invalid(field, f"is for the metric 'expression'; {asked.name} needs none")
        return
    if asked.expression is None:
        raise invalid(field, f"give Python over {', '.join(NAMES)}")
    if fault := expression_fault(asked.expression):
        raise invalid(field, fault)


def expression_fault(text: str) -> str | None:
    """Why a text is no expression over NAMES; None for one that is. It is not evaluated."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        own = {node.id for node in nodes if not isinstance(node.ctx, ast.Load)}
        own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    except SyntaxError as error:
        return f"no Python expression: {error.msg}"
    except (ValueError, RecursionError, MemoryError):
        return "no Python expression that can be read; write a shorter one"
    if any(isinstance(node, ast.NamedExpr) for node in ast.walk(tree)):
        return "it may not give names to values (:=)"
    known = {*NAMES, *own, *dir(builtins)}
    if unknown := next((node.id for node in nodes if node.id not in known), None):
        return f"there is no {unknown[:64]!r}; there are {', '.join(NAMES)}"
    return None
