"""Searches models on the Hugging Face Hub, most downloaded first."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Self

from huggingface_hub import ModelInfo
from pydantic import Field, JsonValue, SecretStr

from services.runner.tools.base import BaseTool, ToolContext, ToolError, ToolParameters
from services.runner.tools.hub.client import hub_api
from services.runner.tools.settings import ToolSettings
from shared.steps import Effect

THREADS = 4


class HfListModelsParameters(ToolParameters):
    query: str = Field(
        min_length=1, max_length=200, description="Words of the model's name, such as mistral 7b."
    )
    limit: int = Field(default=5, ge=1, le=20, description="How many models at most.")


class HfListModels(BaseTool[HfListModelsParameters]):
    name = "hf_list_models"
    display_name = "Hugging Face models"
    description = (
        "Searches models on the Hugging Face Hub by name and returns the most downloaded ones "
        "with their downloads, likes, task and date of the last change."
    )
    icon = "IconCube"
    effect = Effect.IDEMPOTENT
    timeout_s = 20.0
    Parameters = HfListModelsParameters

    def __init__(self, endpoint: str, token: SecretStr | None) -> None:
        self._endpoint = endpoint
        self._token = token

    @classmethod
    def from_settings(cls, settings: ToolSettings) -> Self:
        return cls(settings.hf_endpoint, settings.hf_token)

    async def execute(self, arguments: HfListModelsParameters, context: ToolContext) -> JsonValue:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._search, arguments.query, arguments.limit)

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        """Threads of its own: a slow Hub must not take those that other tools wait for."""
        return ThreadPoolExecutor(THREADS, thread_name_prefix=self.name)

    def _search(self, query: str, limit: int) -> JsonValue:
        token = self._token.get_secret_value() if self._token else None
        listing = hub_api(self._endpoint, token).list_models(
            search=query,
            limit=limit,
            sort="downloads",
            expand=["downloads", "lastModified", "likes", "pipeline_tag"],
        )
        try:
            return {"query": query, "models": [_model(info) for info in listing]}
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ToolError(
                "The Hugging Face Hub's answer is not a list of models; check HF_ENDPOINT."
            ) from None


def _model(info: ModelInfo) -> JsonValue:
    return {
        "id": info.id,
        "downloads": info.downloads,
        "likes": info.likes,
        "pipeline_tag": info.pipeline_tag,
        "last_modified": info.last_modified.isoformat() if info.last_modified else None,
    }
