"""The official Mistral client against the simulator: it must not be able to tell it from the real API.

The service runs as in production, as a process of its own; only the client talks to it.
"""

import json
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2
import pytest
from mistralai.client import Mistral
from mistralai.client.errors import HTTPValidationError, SDKError
from mistralai.client.models import (
    AssistantMessage,
    BaseModelCard,
    ChatCompletionResponse,
    CompletionChunk,
    Function,
    Tool,
    ToolCall,
    UsageInfo,
)
from mistralai.client.utils import BackoffStrategy, RetryConfig
from pydantic import BaseModel

START_S = 30.0
LARGE = "mistral-large-latest"
DEMO = "What is 5 + 10, then multiply by 3?"
CALCULATOR = Tool(
    function=Function(
        name="calculator",
        description="Computes one operation on two numbers.",
        parameters={
            "type": "object",
            "properties": {
                "operation": {"type": "string", "enum": ["add", "subtract", "multiply", "divide", "power"]},
                "x": {"type": "number"},
                "y": {"type": "number"},
            },
            "required": ["operation", "x", "y"],
        },
    )
)


@pytest.fixture(scope="module")
def server_url() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "services.simulator.app:make_app"]
    options = ["--host", "127.0.0.1", "--port", str(port), "--no-access-log"]
    environment = {**os.environ, "SIMULATOR_LATENCY_SCALE": "0"}
    process = subprocess.Popen([*command, *options], env=environment, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _await_readiness(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


def _await_readiness(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the simulator ended with {process.returncode}"
        try:
            if httpx2.get(f"{url}/health/ready", timeout=1).status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"the simulator was not ready within {START_S:g} s")


@pytest.fixture
def client(server_url: str) -> Iterator[Mistral]:
    with Mistral(api_key="any-key", server_url=server_url, timeout_ms=20_000) as client:
        yield client


@pytest.fixture
async def async_client(server_url: str) -> AsyncIterator[Mistral]:
    async with Mistral(api_key="any-key", server_url=server_url, timeout_ms=20_000) as client:
        yield client


def user(content: str) -> list[Any]:
    return [{"role": "user", "content": content}]


def carry_out(call: ToolCall) -> str:
    """The tool's side: says what is wrong with a call that cannot be carried out."""
    if call.function.name != "calculator":
        return f"Error (unknown-tool): There is no tool {call.function.name!r}; the tools are: calculator."
    try:
        arguments = json.loads(str(call.function.arguments))
        x, y = arguments["x"] + 0, arguments["y"] + 0
        return {"add": f"{x} + {y} = {x + y}", "multiply": f"{x} * {y} = {x * y}"}[arguments["operation"]]
    except (ValueError, TypeError, KeyError) as error:
        return f"Error (invalid-arguments): {error!r}"


def after(messages: list[Any], text: str, calls: list[ToolCall]) -> list[Any]:
    results = [
        {"role": "tool", "tool_call_id": c.id, "name": c.function.name, "content": carry_out(c)}
        for c in calls
    ]
    return [*messages, {"role": "assistant", "content": text, "tool_calls": calls}, *results]


def whole_loop(client: Mistral, prompt: str, rounds: int = 8, **parameters: Any) -> tuple[str, int]:
    """The final answer and how many rounds of calls led to it."""
    messages = user(prompt)
    for made in range(rounds):
        response = client.chat.complete(model=LARGE, messages=messages, tools=[CALCULATOR], **parameters)
        message = only_message(response)
        if not message.tool_calls:
            return str(message.content), made
        messages = after(messages, str(message.content), message.tool_calls)
    raise AssertionError(f"no answer after {rounds} rounds")


def only_message(response: ChatCompletionResponse) -> AssistantMessage:
    assert len(response.choices) == 1
    message = response.choices[0].message
    assert message is not None
    return message


def joined(chunks: list[CompletionChunk]) -> tuple[str, list[ToolCall], UsageInfo]:
    """A stream put together: text, calls, usage; checks what every stream must look like."""
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert deltas[0].role == "assistant"
    reasons = [chunk.choices[0].finish_reason for chunk in chunks]
    assert reasons[:-1] == [None] * (len(chunks) - 1)
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    calls = [call for delta in deltas for call in delta.tool_calls or []]
    assert reasons[-1] == ("tool_calls" if calls else "stop")
    usage = chunks[-1].usage
    assert usage is not None
    return "".join(str(delta.content or "") for delta in deltas), calls, usage


def test_a_full_tool_loop_ends_with_45(client: Mistral) -> None:
    answer, rounds = whole_loop(client, DEMO, temperature=0.6)
    assert rounds == 2
    assert "45" in answer


def test_a_completion_fits_the_clients_model(client: Mistral) -> None:
    response = client.chat.complete(model=LARGE, messages=user("What is 2 + 2?"), temperature=0)
    assert isinstance(response, ChatCompletionResponse)
    assert (response.object, response.model) == ("chat.completion", LARGE)
    assert response.choices[0].finish_reason == "stop"
    assert only_message(response).content == "The result is 4."
    usage = response.usage
    assert usage.total_tokens == (usage.prompt_tokens or 0) + (usage.completion_tokens or 0) > 0


def test_no_field_is_sent_that_the_client_does_not_know(server_url: str) -> None:
    bodies: list[dict[str, Any]] = []

    def keep(response: httpx2.Response) -> None:
        bodies.append(json.loads(response.read()))

    with httpx2.Client(event_hooks={"response": [keep]}) as http:
        client = Mistral(api_key="any-key", server_url=server_url, client=http)
        client.chat.complete(model=LARGE, messages=user(DEMO), tools=[CALCULATOR])
        client.models.retrieve(model_id=LARGE)
    answer, card = bodies
    assert set(answer) <= set(ChatCompletionResponse.model_fields)
    assert set(answer["choices"][0]["message"]) <= set(AssistantMessage.model_fields)
    assert set(answer["choices"][0]["message"]["tool_calls"][0]) <= set(ToolCall.model_fields)
    assert set(answer["usage"]) <= {*UsageInfo.model_fields, "prompt_tokens_details"}
    assert set(card) <= set(BaseModelCard.model_fields)


def test_independent_questions_are_called_in_parallel(client: Mistral) -> None:
    messages = user("What is 2+3 and what is 10*4?")
    response = client.chat.complete(model=LARGE, messages=messages, tools=[CALCULATOR], temperature=0)
    message = only_message(response)
    calls = message.tool_calls or []
    assert [call.index for call in calls] == [0, 1]
    assert len({call.id for call in calls}) == 2
    final = client.chat.complete(
        model=LARGE, messages=after(messages, str(message.content), calls), tools=[CALCULATOR], temperature=0
    )
    assert only_message(final).content == "2 + 3 = 5 and 10 × 4 = 40."


def test_a_streamed_loop_ends_with_45(client: Mistral) -> None:
    messages = user(DEMO)
    for wanted in ("add", "multiply"):
        with client.chat.stream(model=LARGE, messages=messages, tools=[CALCULATOR]) as stream:
            text, calls, _ = joined([event.data for event in stream])
        assert [json.loads(str(call.function.arguments))["operation"] for call in calls] == [wanted]
        messages = after(messages, text, calls)
    with client.chat.stream(model=LARGE, messages=messages, tools=[CALCULATOR]) as stream:
        text, calls, usage = joined([event.data for event in stream])
    assert calls == []
    assert "45" in text
    assert (usage.model_extra or {})["prompt_tokens_details"]["cached_tokens"] > 0


def test_a_stream_says_the_same_as_a_plain_answer(client: Mistral) -> None:
    parameters: dict[str, Any] = {
        "model": LARGE,
        "messages": user("Write 60 words about tea"),
        "temperature": 0,
    }
    plain = client.chat.complete(**parameters)
    with client.chat.stream(**parameters) as stream:
        chunks = [event.data for event in stream]
    text, _, usage = joined(chunks)
    assert text == only_message(plain).content
    assert usage == plain.usage
    assert len(chunks) > 10


async def test_the_async_client_completes_and_streams(async_client: Mistral) -> None:
    parameters: dict[str, Any] = {"model": LARGE, "messages": user("What is 3 * 4?"), "temperature": 0}
    plain = await async_client.chat.complete_async(**parameters)
    async with await async_client.chat.stream_async(**parameters) as stream:
        text, _, _ = joined([event.data async for event in stream])
    assert only_message(plain).content == text == "The result is 12."


def test_parsed_answers_fit_the_callers_model(client: Mistral) -> None:
    class Result(BaseModel):
        value: int
        explanation: str

    response = client.chat.parse(Result, model=LARGE, messages=user(DEMO), temperature=0)
    message = (response.choices or [])[0].message
    assert message is not None
    assert message.parsed == Result(value=45, explanation="The result is 45.")


def test_parameters_shape_the_answer(client: Mistral) -> None:
    def text(**parameters: Any) -> tuple[str, str]:
        choice = client.chat.complete(model=LARGE, messages=user(DEMO), **parameters).choices[0]
        assert choice.message is not None
        return str(choice.message.content), str(choice.finish_reason)

    assert text(temperature=0, stop="result") == ("The ", "stop")
    assert text(temperature=0, max_tokens=2) == ("The resu", "length")
    assert text(random_seed=5) == text(random_seed=5)
    several = client.chat.complete(model=LARGE, messages=user(DEMO), n=3)
    assert [choice.index for choice in several.choices] == [0, 1, 2]


def test_every_listed_model_can_be_had(client: Mistral) -> None:
    listed = client.models.list().data or []
    cards = [card for card in listed if isinstance(card, BaseModelCard)]
    assert len(cards) == len(listed)
    assert {LARGE, "mistral-small-latest", "ministral-3b-latest", "mistral-embed"} <= {c.id for c in cards}
    for card in cards:
        assert client.models.retrieve(model_id=card.id) == card


async def test_embeddings_are_unit_vectors(client: Mistral, async_client: Mistral) -> None:
    texts = ["a cat on a mat", "the cat on the mat", "stock markets fell"]
    response = client.embeddings.create(model="mistral-embed", inputs=texts)
    assert response == (
        await async_client.embeddings.create_async(model="mistral-embed", inputs=texts)
    ).model_copy(update={"id": response.id})
    first, near, far = (item.embedding or [] for item in response.data)
    assert math.isclose(math.hypot(*first), 1.0)
    assert math.dist(first, near) < math.dist(first, far)


def failure(client: Mistral, prompt: str, **parameters: Any) -> SDKError:
    with pytest.raises(SDKError) as caught:
        client.chat.complete(**{"model": LARGE, "messages": user(prompt), **parameters})
    return caught.value


def test_a_refused_key_is_an_error_of_the_client(server_url: str) -> None:
    with Mistral(api_key="invalid-key", server_url=server_url) as client:
        error = failure(client, "Hi")
    assert error.status_code == 401
    assert json.loads(error.body) == {"detail": "Unauthorized"}


@pytest.mark.parametrize(
    ("directive", "status", "kind"),
    [
        ("429", 429, "rate_limited"),
        ("500", 500, "internal_server_error"),
        ("503", 503, "internal_server_error"),
        ("context-too-long", 400, "invalid_request_invalid_args"),
    ],
)
def test_faults_are_errors_of_the_client(client: Mistral, directive: str, status: int, kind: str) -> None:
    error = failure(client, f"Hi [[simulate: {directive}]]")
    assert (error.status_code, json.loads(error.body)["type"]) == (status, kind)


def test_a_rate_limit_tells_when_to_come_back(client: Mistral) -> None:
    assert failure(client, "Hi [[simulate: 429 3s]]").headers["retry-after"] == "3"


def test_a_proxys_error_is_no_json(client: Mistral) -> None:
    error = failure(client, "Hi [[simulate: 502]]")
    assert error.status_code == 502
    assert "502 Bad Gateway" in error.body


def test_an_unknown_model_is_told(client: Mistral) -> None:
    assert "Invalid model: gpt" in failure(client, "Hi", model="gpt").message
    with pytest.raises(SDKError) as caught:
        client.models.retrieve(model_id="gpt")
    assert caught.value.status_code == 404


def test_a_validation_error_names_the_field(client: Mistral) -> None:
    with pytest.raises(HTTPValidationError) as caught:
        client.chat.complete(model=LARGE, messages=user("Hi"), temperature=3.0)
    (problem,) = caught.value.data.detail or []
    assert (problem.loc, problem.type) == (["body", "temperature"], "less_than_equal")


def test_the_clients_own_retry_gets_through(client: Mistral) -> None:
    patient = RetryConfig("backoff", BackoffStrategy(1, 10, 1.5, 10_000, 0), retry_connection_errors=True)
    prompt = "What is 2 + 2? [[simulate: 429 0s x2]]"
    for _ in range(2):
        response = client.chat.complete(model=LARGE, messages=user(prompt), temperature=0, retries=patient)
        assert only_message(response).content == "The result is 4."


def test_a_cut_answer_is_a_broken_connection(client: Mistral) -> None:
    prompt = user("Write 50 words about tea [[simulate: cut-stream]]")
    with pytest.raises(httpx2.RemoteProtocolError):
        client.chat.complete(model=LARGE, messages=prompt)
    with client.chat.stream(model=LARGE, messages=prompt) as events:
        assert next(events).data.choices[0].delta.role == "assistant"
        with pytest.raises(httpx2.RemoteProtocolError):
            list(events)


def test_a_hanging_answer_runs_into_the_clients_timeout(client: Mistral) -> None:
    with pytest.raises(httpx2.ReadTimeout):
        client.chat.complete(model=LARGE, messages=user("Hi [[simulate: hang 30s]]"), timeout_ms=200)


@pytest.mark.parametrize("mistake", ["bad-json", "bad-arguments", "unknown-tool"])
def test_a_model_told_of_its_mistake_still_ends_with_45(client: Mistral, mistake: str) -> None:
    answer, rounds = whole_loop(client, f"{DEMO} [[simulate: {mistake}]]", temperature=0)
    assert (answer, rounds) == ("The result is 45.", 3)


def test_endless_tools_never_answer(client: Mistral) -> None:
    with pytest.raises(AssertionError, match="no answer after 8 rounds"):
        whole_loop(client, f"{DEMO} [[simulate: endless-tools]]")


def test_an_empty_answer_has_neither_text_nor_calls(client: Mistral) -> None:
    response = client.chat.complete(model=LARGE, messages=user("Hi [[simulate: empty]]"))
    message = only_message(response)
    assert not message.content
    assert not message.tool_calls
