"""Errors as RFC 9457 problem details."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"


class Problem(BaseModel):
    """What went wrong, and what to do next."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[dict[str, Any]] = Field(default_factory=list, description="For 422: where and what")


class ProblemError(Exception):
    """An error that is told to the caller. Subclasses name the status."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class UnauthorizedError(ProblemError):
    """No valid key."""

    status = HTTPStatus.UNAUTHORIZED


class ForbiddenError(ProblemError):
    """The key lacks a role."""

    status = HTTPStatus.FORBIDDEN


class NotFoundError(ProblemError):
    """No such thing in the caller's tenant."""

    status = HTTPStatus.NOT_FOUND


class InvalidError(ProblemError):
    """A value that is well-formed and still cannot be used."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


class ConflictError(ProblemError):
    """Somebody else changed it at the same moment."""

    status = HTTPStatus.CONFLICT


class UnavailableError(ProblemError):
    """A dependency does not answer now."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


def problem(status: int, detail: str, errors: list[dict[str, Any]] | None = None) -> JSONResponse:
    """The response for a problem."""
    headers = {"WWW-Authenticate": 'Bearer realm="plumbline"'} if status == HTTPStatus.UNAUTHORIZED else {}
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=errors or [])
    return JSONResponse(body.model_dump(exclude_defaults=False), status, headers=headers, media_type=MEDIA_TYPE)


async def _on_problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)
    return problem(error.status, error.detail)


async def _on_invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = [{"at": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()]
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The request is not as documented; see `errors`.", found)


async def _on_http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, str(error.detail))


def install(app: FastAPI) -> None:
    """Answer every error of the application as a problem."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {}}}
    for status in (401, 403, 404, 422, 503)
}
