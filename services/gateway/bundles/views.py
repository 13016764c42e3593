"""What the API answers about bundles."""

from pydantic import Field

from services.gateway.views import View
from shared.steps import RunStatus


class BundleKey(View):
    """The key that this deployment signs with."""

    public_key: str = Field(description="Raw Ed25519, base64; what BUNDLE_TRUSTED_KEYS takes elsewhere.")
    fingerprint: str = Field(description="What people compare, and what `signer` says of a bundle.")


class ImportedBundle(View):
    """The run that a bundle became."""

    run_id: str
    status: RunStatus
    source_run_id: str = Field(description="What the run is called where it comes from.")
    bundle: str = Field(description="SHA-256 of the manifest, which names all of the bundle.")
    signer: str = Field(description="Fingerprint of the key that the bundle is signed with.")
    trusted: bool = Field(
        description="Whether that is a key of BUNDLE_TRUSTED_KEYS, or this deployment's own."
    )
    scrubbed_steps: int = Field(
        description="Steps in which this deployment's rules of redaction changed something: what follows "
        "from them cannot be proved any more."
    )
