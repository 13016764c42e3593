"""The page at /docs: Swagger UI over the document, with every file from this origin.

`assets/vendored.toml` lists the files that are not ours, with their version and licence.
"""

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response

from services.gateway.boundary import DOCS_PATH

ASSETS: Final = Path(__file__).with_name("assets")
MEDIA_TYPES: Final = {
    "start.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui-bundle.js.LICENSE.txt": "text/plain",
    "swagger-ui.css": "text/css",
}
# The addresses are relative: the page may stand behind a prefix.
PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>AgentOps Studio: the API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<noscript>This page needs JavaScript; the document itself is <a href="openapi.json">here</a>.</noscript>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""


def install(app: FastAPI) -> None:
    """In place of FastAPI's page, which loads its files from other sites."""
    app.add_route(DOCS_PATH, _page, include_in_schema=False)
    app.add_route(f"{DOCS_PATH}/{{name}}", _asset, include_in_schema=False)


async def _page(_: Request) -> Response:
    return HTMLResponse(PAGE)


async def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in MEDIA_TYPES:
        raise HTTPException(404)
    return FileResponse(
        ASSETS / name, media_type=MEDIA_TYPES[name], headers={"Cache-Control": "public, max-age=3600"}
    )
