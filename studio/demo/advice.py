"""What to do when the model provider takes no call: every other prompt would end as this one did."""

from shared.steps import Failure

MISTRAL = {
    "model-unauthorized": "Mistral refuses the key: set MISTRAL_API_KEY to one that "
    "https://console.mistral.ai/api-keys lists as active, or unset it to have the model simulated.",
    "model-unavailable": "{url} cannot be reached: look at the network, or at HTTPS_PROXY if there is a "
    "proxy, or unset MISTRAL_API_KEY to have the model simulated.",
}
COMPATIBLE_SERVER = {
    "model-unauthorized": "The server at {url} refuses the key: set MISTRAL_API_KEY to one that it knows, or "
    "unset MISTRAL_SERVER_URL and MISTRAL_API_KEY to have the model simulated.",
    "model-unavailable": "The server at {url} does not answer: start it, or set MISTRAL_SERVER_URL to where "
    "one is (like http://127.0.0.1:8080), or unset it to use Mistral or, without a key, the simulator.",
}
EITHER = {
    "model-not-found": "{url} has no such model: set MISTRAL_MODEL to one that it has.",
    "rate-limited": "{url} takes no more calls with this key for now: try again in a minute.",
}
BY_PROVIDER = {"mistral": MISTRAL | EITHER, "compatible server": COMPATIBLE_SERVER | EITHER}


def advice(error: Failure | None, provider: str, url: str) -> str:
    """In words; empty when another prompt may fare better."""
    known = BY_PROVIDER.get(provider, {})
    return known.get(error.type, "").format(url=url) if error else ""
