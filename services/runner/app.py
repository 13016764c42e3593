"""Wiring only. Run: uvicorn --factory services.runner.app:make_app"""

from functools import partial

from faststream.asgi import AsgiFastStream

from services.runner.mistral import MistralModel
from services.runner.model import Model
from services.runner.parts import assembled
from services.runner.performer import Means
from services.runner.settings import Settings
from services.runner.tools.registry import ToolRegistry
from services.runner.tools.settings import ToolSettings
from shared.service import make_service
from shared.steps import now


def make_app(model: Model | None = None) -> AsgiFastStream:
    """The runner; `model` replaces the provider (benchmarks and tests)."""
    settings, tool_settings = Settings(), ToolSettings()
    provider = MistralModel(settings)
    means = Means(model or provider, ToolRegistry.discover(tool_settings), now)
    parts = partial(assembled, settings, means, provider)
    return make_service("runner", settings, parts, secrets=tool_settings.secrets())
