"""Faults that a test or a person switches on: how the real products fail, on demand."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTROL_PLANE = "/__simulator"
KINDS = (
    "429", "429_bare", "503_html", "503_json", "request_limit", "expired_token", "broken_json", "hibernation",
    "login_page", "truncated_result", "short_pages", "slow", "drop", "redirect", "endless_page", "foreign_next",
    "huge_body", "done_without_next",
)  # fmt: skip

NEEDS_TOKEN = ("expired_token", "short_pages", "truncated_result", "endless_page", "foreign_next", "done_without_next")

_HIBERNATION = (
    "<html><head><title>Instance Hibernating page</title></head><body class='instance-hibernating-page'>"
    "<h1>This instance is asleep</h1></body></html>"
)
_LOGIN = "<html><head><title>Log in</title></head><body><form action='login.do'></form></body></html>"
_UNAVAILABLE = "<html><body><h1>Down for maintenance</h1></body></html>"


@dataclass
class Fault:
    """One kind of failure, for requests whose path and query contain `match`, `times` times (-1: always)."""

    kind: str
    match: str = ""
    times: int = -1
    seconds: float = 5.0
    retry_after: int = 1

    def takes(self, target: str, *, is_token_request: bool) -> bool:
        """Whether this request fails; counts down. A token can only be expired for a request that carries one."""
        if self.times == 0 or self.match not in target or (is_token_request and self.kind in NEEDS_TOKEN):
            return False
        self.times -= self.times > 0
        return True


@dataclass
class FaultBox:
    """The faults that are on now."""

    faults: list[Fault] = field(default_factory=list)

    def next_for(self, target: str, *, is_token_request: bool) -> Fault | None:
        """The first fault that takes this request."""
        return next((f for f in self.faults if f.takes(target, is_token_request=is_token_request)), None)


def _answer(fault: Fault) -> Response | None:
    """The whole answer of a fault that needs no real one; None when it changes the real answer."""
    limit = {
        "error": {"message": "Rate limit exceeded", "detail": "Too many requests for this API"},
        "status": "failure",
    }
    match fault.kind:
        case "429":
            return JSONResponse(limit, 429, headers=_rate_limit(fault.retry_after))
        case "429_bare":
            return Response(status_code=429)
        case "503_html":
            return HTMLResponse(_UNAVAILABLE, 503)
        case "503_json":
            return JSONResponse([{"message": "Server is unavailable", "errorCode": "SERVER_UNAVAILABLE"}], 503)
        case "request_limit":
            body = [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]
            return JSONResponse(body, 403)
        case "hibernation":
            return HTMLResponse(_HIBERNATION)
        case "login_page":
            return HTMLResponse(_LOGIN)
        case "redirect":
            return RedirectResponse("https://login.example.net/elsewhere", 302)
        case "huge_body":
            return StreamingResponse(_endless(), media_type="application/json")
    return None


def _rate_limit(retry_after: int) -> dict[str, str]:
    return {
        "Retry-After": str(retry_after),
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Reset": str(int(time.time()) + retry_after),
        "X-RateLimit-Rule": "0" * 32,
    }


async def _endless() -> Any:  # noqa: ANN401 - an async iterator of bytes
    yield b'{"records":['
    while True:
        yield b'{"padding":"' + b"x" * 65536 + b'"},'
        await asyncio.sleep(0)  # lets the server notice that the client has gone


class FaultLayer:
    """Wraps an application and makes it fail as the box says. The control plane never fails."""

    def __init__(self, app: ASGIApp, box: FaultBox) -> None:
        self._app = app
        self._box = box

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["path"].startswith(CONTROL_PLANE):
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        target = f"{request.url.path}?{request.url.query}"
        fault = self._box.next_for(target, is_token_request=request.method == "POST")
        if fault is None:
            await self._app(scope, receive, send)
            return
        if response := _answer(fault):
            await response(scope, receive, send)
            return
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        if fault.kind in ("broken_json", "drop"):
            send = _cut(send)
        scope["fault"] = fault.kind
        await self._app(scope, receive, send)


def _cut(send: Send) -> Send:
    """A sender that stops in the middle of the body while the length promises more or stays open."""

    async def cut(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [(k, v) for k, v in message["headers"] if k.lower() != b"content-length"]
        if message["type"] == "http.response.body":
            body = message.get("body", b"")
            message = {**message, "body": body[: len(body) // 2]}
        await send(message)

    return cut
