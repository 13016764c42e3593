"""From exceptions to responses. In: the status and body of every way a request can fail."""

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from services.simulator import errors


def install(app: FastAPI) -> None:
    """Let the app answer failures as the real API does."""
    app.add_exception_handler(errors.ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(ClientDisconnect, _client_gone)
    app.add_exception_handler(Exception, _unexpected)


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, errors.ApiError)
    if isinstance(error.body, str):
        return HTMLResponse(error.body, error.status, error.headers)
    return JSONResponse(error.body, error.status, error.headers)


async def _http_error(request: Request, error: Exception) -> Response:
    """What the router refuses: an unknown path, a method that a path does not have."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return await _api_error(request, errors.no_route())
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


async def _client_gone(request: Request, _: Exception) -> Response:
    """The client left while it was still sending."""
    return await _api_error(request, errors.client_gone())


async def _unexpected(request: Request, _: Exception) -> Response:
    """A fault of the simulator itself; the server logs it."""
    return await _api_error(request, errors.injected(500, None))
