"""The page at /docs: whole without the net, and safe."""

import hashlib
import re
import tomllib
from collections.abc import AsyncIterator

import httpx
import pytest

from services.gateway.app import make_app
from services.gateway.openapi.page import ASSETS, MEDIA_TYPES


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("API_KEY_PEPPER", "a pepper for tests only")
    transport = httpx.ASGITransport(make_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


def addresses(html: str) -> list[str]:
    return re.findall(r'(?:src|href)="([^"]+)"', html)


async def test_the_page_loads_every_file_from_its_own_origin(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    loaded = [each for each in addresses(page.text) if not each.startswith("data:")]
    assert len(loaded) == 4
    assert "//" not in page.text.replace("<!doctype", ""), "an address of another site"
    for address in loaded:
        answer = await client.get(f"/{address}")
        assert answer.status_code == 200, address
        assert len(answer.content) > 100


async def test_the_page_starts_with_this_gateways_document(client: httpx.AsyncClient) -> None:
    start = (await client.get("/docs/start.js")).text
    (address,) = re.findall(r'url: "([^"]+)"', start)
    document = (await client.get(f"/{address}")).json()
    assert document["info"]["title"] == "AgentOps Studio"
    assert "validatorUrl: null" in start  # else a badge asks another site about the document


async def test_the_policy_names_no_other_site_and_runs_no_inline_script(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    policy = page.headers["content-security-policy"]
    assert "://" not in policy
    assert "script-src 'self';" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert re.findall(r"<script[^>]*>([^<]*)</script>", page.text) == ["", ""]


async def test_what_is_served_beside_the_page_is_listed(client: httpx.AsyncClient) -> None:
    for name, media_type in MEDIA_TYPES.items():
        answer = await client.get(f"/docs/{name}")
        assert answer.headers["content-type"] == f"{media_type}; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
    for name in ("vendored.toml", "page.py", "..%2Fpage.py", "oauth2-redirect", "%00", ""):
        assert (await client.get(f"/docs/{name}")).status_code == 404, name


def test_vendored_files_are_listed_with_version_and_licence_and_are_unchanged() -> None:
    listed: dict[str, str] = {}
    for package in tomllib.loads((ASSETS / "vendored.toml").read_text())["package"]:
        assert package["name"]
        assert package["version"]
        assert package["licence"]
        listed |= package["sha256"]
    own = {"start.js", "vendored.toml"}
    assert {file.name for file in ASSETS.iterdir()} - own == set(listed)
    for name, expected in listed.items():
        assert hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() == expected, name
