"""Whether the model provider that the environment names can be reached, and takes the key."""

import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping

from studio.stack.doctor.finding import Finding, ok, problem
from studio.stack.errors import StackError
from studio.stack.provider import choose_provider, uses_simulator

TIMEOUT_S = 8.0


def check_provider(environ: Mapping[str, str]) -> Iterator[Finding]:
    if uses_simulator(environ):
        yield ok("no MISTRAL_API_KEY and no MISTRAL_SERVER_URL: models are simulated")
        return
    try:
        provider = choose_provider(environ, simulator_url="")
    except StackError as error:
        yield problem(str(error), "correct the variable, or unset it to use Mistral or the simulator")
        return
    url = provider.environment.get("MISTRAL_SERVER_URL", provider.url).rstrip("/")
    yield _ask_models(provider.url, f"{url}/v1/models", provider.environment["MISTRAL_API_KEY"])


def _ask_models(shown: str, url: str, key: str) -> Finding:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})  # noqa: S310 - it is an HTTP address
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S):  # noqa: S310 - it is an HTTP address
            return ok(f"{shown} answers and takes the key")
    except urllib.error.HTTPError as error:
        return _refused(shown, error.code)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return problem(
            f"{shown} cannot be reached: {reason}", "check the network, a proxy, and MISTRAL_SERVER_URL"
        )


def _refused(shown: str, code: int) -> Finding:
    if code in (401, 403):
        return problem(
            f"{shown} refuses the key ({code})", "check MISTRAL_API_KEY; without it, models are simulated"
        )
    if code == 404:
        return ok(f"{shown} answers (it has no list of models)")
    return problem(
        f"{shown} answers with {code}", "try again later, or unset the variables to use the simulator"
    )
