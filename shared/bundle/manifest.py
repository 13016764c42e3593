"""The manifest: what a bundle is, the hash of all that is in it, and what was cut out of it. It is what is
signed."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from shared.bundle.faults import BundleFault
from shared.steps import Fact, Project, RunId, RunStatus

FORMAT: Final = "agentops-studio-run"
VERSION: Final = 1
MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "signature"
STEPS: Final = "steps.jsonl"
STEP_HASHES: Final = "steps.sha256"
CHARGES: Final = "charges.json"
BODY: Final = re.compile(r"bodies/([0-9a-f]{64})")

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Part = Literal["metadata", "user", "session", "people", "reasoning", "artifacts"]
"""What may be left out of a bundle; what each is stands in `redaction`."""


class Entry(Fact):
    """The content of an entry: its hash and its size in bytes, unpacked."""

    sha256: Sha256
    size: int = Field(ge=0)


class CutOut(Fact):
    """How much of a step was cut out, by field."""

    step: int = Field(ge=0)
    fields: dict[str, int]


class Redactions(Fact):
    """What was cut out: `parts` whole, and texts by as many `patterns`, which are not told."""

    parts: tuple[Part, ...] = ()
    patterns: int = Field(default=0, ge=0)
    steps: tuple[CutOut, ...] = ()


class Proof(Fact):
    """Of a redacted run: so many of its calls of the model were made again from the log before anything was
    cut out of it, and were as recorded. Their hashes are those of what is left."""

    model_calls: int = Field(ge=0)
    as_recorded: int = Field(ge=0)


class Manifest(Fact):
    """`finished_at` is the time of the last step; the same run makes the same manifest at any time.
    `code_version` is that of the deployment that made it; `public_key` is raw Ed25519 in base64."""

    format: Literal["agentops-studio-run"] = FORMAT
    version: Literal[1] = VERSION
    run_id: RunId
    project: Project
    status: RunStatus
    finished_at: AwareDatetime
    code_version: str
    steps: int = Field(ge=1)
    entries: dict[str, Entry]
    redactions: Redactions | None = None
    proof: Proof | None = None
    public_key: str


class Charge(Fact):
    """What a step cost in its own deployment: USD as text, by which prices (USD per million tokens)."""

    step: int = Field(ge=0)
    item: str
    model: str
    amount_usd: str | None
    prices: dict[str, str] | None = None
    price_source: str
    price_version: str
    price_date: str | None = None
    reason: str | None = None


charges: Final = TypeAdapter(tuple[Charge, ...])


def read_manifest(data: bytes) -> Manifest:
    """Raises BundleFault, for another format or version before anything else."""
    head = parsed(MANIFEST, data)
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise BundleFault(MANIFEST, f"it does not say that it is of the format {FORMAT!r}")
    if head.get("version") != VERSION:
        told = str(head.get("version"))[:20]
        raise BundleFault(
            MANIFEST, f"it is of version {told} of the format; this code reads version {VERSION}"
        )
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        raise BundleFault(MANIFEST, first_error(error)) from None


def parsed(entry: str, data: bytes) -> Any:
    """The JSON value, of a depth that every parser takes. Raises BundleFault."""
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError as error:
        raise BundleFault(entry, f"it is not JSON: {error}") from None


def first_error(error: ValidationError) -> str:
    """Where and what, without the value."""
    first: Mapping[str, Any] = error.errors(include_input=False, include_url=False, include_context=False)[0]
    return f"{'.'.join(map(str, first['loc']))[:100] or 'the whole of it'}: {first['msg']}"
