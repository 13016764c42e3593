"""The model behind the official client, against a server that misbehaves in every way on a real socket."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.runner.mistral import MistralModel
from services.runner.model import ModelFailed, ModelReply
from services.runner.settings import Settings
from shared.model_request import JsonObject, ModelRequest, Tools
from shared.steps import Attempt, RequestedToolCall, Usage
from tests.support.provider import (
    DONE,
    USAGE,
    Provider,
    Scripted,
    chunk,
    error_answer,
    provider,
    text_answer,
    tool_answer,
    tool_delta,
)
from tests.support.waiting import eventually

REQUEST = ModelRequest("mistral-large-latest", [{"role": "user", "content": "What is 5 + 10?"}])


@dataclass
class Feed:
    """What a call told while it went on."""

    text: list[str] = field(default_factory=list)
    retries: list[Attempt] = field(default_factory=list)

    def started(self, model: str) -> None:
        self.text.clear()

    def delta(self, text: str) -> None:
        self.text.append(text)

    def retrying(self, attempt: Attempt) -> None:
        self.text.clear()
        self.retries.append(attempt)


def model_of(server: Provider, **settings: Any) -> MistralModel:
    given = {"mistral_retry_min_wait": 0.01, "mistral_retry_max_wait": 0.05, "mistral_timeout_s": 5.0}
    return MistralModel(
        Settings(mistral_api_key="key", mistral_server_url=server.url, **{**given, **settings})
    )


async def answered(*answers: Scripted, **settings: Any) -> tuple[ModelReply, Provider, Feed]:
    async with provider(*answers) as server:
        feed = Feed()
        return await model_of(server, **settings).complete(REQUEST, feed), server, feed


async def failed(*answers: Scripted, **settings: Any) -> tuple[ModelFailed, Provider]:
    async with provider(*answers) as server:
        with pytest.raises(ModelFailed) as caught:
            await model_of(server, **settings).complete(REQUEST, Feed())
        return caught.value, server


async def test_a_streamed_answer_is_put_together_and_told_live() -> None:
    reply, server, feed = await answered(text_answer("The answer", " is ", "15 🙂."))
    assert reply.content == "The answer is 15 🙂."
    assert feed.text == ["The answer", " is ", "15 🙂."]
    assert (reply.answered, reply.finish_reason) == ("mistral-large-2411", "stop")
    assert reply.usage == Usage(input=100, output=20)
    assert (reply.attempts, reply.tool_calls, reply.provider_request_id) == ((), (), "cmpl-1")
    assert reply.time_to_first_token_ms is not None
    assert server.requests[0]["stream"] is True
    assert "tools" not in server.requests[0]


async def test_the_request_carries_tools_and_parameters() -> None:
    tool: JsonObject = {
        "type": "function",
        "function": {"name": "t", "description": "d", "parameters": {"type": "object"}},
    }
    parameters = {"temperature": 0.5, "random_seed": 3, "max_tokens": 7, "top_p": 0.9}
    request = ModelRequest("m", REQUEST.messages, Tools([tool]), parameters)
    async with provider(text_answer("ok")) as server:
        await model_of(server).complete(request, Feed())
    sent = server.requests[0]
    assert {name: sent[name] for name in parameters} == parameters
    assert sent["tools"][0]["function"]["name"] == "t"
    assert sent["tool_choice"] == "auto"


@pytest.mark.parametrize(
    "deltas",
    [
        [tool_delta(0, "abc123DEF", "calculator", '{"x": 5, "y": 10}')],
        [tool_delta(0, "abc123DEF", "calculator", {"x": 5, "y": 10})],
        [
            tool_delta(0, "abc123DEF", "calculator", '{"x":'),
            tool_delta(0, None, "", " 5, "),
            tool_delta(0, "null", "", '"y": 10}'),
        ],
        [tool_delta(0, "abc123DEF", "calculator", '{"x": 5,'), tool_delta(0, "abc123DEF", "", ' "y": 10}')],
    ],
    ids=["whole", "object", "in pieces", "in pieces with the id repeated"],
)
async def test_a_tool_call_arrives_whole_however_it_was_split(deltas: list[dict[str, Any]]) -> None:
    reply, _, _ = await answered(tool_answer(*deltas))
    [call] = reply.tool_calls
    assert (call.call_id, call.tool) == ("abc123DEF", "calculator")
    assert call.arguments == '{"x": 5, "y": 10}'
    assert reply.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    "deltas",
    [
        [tool_delta(0, "a" * 9, "f", '{"n":'), tool_delta(1, "b" * 9, "g", '{"m":'),
         tool_delta(0, None, "", "1}"), tool_delta(1, None, "", "2}")],
        [tool_delta(0, "a" * 9, "f", '{"n":1}'), tool_delta(1, "b" * 9, "g", '{"m":2}')],
        [tool_delta(None, "a" * 9, "f", '{"n":1}'), tool_delta(None, "b" * 9, "g", '{"m":2}')],
        [tool_delta(None, "a" * 9, "f", '{"n":'), tool_delta(None, None, "", "1}"),
         tool_delta(None, "b" * 9, "g", '{"m":'), tool_delta(None, None, "", "2}")],
        [tool_delta(None, "a" * 9, "f", '{"n":'), tool_delta(None, "a" * 9, "", "1}"),
         tool_delta(None, "b" * 9, "g", '{"m":'), tool_delta(None, "b" * 9, "", "2}")],
    ],
    ids=["interleaved", "whole", "no index", "no index, in pieces", "no index, in pieces with ids"],
)  # fmt: skip
async def test_parallel_tool_calls_are_not_mixed_up(deltas: list[dict[str, Any]]) -> None:
    reply, _, _ = await answered(tool_answer(*deltas))
    assert reply.tool_calls == (
        RequestedToolCall(call_id="a" * 9, tool="f", arguments='{"n":1}'),
        RequestedToolCall(call_id="b" * 9, tool="g", arguments='{"m":2}'),
    )


async def test_two_calls_in_one_chunk_without_ids_stay_two() -> None:
    first = tool_delta(0, None, "f", "{}")["tool_calls"]
    second = tool_delta(1, None, "f", "{}")["tool_calls"]
    reply, _, _ = await answered(tool_answer({"tool_calls": [*first, *second]}))
    assert [(c.call_id, c.tool) for c in reply.tool_calls] == [("", "f"), ("", "f")]


async def test_thinking_goes_to_the_reasoning_and_not_to_the_text() -> None:
    think = {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "5 + 10 …"}]}]}
    say = {"content": [{"type": "text", "text": "15"}]}
    reply, _, feed = await answered(
        Scripted([chunk(think), chunk(say), chunk(finish="stop", usage=USAGE), DONE])
    )
    assert (reply.reasoning, reply.content, feed.text) == ("5 + 10 …", "15", ["15"])


@pytest.mark.parametrize(
    ("extra", "cached"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 64}}, 64),
        ({"num_cached_tokens": 64}, 64),
        ({"prompt_tokens_details": {"cached_tokens": 64}, "num_cached_tokens": 64}, 64),
        ({"prompt_tokens_details": None, "num_cached_tokens": None}, 0),
        ({"prompt_tokens_details": {}}, 0),
        ({"prompt_tokens_details": {"cached_tokens": 5000}}, 100),
        ({"prompt_tokens_details": {"cached_tokens": -5}}, 0),
        ({"prompt_tokens_details": {"cached_tokens": "many"}}, 0),
        ({"prompt_tokens_details": [1]}, 0),
    ],
)
async def test_cached_tokens_are_read_in_both_shapes_and_never_exceed_the_input(
    extra: dict[str, Any], cached: int
) -> None:
    reply, _, _ = await answered(text_answer("ok", usage={**USAGE, **extra}))
    assert reply.usage == Usage(input=100, cached_input=cached, output=20)


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": -5}, {"completion_tokens": -1}, {"prompt_tokens": 2**60}]
)
async def test_impossible_token_counts_end_in_a_clear_failure_or_an_answer(usage: dict[str, int]) -> None:
    async with provider(text_answer("ok", usage={**USAGE, **usage})) as server:
        try:
            told = (await model_of(server).complete(REQUEST, Feed())).content
        except ModelFailed as error:
            told = error.failure.type
        assert told in {"ok", "model-unavailable"}


async def test_a_rate_limit_passes_and_stays_visible_in_the_attempts() -> None:
    reply, server, feed = await answered(
        error_answer(429, {"message": "slow down"}, Retry_After="0.02"),
        error_answer(503, {"message": "overloaded"}),
        text_answer("ok"),
    )
    assert reply.content == "ok"
    assert [(a.status, a.error) for a in reply.attempts] == [(429, "slow down"), (503, "overloaded")]
    assert all(0.01 <= attempt.wait_s <= 0.05 for attempt in reply.attempts)
    assert feed.retries == list(reply.attempts)
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("answer", "kind", "retryable"),
    [
        (error_answer(400, {"message": "This model's maximum context length is 32768 tokens"}),
         "context-too-long", False),
        (error_answer(422, {"detail": [{"msg": "Prompt too long", "loc": ["body"], "type": "x"}]}),
         "context-too-long", False),
        (error_answer(400, {"message": "bad temperature"}), "model-rejected", False),
        (error_answer(401, {"detail": "Unauthorized"}), "model-unauthorized", False),
        (error_answer(403, b"<html>forbidden</html>"), "model-unauthorized", False),
        (error_answer(404, {"message": "no such model", "type": "invalid_model"}), "model-not-found", False),
        (error_answer(429, {"message": "slow down"}), "rate-limited", True),
        (error_answer(500, b""), "model-unavailable", True),
        (error_answer(502, b"\xff\xfe no utf-8"), "model-unavailable", True),
        (error_answer(503, b"[" * 5000), "model-unavailable", True),
    ],
)  # fmt: skip
async def test_an_error_of_the_provider_becomes_a_failure_of_its_type(
    answer: Scripted, kind: str, retryable: bool
) -> None:
    error, server = await failed(answer)
    assert (error.failure.type, error.failure.retryable) == (kind, retryable)
    assert len(server.requests) == (3 if retryable else 1)
    assert len(error.failure.attempts) == len(server.requests)
    assert len(error.failure.message) < 1000


CUT = chunk({"content": "The answer"})


@pytest.mark.parametrize(
    "cut",
    [
        Scripted([CUT]),
        Scripted([CUT], whole=False),
        Scripted([CUT, DONE]),
        Scripted([]),
        Scripted([], whole=False),
        Scripted([CUT, b'data: {"id": "cmpl-1", "object": "chat.comp']),
        Scripted([CUT, b'data: {"id": "cmpl-1", "object": "chat.comp'], whole=False),
        Scripted([CUT, b"data: not JSON at all\n\n"]),
        Scripted([CUT, b'data: {"choices": "none"}\n\n']),
        Scripted([CUT, b"data: \xff\xfe\n\n"]),
        Scripted([CUT, b'data: {"error": {"message": "internal"}}\n\n']),
        Scripted([CUT, chunk(finish="error"), DONE]),
        Scripted([b"<html>a proxy's page</html>"], content_type="text/html"),
        Scripted([b'{"message": "no stream"}'], content_type="application/json"),
    ],
    ids=[
        "ends early", "connection cut", "done without an end", "nothing", "nothing, cut",
        "cut in an event", "connection cut in an event", "no JSON", "wrong shape", "no text", "error event",
        "broken off", "HTML", "plain JSON",
    ],
)  # fmt: skip
async def test_a_broken_stream_is_tried_again(cut: Scripted) -> None:
    reply, server, feed = await answered(cut, text_answer("The answer is 15."))
    assert reply.content == "The answer is 15."
    assert "".join(feed.text) == "The answer is 15."
    assert len(reply.attempts) == 1
    assert len(server.requests) == 2


async def test_a_stream_that_is_always_cut_ends_in_a_failure_that_may_be_retried() -> None:
    error, server = await failed(Scripted([CUT]))
    assert (error.failure.type, error.failure.retryable) == ("model-unavailable", True)
    assert "3 tries" in error.failure.message
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "hang", [Scripted([], hang=True), Scripted([CUT], hang=True)], ids=["before", "within"]
)
async def test_a_provider_that_hangs_is_left_after_the_time_limit(hang: Scripted) -> None:
    reply, server, _ = await answered(hang, text_answer("ok"), mistral_timeout_s=0.8)
    assert reply.content == "ok"
    assert reply.attempts[0].status is None
    assert server.left_early == 1


async def test_a_server_that_drips_for_ever_is_left_after_the_time_limit() -> None:
    drip = Scripted([b": keep-alive\n\n"] * 2000, hang=True)
    error, _ = await failed(drip, mistral_timeout_s=0.3, mistral_retry_max_attempts=1)
    assert error.failure.type == "model-unavailable"


async def test_nobody_listening_is_a_failure_that_may_be_retried() -> None:
    settings = Settings(
        mistral_api_key="key",
        mistral_server_url="http://127.0.0.1:9",
        mistral_retry_min_wait=0.01,
        mistral_retry_max_wait=0.02,
    )
    with pytest.raises(ModelFailed) as caught:
        await MistralModel(settings).complete(REQUEST, Feed())
    assert (caught.value.failure.type, caught.value.failure.retryable) == ("model-unavailable", True)


async def test_every_run_of_a_full_runner_has_a_connection_of_its_own() -> None:
    async with provider(Scripted([], hang=True)) as server:
        model = model_of(server, runner_concurrency=150)
        calls = [asyncio.create_task(model.complete(REQUEST, Feed())) for _ in range(150)]
        try:
            await eventually(lambda: len(server.requests) >= 150, within_s=30)
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)


async def test_the_models_of_the_provider_are_listed_with_their_aliases() -> None:
    card = {"id": "m-2411", "aliases": ["m-latest"], "capabilities": {}, "object": "model", "type": "base"}
    body = error_answer(200, {"object": "list", "data": [card]})
    async with provider(body) as server:
        assert await model_of(server).names() == ["m-2411", "m-latest"]
    async with provider(error_answer(401, {"detail": "Unauthorized"})) as server:
        with pytest.raises(ModelFailed):
            await model_of(server).names()
