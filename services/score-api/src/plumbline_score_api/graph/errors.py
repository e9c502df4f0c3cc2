"""Errors of the Graph routes in Graph's own shape, whoever answers them: route, guard, framework or protocol."""

import json
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plumbline_score_api.problems import MEDIA_TYPE

PREFIX = "/graph"
CONTENT_TYPE = "application/json"
MOST_DETAILS = 20
_CODES = {
    HTTPStatus.BAD_REQUEST: "BadRequest",
    HTTPStatus.UNAUTHORIZED: "InvalidAuthenticationToken",
    HTTPStatus.FORBIDDEN: "Forbidden",
    HTTPStatus.NOT_FOUND: "ResourceNotFound",
    HTTPStatus.METHOD_NOT_ALLOWED: "MethodNotAllowed",
    HTTPStatus.CONFLICT: "Conflict",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "RequestEntityTooLarge",
    HTTPStatus.TOO_MANY_REQUESTS: "TooManyRequests",
    HTTPStatus.INTERNAL_SERVER_ERROR: "InternalServerError",
    HTTPStatus.SERVICE_UNAVAILABLE: "ServiceUnavailable",
}
_CLIENT_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


class GraphErrors:
    """ASGI: on the Graph routes, problems leave in Graph's shape, and every answer has Graph's headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and is_graph(scope["path"]):
            send = _Answering(scope, send).send
        await self._app(scope, receive, send)


class _Answering:
    """Sends an answer on, held back as long as it takes to turn a problem into an error of Graph."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self._start: Message | None = None
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *_raw(_headers(self._scope))]}
            if _is_problem(message):
                self._start = message
                return
        if self._start is None:
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if not message.get("more_body", False):
            await self._send_error(self._start)

    async def _send_error(self, start: Message) -> None:
        status, body = error_of(json.loads(self._body or b"{}"), start["status"], _headers(self._scope))
        content = json.dumps(body).encode()
        own = {b"content-type": CONTENT_TYPE.encode(), b"content-length": str(len(content)).encode()}
        headers = [(name, value) for name, value in start["headers"] if name.lower() not in own]
        await self._send({**start, "status": status, "headers": [*headers, *own.items()]})
        await self._send({"type": "http.response.body", "body": content})


def install(app: FastAPI) -> None:
    """Answer every error of the Graph routes of an application in Graph's shape. Installed after its handlers."""
    app.add_middleware(GraphErrors)
    answer_bug: Any = app.exception_handlers[Exception]

    async def on_bug(request: Request, error: Exception) -> Response:
        response: Response = await answer_bug(request, error)
        if not is_graph(request.url.path):
            return response
        headers = _headers(request.scope)
        status, body = error_of(json.loads(bytes(response.body)), response.status_code, headers)
        kept = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
        policy = response.headers["content-security-policy"]
        return JSONResponse(body, status, headers={**kept, "content-security-policy": policy, **headers})

    app.add_exception_handler(Exception, on_bug)


def is_graph(path: str) -> bool:
    """Whether a path is one of the Graph routes, known or not."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def error_of(problem: Mapping[str, Any], status: int, headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """Status and body of Graph for a problem: what is not as documented is a bad request there."""
    shown = HTTPStatus.BAD_REQUEST if status == HTTPStatus.UNPROCESSABLE_ENTITY else HTTPStatus(status)
    code = _CODES.get(shown, shown.phrase.replace(" ", ""))
    places = [(_place(each["at"]), each["message"]) for each in problem.get("errors", ())][:MOST_DETAILS]
    message = "; ".join(f"{place}: {text}" for place, text in places) or problem.get("detail", shown.phrase)
    error: dict[str, Any] = {"code": code, "message": message}
    if places:
        error["details"] = [{"code": code, "message": text, "target": place} for place, text in places]
    error["innerError"] = {
        "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}",
        "request-id": headers["request-id"],
        "client-request-id": headers["client-request-id"],
    }
    return int(shown), {"error": error}


def _place(at: str) -> str:
    """`query.$top` as `$top`."""
    return at.partition(".")[2] or at


def _headers(scope: Scope) -> dict[str, str]:
    """The request's number, which is its trace id, and the one that the client gave it."""
    trace_id = scope.get("state", {}).get("trace_id", "")
    request_id = scope.setdefault("graph.request_id", str(uuid.uuid4()))
    if re.fullmatch("[0-9a-f]{32}", trace_id):
        request_id = str(uuid.UUID(hex=trace_id))
    sent = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"client-request-id"), "")
    return {
        "request-id": request_id,
        "client-request-id": sent if _CLIENT_ID.fullmatch(sent) else request_id,
        "odata-version": "4.0",
    }


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def _is_problem(start: Message) -> bool:
    kinds = [value for name, value in start["headers"] if name.lower() == b"content-type"]
    return bool(start["status"] >= HTTPStatus.BAD_REQUEST and kinds == [MEDIA_TYPE.encode()])
