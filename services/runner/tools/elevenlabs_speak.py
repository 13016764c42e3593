"""Turns text into speech through ElevenLabs; the audio becomes a file of the run."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Any, Final, Self

import httpx
from pydantic import Field, JsonValue, SecretStr

from services.runner.tools.base import BaseTool, ToolContext, ToolError, ToolOutput, ToolParameters
from services.runner.tools.calling.output import MOST_ARTIFACT_BYTES
from services.runner.tools.settings import ToolSettings
from shared.steps import Artifact, Effect

TIMEOUT_S: Final = 60.0
FORMAT: Final = "mp3_22050_32"  # speech needs no more, and a minute of it is a quarter of a megabyte
MEDIA_TYPE: Final = "audio/mpeg"
REFUSALS: Final = {
    401: "ELEVENLABS_API_KEY is not accepted, or its quota is used up",
    402: "the account must be paid for",
    404: "there is no such voice",
    422: "the text, the voice or the model cannot be used",
    429: "too many requests at once; try again later",
}


class ElevenLabsSpeakParameters(ToolParameters):
    text: str = Field(min_length=1, max_length=5000, description="What to say.")
    voice_id: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9]{1,64}$", description="A voice of ElevenLabs; else the usual one."
    )


class ElevenLabsSpeak(BaseTool[ElevenLabsSpeakParameters]):
    """Repeated after a crash it costs again and gives the same speech; nothing else in the world changes."""

    name = "elevenlabs_speak"
    display_name = "Speech"
    description = "Speaks a text aloud. The audio is kept as a file of the run, for people to download."
    icon = "IconVolume"
    effect = Effect.IDEMPOTENT
    timeout_s = TIMEOUT_S + 5
    concurrency = 4
    Parameters = ElevenLabsSpeakParameters

    def __init__(self, settings: ToolSettings) -> None:
        self._key: SecretStr | None = settings.elevenlabs_api_key
        self._base_url = settings.elevenlabs_base_url
        self._voice_id = settings.elevenlabs_voice_id
        self._model_id = settings.elevenlabs_model_id

    @classmethod
    def from_settings(cls, settings: ToolSettings) -> Self:
        return cls(settings)

    def missing(self) -> str | None:
        return None if self._key else "ELEVENLABS_API_KEY is not set"

    async def execute(self, arguments: ElevenLabsSpeakParameters, context: ToolContext) -> ToolOutput:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                audio = await self._spoken(arguments, _seed(context.idempotency_key))
        except TimeoutError:
            raise ToolError(f"ElevenLabs did not finish within {TIMEOUT_S:g} s; say less at once.") from None
        except httpx.HTTPError as error:
            kind = type(error).__name__
            raise ToolError(f"ElevenLabs cannot be reached ({kind}); try again later.") from None
        name = f"speech-{hashlib.sha256(context.idempotency_key.encode()).hexdigest()[:12]}.mp3"
        data = base64.b64encode(audio).decode()
        artifact = Artifact(name=name, media_type=MEDIA_TYPE, size=len(audio), data=data)
        told: JsonValue = {"artifact": name, "media_type": MEDIA_TYPE, "bytes": len(audio)}
        return ToolOutput(told, units={"characters": float(len(arguments.text))}, artifacts=(artifact,))

    async def _spoken(self, arguments: ElevenLabsSpeakParameters, seed: int) -> bytes:
        # Imported late: the client takes half a second and 40 MB, and most runners never speak.
        client_module, api_error = await asyncio.to_thread(_client_library)
        key = self._key.get_secret_value() if self._key else ""
        async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as http:
            client = client_module(api_key=key, base_url=self._base_url, httpx_client=http)
            speech = client.text_to_speech.convert(
                arguments.voice_id or self._voice_id,
                text=arguments.text,
                model_id=self._model_id,
                output_format=FORMAT,
                seed=seed,
                request_options={"max_retries": 0, "chunk_size": 64 * 1024},
            )
            try:
                return await _collected(speech)
            except api_error as error:
                raise ToolError(_refusal(error)) from None


def _client_library() -> tuple[Any, type[Exception]]:
    from elevenlabs.client import AsyncElevenLabs
    from elevenlabs.core.api_error import ApiError

    return AsyncElevenLabs, ApiError


async def _collected(speech: AsyncIterator[bytes]) -> bytes:
    audio = bytearray()
    async for part in speech:
        audio += part
        if len(audio) > MOST_ARTIFACT_BYTES:
            raise ToolError(f"The audio has more than {MOST_ARTIFACT_BYTES} bytes; say less at once.")
    if not audio:
        raise ToolError("ElevenLabs answered without audio; try again later.")
    return bytes(audio)


def _refusal(error: Any) -> str:
    status = error.status_code
    why = REFUSALS.get(status, "a fault of its own; try again later" if status >= 500 else "it says no more")
    return f"ElevenLabs refused ({status}): {why}."


def _seed(idempotency_key: str) -> int:
    """The same for a repeated call: the service then says the same in the same way, as well as it can."""
    return int(hashlib.sha256(idempotency_key.encode()).hexdigest()[:8], 16)
