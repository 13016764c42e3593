"""The catalogue: which models the simulator serves and how each behaves.

In: ids, aliases, context, how often a model errs, how slow it is. Out: HTTP, prices (the ids are
those that genai-prices knows). Speed and accuracy are invented so that comparisons find something;
ids, aliases and context lengths follow the provider's published list.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Model:
    """One model; times in milliseconds, `slip_rate` per planned step beyond the `sure_steps` first."""

    id: str
    aliases: tuple[str, ...]
    description: str
    context: int
    created: int
    slip_rate: float = 0.0
    sure_steps: int = 0
    first_token_ms: int = 60
    tokens_per_second: int = 200
    chat: bool = True
    tools: bool = True
    default_temperature: float = 0.3

    @property
    def names(self) -> tuple[str, ...]:
        return (self.id, *self.aliases)

    def slip_chance(self, step: int, temperature: float) -> float:
        """How likely the model gets the planned step with that index (from 0) wrong; hotter is worse."""
        return 0.0 if step < self.sure_steps else min(1.0, self.slip_rate * (0.5 + temperature))


CATALOGUE: tuple[Model, ...] = (
    Model(
        id="mistral-large-2512",
        aliases=("mistral-large-latest",),
        description="Our top-tier reasoning model for high-complexity tasks.",
        context=262_144,
        created=1_764_633_600,
        slip_rate=0.01,
        sure_steps=6,
        first_token_ms=250,
        tokens_per_second=90,
    ),
    Model(
        id="mistral-medium-2604",
        aliases=("mistral-medium-latest",),
        description="Frontier-class multimodal model.",
        context=262_144,
        created=1_777_248_000,
        slip_rate=0.03,
        sure_steps=3,
        first_token_ms=160,
        tokens_per_second=120,
    ),
    Model(
        id="mistral-small-2603",
        aliases=("mistral-small-latest",),
        description="Small model with broad abilities.",
        context=262_144,
        created=1_773_619_200,
        slip_rate=0.08,
        sure_steps=1,
        first_token_ms=60,
        tokens_per_second=180,
    ),
    Model(
        id="codestral-2508",
        aliases=("codestral-latest",),
        description="Cutting-edge language model for coding.",
        context=256_000,
        created=1_753_833_600,
        slip_rate=0.05,
        sure_steps=1,
        first_token_ms=80,
        tokens_per_second=200,
    ),
    Model(
        id="open-mistral-nemo",
        aliases=(),
        description="Multilingual open source model.",
        context=131_072,
        created=1_721_260_800,
        slip_rate=0.15,
        first_token_ms=70,
        tokens_per_second=170,
    ),
    Model(
        id="ministral-8b-2512",
        aliases=("ministral-8b-latest",),
        description="Powerful edge model.",
        context=262_144,
        created=1_764_633_600,
        slip_rate=0.18,
        first_token_ms=50,
        tokens_per_second=220,
    ),
    Model(
        id="ministral-3b-2512",
        aliases=("ministral-3b-latest",),
        description="The smallest edge model.",
        context=131_072,
        created=1_764_633_600,
        slip_rate=0.35,
        first_token_ms=40,
        tokens_per_second=280,
    ),
    Model(
        id="mistral-embed-2312",
        aliases=("mistral-embed",),
        description="State-of-the-art semantic model for extracting representations of text.",
        context=8_192,
        created=1_702_252_800,
        first_token_ms=30,
        chat=False,
        tools=False,
    ),
)

_BY_NAME: Mapping[str, Model] = MappingProxyType({name: model for model in CATALOGUE for name in model.names})


def find_model(name: str) -> Model | None:
    """The model that answers to this id or alias."""
    return _BY_NAME.get(name)
