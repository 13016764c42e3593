"""Calling tools through the registry: whatever a tool does, the call has an outcome, bounded in every way."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any, cast

import jsonschema
import pytest
from prometheus_client import REGISTRY as METRICS
from pydantic import JsonValue, field_validator
from structlog.testing import capture_logs

from services.runner.tools.base import BaseTool, ToolContext, ToolError, ToolParameters
from services.runner.tools.calling import execution
from services.runner.tools.registry import ToolRegistry
from services.runner.tools.settings import ToolSettings
from shared.steps import Effect

Work = Callable[[str], Awaitable[object]]
SECRET = "hunter2-in-an-argument"


class EchoParameters(ToolParameters):
    text: str
    times: int = 1

    @field_validator("times")
    @classmethod
    def _breaks_on_seven(cls, value: int) -> int:
        return value if value != 7 else 1 // 0


class Echo(BaseTool[EchoParameters]):
    """Does what a test gives it to do."""

    name = "echo"
    display_name = "Echo"
    description = "Gives back."
    icon = "IconRepeat"
    effect = Effect.IRREVERSIBLE
    timeout_s = 0.2
    output_limit = 1000
    Parameters = EchoParameters

    def __init__(self, work: Work) -> None:
        self._work = work

    def effect_of(self, arguments: EchoParameters) -> Effect:
        return [Effect.PURE, Effect.IDEMPOTENT][arguments.times]

    async def execute(self, arguments: EchoParameters, context: ToolContext) -> JsonValue:
        return cast(JsonValue, await self._work(arguments.text))


def registry(work: Work) -> ToolRegistry:
    return ToolRegistry({"echo": Echo(work)})


async def same(text: str) -> object:
    return text


def refusal(arguments: object, name: str = "echo") -> str:
    """What the model is told before the call is made."""
    with pytest.raises(ToolError) as refused:
        registry(same).effect_of(name, arguments)
    return str(refused.value)


async def test_a_right_call_has_its_result_its_time_and_its_units(context: ToolContext) -> None:
    outcome = await registry(same).call("echo", {"text": "héllo"}, context)
    assert (outcome.status, outcome.result) == ("ok", "héllo")
    assert outcome.units == {"requests": 1.0, "characters": 5.0}
    assert 0 <= outcome.latency_ms < 200


async def test_an_unknown_tool_is_told_with_the_names_of_the_known_ones(context: ToolContext) -> None:
    tools = registry(same)
    outcome = await tools.call("ehco", {}, context)
    assert (outcome.status, outcome.result) == ("error", refusal({}, "ehco"))
    assert outcome.result == "There is no tool 'ehco'. The tools are: echo."


async def test_before_and_at_the_call_the_same_is_said_about_wrong_arguments(context: ToolContext) -> None:
    tools = registry(same)
    wrong: list[dict[str, Any]] = [{}, {"text": 5}, {"text": "a", "more": 1}, {"text": "a", "times": "x"}]
    for arguments in wrong:
        outcome = await tools.call("echo", arguments, context)
        assert outcome.status == "error"
        assert outcome.result == refusal(arguments)
        assert "Its arguments are: text, times (optional)." in str(outcome.result)


@pytest.mark.parametrize("arguments", [None, [], "text", 5, [{"text": "a"}]])
def test_arguments_that_are_no_object_are_told(arguments: object) -> None:
    assert "expected a JSON object" in refusal(arguments)


def test_arguments_that_are_nested_too_deeply_or_are_no_text_are_told() -> None:
    deep: object = "x"
    for _ in range(sys.getrecursionlimit() * 20):
        deep = [deep]
    assert "nested too deeply" in refusal({"text": deep})
    assert "lone surrogates" in refusal({"text": "\ud800"})


def test_long_wrong_arguments_are_not_repeated_in_full() -> None:
    told = refusal({f"field{n}" * 50: "x" * 10_000 for n in range(50)})
    assert len(told) < 2000
    assert "and 43 more" in told


def test_the_effect_is_that_of_the_very_call() -> None:
    tools = registry(same)
    assert tools.effect_of("echo", {"text": "a", "times": 0}) is Effect.PURE
    assert tools.effect_of("echo", {"text": "a"}) is Effect.IDEMPOTENT


def test_a_tool_that_cannot_tell_the_effect_of_a_call_is_held_to_its_strongest() -> None:
    with capture_logs() as logs:
        assert registry(same).effect_of("echo", {"text": "a", "times": 2}) is Effect.IRREVERSIBLE
    assert logs[0]["error_type"] == "IndexError"


async def test_a_tools_own_error_reaches_the_model_as_it_is(context: ToolContext) -> None:
    async def refuse(_: str) -> object:
        raise ToolError("Too late; ask for tomorrow.")

    outcome = await registry(refuse).call("echo", {"text": "x"}, context)
    assert (outcome.status, outcome.result) == ("error", "Too late; ask for tomorrow.")


async def test_a_crash_is_logged_without_what_may_be_secret(context: ToolContext) -> None:
    async def crash(text: str) -> object:
        raise KeyError(f"cannot use {text}")

    with capture_logs() as logs:
        outcome = await registry(crash).call("echo", {"text": SECRET}, context)
    assert outcome.status == "error"
    assert "fault of its own (KeyError)" in str(outcome.result)
    assert [(entry["event"], entry["error_type"], entry["run_id"]) for entry in logs] == [
        ("tool_crashed", "KeyError", context.run_id)
    ]
    assert SECRET not in json.dumps(logs) + str(outcome.result)


async def test_a_validator_that_crashes_is_a_crash_of_the_tool(context: ToolContext) -> None:
    outcome = await registry(same).call("echo", {"text": "x", "times": 7}, context)
    assert "fault of its own (ZeroDivisionError)" in str(outcome.result)


@pytest.mark.parametrize(
    "error", [SystemExit(3), asyncio.CancelledError(), TimeoutError(), MemoryError(), StopIteration()]
)
async def test_no_exception_of_a_tool_leaves_the_call(context: ToolContext, error: BaseException) -> None:
    async def throw(_: str) -> object:
        raise error

    outcome = await registry(throw).call("echo", {"text": "x"}, context)
    assert outcome.status == "error"
    assert "fault of its own" in str(outcome.result)


async def test_a_slow_tool_is_stopped_in_time(context: ToolContext) -> None:
    stopped = asyncio.Event()

    async def hang(_: str) -> object:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return None

    outcome = await registry(hang).call("echo", {"text": "x"}, context)
    assert "did not finish within 0.2 seconds" in str(outcome.result)
    assert stopped.is_set()


async def test_a_tool_that_ignores_its_cancellation_is_left_behind(
    context: ToolContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "GRACE_S", 0.05)
    release = asyncio.Event()

    async def ignore(_: str) -> object:
        while not release.is_set():
            try:
                await asyncio.wait_for(release.wait(), 10)
            except asyncio.CancelledError:
                continue
        raise RuntimeError("nobody hears this")

    with capture_logs() as logs:
        outcome = await asyncio.wait_for(registry(ignore).call("echo", {"text": "x"}, context), 5)
    assert "did not finish" in str(outcome.result)
    assert "tool_ignores_cancellation" in [entry["event"] for entry in logs]
    release.set()


async def test_a_cancelled_call_cancels_the_tool_and_stays_cancelled(context: ToolContext) -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def hang(_: str) -> object:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return None

    call = asyncio.create_task(registry(hang).call("echo", {"text": "x"}, context))
    await asyncio.wait_for(started.wait(), 5)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert stopped.is_set()


async def test_a_long_text_is_cut_with_a_mark_and_counted_in_full(context: ToolContext) -> None:
    async def much(_: str) -> object:
        return "é" * 5000

    outcome = await registry(much).call("echo", {"text": "x"}, context)
    assert isinstance(outcome.result, str)
    assert outcome.result.endswith("\n[cut: the result has 10000 bytes, over the limit of 1000]")
    assert 990 < len(outcome.result.encode()) <= 1000
    assert outcome.units["characters"] == 5000


async def test_a_long_structure_is_cut_with_a_mark(context: ToolContext) -> None:
    async def much(_: str) -> object:
        return {"rows": list(range(1000))}

    outcome = await registry(much).call("echo", {"text": "x"}, context)
    assert isinstance(outcome.result, str)
    assert outcome.result.startswith('{"rows": [0, 1, 2')
    assert "[cut: the result has" in outcome.result


@pytest.mark.parametrize("result", [{"at": object()}, float("nan"), {"x": [float("inf")]}, b"bytes", {1, 2}])
async def test_a_result_that_is_no_json_is_a_fault_of_the_tool(context: ToolContext, result: object) -> None:
    async def give(_: str) -> object:
        return result

    outcome = await registry(give).call("echo", {"text": "x"}, context)
    assert outcome.status == "error"
    assert "fault of its own" in str(outcome.result)


@pytest.mark.parametrize("result", [None, True, 5, 1.5, "", [], {"a": [1, {"b": None}]}, "lone \ud800"])
async def test_any_json_is_a_result(context: ToolContext, result: object) -> None:
    async def give(_: str) -> object:
        return result

    outcome = await registry(give).call("echo", {"text": "x"}, context)
    assert (outcome.status, outcome.result) == ("ok", result)


def sample(name: str, **labels: str) -> float:
    return METRICS.get_sample_value(name, labels) or 0.0


async def test_calls_and_errors_are_counted_by_tool_and_unknown_names_make_no_new_series(
    context: ToolContext,
) -> None:
    def counts() -> list[float]:
        return [
            sample("studio_tool_seconds_count", tool="echo", status="ok"),
            sample("studio_tool_errors_total", tool="echo", reason="arguments"),
            sample("studio_tool_errors_total", tool="unknown", reason="unknown"),
        ]

    before = counts()
    tools = registry(same)
    await tools.call("echo", {"text": "x"}, context)
    await tools.call("echo", {}, context)
    await tools.call("made-up-by-a-model", {}, context)
    assert [after - b for after, b in zip(counts(), before, strict=True)] == [1, 1, 1]
    assert (
        METRICS.get_sample_value(
            "studio_tool_seconds_count", {"tool": "made-up-by-a-model", "status": "error"}
        )
        is None
    )


def test_the_catalog_tells_everything_about_every_built_in_tool() -> None:
    tools = ToolRegistry.discover(ToolSettings())
    catalog = cast(list[dict[str, Any]], tools.catalog())
    assert tools.names() == [entry["name"] for entry in catalog]
    assert {"calculator", "file_io", "hf_list_models", "http_fetch"} <= set(tools.names())
    fields = {
        "name",
        "display_name",
        "description",
        "icon",
        "effect",
        "needs_approval",
        "parameters",
        "timeout_s",
    }
    for entry in json.loads(json.dumps(catalog)):
        assert set(entry) == fields
        assert entry["effect"] in list(Effect)
        jsonschema.Draft202012Validator.check_schema(entry["parameters"])
        assert all(argument["description"] for argument in entry["parameters"]["properties"].values())


def test_a_tools_schema_has_the_form_of_chat_completions() -> None:
    schema = Echo.schema()
    assert schema["type"] == "function"
    assert schema["function"]["name"] == "echo"
    assert schema["function"]["parameters"] == {
        "type": "object",
        "properties": {"text": {"type": "string"}, "times": {"type": "integer", "default": 1}},
        "required": ["text"],
        "additionalProperties": False,
    }
