"""The API's description: the document, the page that shows it, and the words in which routes add to it."""

from typing import Final

from fastapi import FastAPI

from services.gateway.openapi import document, page

VERSION: Final = "1"


def install(app: FastAPI) -> None:
    """Give the application its document at /openapi.json and the page at /docs."""
    document.install(app)
    page.install(app)
