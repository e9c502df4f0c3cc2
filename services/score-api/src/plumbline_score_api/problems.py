"""Errors as RFC 9457 problem details."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute, iter_route_contexts
from plumbline_contracts import tracing
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match

from plumbline_score_api.headers import SECURITY

log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 100
LONGEST_PLACE = 300


class Mistake(BaseModel):
    """One place of the request, and what is wrong there."""

    at: str
    message: str


class Problem(BaseModel):
    """What went wrong, and what to do next."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[Mistake] = Field(default_factory=list, description="For 422 and 400; at most 100")
    trace_id: str | None = Field(default=None, description="What to look for in the logs")


class ProblemError(Exception):
    """An error that is told to the caller. Subclasses name the status."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail, self.headers = detail, headers


class BadRequestError(ProblemError):
    """A header or body that nobody can read, or that two readers may read differently; for values there is 422."""

    status = HTTPStatus.BAD_REQUEST


class UnauthorizedError(ProblemError):
    """No valid key or token."""

    status = HTTPStatus.UNAUTHORIZED


class ForbiddenError(ProblemError):
    """The caller lacks a role."""

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


class PreconditionFailedError(ProblemError):
    """What the caller knows is not what stands; the request had an If-Match."""

    status = HTTPStatus.PRECONDITION_FAILED


class TooLargeError(ProblemError):
    """A body beyond the limit, or one that does not say how long it is."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedMediaTypeError(ProblemError):
    """A body that is not announced as JSON."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class TooManyError(ProblemError):
    """More requests, or failed logins, than are allowed; when to come again."""

    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, detail: str, seconds: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(seconds)})


class UnavailableError(ProblemError):
    """A dependency does not answer now."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


def problem(
    status: int,
    detail: str,
    errors: list[Mistake] | None = None,
    *,
    trace_id: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """The response for a problem. It names the trace: the current one, or `trace_id`."""
    ours = {"WWW-Authenticate": 'Bearer realm="plumbline"'} if status == HTTPStatus.UNAUTHORIZED else {}
    phrase = HTTPStatus(status).phrase
    trace = trace_id or tracing.trace_id()
    body = Problem(title=phrase, status=status, detail=detail, errors=errors or [], trace_id=trace)
    return JSONResponse(
        body.model_dump(exclude_none=True), status, headers={**(headers or {}), **ours}, media_type=MEDIA_TYPE
    )


def answer(error: ProblemError) -> JSONResponse:
    """The response for an error of ours."""
    return problem(error.status, error.detail, headers=error.headers)


async def _on_problem(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ProblemError)
    return answer(error)


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = [
        Mistake(at=_text(".".join(map(str, e["loc"])))[:LONGEST_PLACE], message=_text(_message(request, e)))
        for e in error.errors()[:MOST_ERRORS]
    ]
    if any(e["type"] == "json_invalid" for e in error.errors()):
        return problem(HTTPStatus.BAD_REQUEST, "The body is not JSON; see `errors`.", found)
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The request is not as documented; see `errors`.", found)


def _text(sent: str) -> str:
    """What the caller sent, as text that can be sent back: half a character becomes a question mark."""
    return sent.encode("utf-8", "replace").decode()


def _message(request: Request, error: Mapping[str, Any]) -> str:
    """What is wrong with one value; for an unknown query parameter, which ones there are."""
    if error["type"] == "json_invalid":
        return str(error["ctx"]["error"])
    if error["type"] != "extra_forbidden" or error["loc"][0] != "query":
        return str(error["msg"])
    item = request.app.openapi()["paths"].get(request.scope["route"].path, {})
    known = item.get(request.method.lower(), {}).get("parameters", [])
    names = sorted(parameter["name"] for parameter in known if parameter["in"] == "query")
    return f"Unknown; there are {', '.join(names)}" if names else "Unknown; there are no parameters"


async def _on_http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(_methods(request))
        return problem(error.status_code, f"Here are only {allowed}.", headers={"Allow": allowed})
    return problem(error.status_code, str(error.detail), headers=error.headers)


def _methods(request: Request) -> list[str]:
    """The methods of all routes with the path of a request; the router itself knows those of one."""
    routes = [context.original_route for context in iter_route_contexts(request.app.routes)]
    found = {
        method
        for route in routes
        if isinstance(route, APIRoute) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


async def _on_gone(_: Request, __: Exception) -> JSONResponse:
    """For the measurements alone: nobody is there to read it."""
    return problem(HTTPStatus.BAD_REQUEST, "The connection ended before the request did.")


async def _on_bug(request: Request, error: Exception) -> JSONResponse:
    """The caller learns a number, the log everything."""
    trace_id: str = request.state.trace_id
    log.error("request failed", path=request.url.path, problem=type(error).__name__, trace_id=trace_id)
    detail = "Something is broken here. The logs say more under the trace id."
    headers = {**SECURITY, "Cache-Control": "no-store"}  # made outside of the guard
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail, trace_id=trace_id, headers=headers)


def install(app: FastAPI) -> None:
    """Answer every error of the application as a problem."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(ClientDisconnect, _on_gone)
    app.add_exception_handler(Exception, _on_bug)


def response_of(status: int) -> dict[str, Any]:
    """A problem that a route may answer with, for its document."""
    return {
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: response_of(status) for status in (401, 403, 404, 409, 413, 422, 429, 500, 503)
}
"""The problems that any route may answer with; the OpenAPI document adds the schema, and those of bodies."""
