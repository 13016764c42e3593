"""Wiring only. Run: uvicorn --factory services.runner.app:make_app"""

from functools import partial

from faststream.asgi import AsgiFastStream

from services.runner.means import Means
from services.runner.mistral import MistralModel
from services.runner.model import Model
from services.runner.parts import assembled
from services.runner.remote.settings import RemoteSettings
from services.runner.remote.tools import RemoteTools
from services.runner.settings import Settings
from services.runner.tools.registry import ToolRegistry
from services.runner.tools.settings import ToolSettings
from shared.service import make_service
from shared.steps import now


def make_app(model: Model | None = None) -> AsgiFastStream:
    """The runner; `model` replaces the provider (benchmarks and tests)."""
    settings, tool_settings, remote_settings = Settings(), ToolSettings(), RemoteSettings()
    provider = MistralModel(settings)
    means = Means(model or provider, ToolRegistry.discover(tool_settings), now)
    parts = partial(assembled, settings, means, provider, RemoteTools(remote_settings))
    secrets = (*tool_settings.secrets(), *remote_settings.secrets())
    return make_service("runner", settings, parts, secrets=secrets)
