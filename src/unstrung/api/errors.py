"""Errors on the wire: OpenAI's envelope, and the status codes that its clients turn into their exceptions."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from unstrung.api.callers import Denied, TooMany
from unstrung.api.schema import ErrorEnvelope
from unstrung.errors import UnstrungError

# by our errors' codes; every other one is the request's own fault
STATUS = {
    "not_found": 404, "unknown_model": 404, "bad_status": 409, "in_use": 409, "not_ready": 409, "key_reused": 409,
    "already_signed": 409, "used": 409, "letter_changed": 409, "expired": 409, "no_tries": 409, "mail_failed": 503,
    "missing_weights": 503, "invalid_api_key": 401, "insufficient_scope": 403, "over_limit": 429, "rate_limited": 429,
}  # fmt: skip
TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
}
DOCUMENTED: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorEnvelope, "description": HTTPStatus(status).phrase}
    for status in (400, 401, 403, 404, 409, 413, 415, 421, 429, 500, 503)
}


def envelope(status: int, message: str, code: str | None = None, param: str | None = None) -> JSONResponse:
    """Return an error as the API's clients read it."""
    return JSONResponse(body_of(status, message, code, param), status)


def body_of(status: int, message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """Return the envelope itself."""
    kind = TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": _writable(message), "type": kind, "param": param and _writable(param), "code": code}}


def _writable(text: str) -> str:
    """Return a text with what is no character, as half of a surrogate pair that JSON may hold, escaped: UTF-8 has none."""
    return text.encode("utf-8", "backslashreplace").decode()


def unforeseen(error: Exception) -> JSONResponse:
    """Return what is answered where something broke that nobody foresaw; its words may hold what was asked, its type can't."""
    return envelope(500, f"Something broke here ({type(error).__name__}); the request may be tried again.", "internal_error")


def install(app: FastAPI) -> None:
    """Answer every error in the envelope, ours and the framework's; what nobody foresaw, the guard answers."""

    @app.exception_handler(UnstrungError)
    def ours(_: Request, error: UnstrungError) -> JSONResponse:
        answer = envelope(STATUS.get(error.code, 400), error.message, error.code, error.field)
        if isinstance(error, TooMany):
            answer.headers["retry-after"] = str(math.ceil(error.seconds))
        if isinstance(error, Denied):
            answer.headers["www-authenticate"] = "Bearer"
        return answer

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> JSONResponse:
        words = str(error.detail)
        if error.status_code == 404:
            words = f"There is nothing at {request.url.path}."
        answer = envelope(error.status_code, words)
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        field = str(first["loc"][-1])
        return envelope(400, f"{field}: {first['msg']}", "invalid_value", field)
