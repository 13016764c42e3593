"""The keys of bundles: the one that this deployment signs with, and those whose files it takes in."""

from services.gateway.bundles.refusals import no_key, untrusted
from services.gateway.bundles.views import BundleKey
from services.gateway.settings import GatewaySettings
from shared.bundle.manifest import Manifest
from shared.bundle.signing import SigningKey, fingerprint


class Trust:
    """Without keys to trust every signer is taken in, and told to be unknown."""

    def __init__(self, settings: GatewaySettings) -> None:
        secret = settings.bundle_signing_key
        self._key = SigningKey(secret.get_secret_value()) if secret is not None else None
        self._trusted = frozenset(settings.bundle_trusted_keys)

    @property
    def key(self) -> SigningKey:
        """Raises Problem (409) when there is none."""
        if self._key is None:
            raise no_key()
        return self._key

    @property
    def shown(self) -> BundleKey:
        return BundleKey(public_key=self.key.public, fingerprint=fingerprint(self.key.public))

    def of(self, manifest: Manifest) -> bool:
        """Whether the signer is known. Raises Problem (422) for one that has to be and is not."""
        own = self._key.public if self._key is not None else None
        known = manifest.public_key in {*self._trusted, own}
        if self._trusted and not known:
            raise untrusted(fingerprint(manifest.public_key))
        return known
