"""Faults that a test or a person switches on: how the real products fail, on demand."""

import asyncio
import json
import time
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import parse_qs

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTROL_PLANE = "/__simulator"
Phase = Literal["any", "token", "first", "middle", "last"]
PHASES: tuple[Phase, ...] = get_args(Phase)

EFFECTS = {
    "429": "429 with Retry-After and X-RateLimit headers",
    "429_bare": "429 with neither body nor headers",
    "503_html": "503 with a maintenance page instead of JSON",
    "503_json": "503 with an error in JSON",
    "502": "502 with a page of the proxy in front of the product",
    "500_timeout": "500 QUERY_TIMEOUT (Salesforce)",
    "410": "410: the API version is retired (Salesforce)",
    "414": "414: the address of the request is too long",
    "420": "420: the edge finds no way to the org (Salesforce)",
    "request_limit": "403 REQUEST_LIMIT_EXCEEDED: the daily limit is used up",
    "concurrent_limit": "403 REQUEST_LIMIT_EXCEEDED: too many requests at once (Salesforce)",
    "expired_token": "401: every issued token has ended",
    "token_error": "the token request is refused with `code` and `description`",
    "broken_json": "the body ends in its middle",
    "drop": "the body ends in its middle, as a lost connection leaves it",
    "empty_body": "200 with no body",
    "wrong_content_type": "the right body under the wrong Content-Type",
    "hibernation": "200 with the page of a hibernating instance",
    "login_page": "200 with a login page",
    "redirect": "302 to another host",
    "redirect_token": "the token request is redirected to another host, to be sent there again with all it holds",
    "private_redirect": "302 to a link-local address",
    "truncated_result": "half of the rows and an error, as a cancelled transaction leaves them (ServiceNow)",
    "short_pages": "pages have fewer rows than asked for",
    "endless_page": "every page leads on to a page that was read already",
    "foreign_next": "the link to the next page leads to another host",
    "done_without_next": "a page is not the last and leads nowhere (Salesforce)",
    "expired_locator": "the cursor of the next page has ended (Salesforce)",
    "duplicate_rows": "a page repeats a row that was shown already",
    "lost_rows": "a row is missing from a page, and the total still counts it",
    "changed_order": "the order changes between two pages: one row is shown twice, another not at all",
    "wrong_total": "the total that is told is not the number of rows",
    "slow": "the answer waits for `seconds`",
    "slow_drip": "a byte every `seconds` (at most one second), for ever",
    "huge_body": "a body without end",
    "huge_header": "a header of a million characters",
    "gzip_bomb": "a packed body that unpacks to a thousand times its size, and to a gigabyte in all",
}
"""Every kind of fault and what it does. One that makes no sense for a product is ignored there."""
KINDS = tuple(EFFECTS)

NEEDS_TOKEN = frozenset(
    {
        "expired_token", "short_pages", "truncated_result", "endless_page", "foreign_next", "done_without_next",
        "expired_locator", "duplicate_rows", "lost_rows", "changed_order", "wrong_total",
    }
)  # fmt: skip
OF_TOKENS = frozenset({"token_error", "redirect_token"})
SALESFORCE_ONLY = frozenset({"410", "420", "500_timeout", "concurrent_limit", "expired_locator", "done_without_next"})
SERVICENOW_ONLY = frozenset({"truncated_result"})

_HIBERNATION = (
    "<html><head><title>Instance Hibernating page</title></head><body class='instance-hibernating-page'>"
    "<h1>This instance is asleep</h1></body></html>"
)
_LOGIN = "<html><head><title>Log in</title></head><body><form action='login.do'></form></body></html>"
_UNAVAILABLE = "<html><body><h1>Down for maintenance</h1></body></html>"
_HEADER_LENGTH = 1_000_000
_BOMB_BYTES = 1024**3
_BOMB_STEP = 4 * 1024**2


@dataclass
class Fault:
    """One kind of failure, for requests whose path and query contain `match`, `times` times (-1: always).

    `phase` is the request that fails: for a token, or for the first, a middle or the last page of a read of several
    pages; a read of one page is a first one. Raises ValueError for an unknown phase.
    """

    kind: str
    match: str = ""
    times: int = -1
    seconds: float = 5.0
    retry_after: int = 1
    phase: Phase = "any"
    code: str = "invalid_grant"
    description: str = "authentication failure"

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise ValueError(f"phase is one of {', '.join(PHASES)}, not {self.phase!r}")

    def may_take(self, target: str, *, is_token_request: bool) -> bool:
        """Whether this request may fail, as far as it can be told before it is answered."""
        if self.times == 0 or self.match not in target:
            return False
        if self.kind in (SERVICENOW_ONLY if target.startswith("/services/") else SALESFORCE_ONLY):
            return False
        if is_token_request:
            return self.phase in ("any", "token") and self.kind not in NEEDS_TOKEN
        if self.phase == "token" or self.kind in OF_TOKENS:
            return False
        follows = is_following(target)
        if self.kind == "expired_locator" and not follows:
            return False
        return self.phase == "any" or (self.phase == "first") is not follows

    @property
    def depends_on_answer(self) -> bool:
        """Whether only the answer tells if the request is of the phase."""
        return self.phase in ("middle", "last")

    def count(self) -> None:
        """One failure less to come."""
        self.times -= self.times > 0


@dataclass
class FaultBox:
    """The faults that are on now."""

    faults: list[Fault] = field(default_factory=list)

    def for_request(self, target: str, *, is_token_request: bool) -> list[Fault]:
        """The faults that may take this request, in their order."""
        return [fault for fault in self.faults if fault.may_take(target, is_token_request=is_token_request)]


def is_following(target: str) -> bool:
    """Whether a request is for a page after the first: a cursor, an offset, or rows after a key."""
    path, _, query = target.partition("?")
    if "/query/" in path:
        return not path.endswith("/query/")
    asked = parse_qs(query)
    return asked.get("sysparm_offset", ["0"])[0] not in ("", "0") or "sys_id>" in asked.get("sysparm_query", [""])[0]


def is_last(target: str, body: bytes) -> bool:
    """Whether an answer is the last page of its read: `done`, or fewer rows than were asked for."""
    try:
        answer = json.loads(body)
    except ValueError:
        return True
    if not isinstance(answer, dict) or not isinstance(answer.get("result", []), list):
        return True
    if "result" not in answer:
        return bool(answer.get("done", True))
    limit = parse_qs(target.partition("?")[2]).get("sysparm_limit", ["10000"])[0]
    return not limit.isdigit() or len(answer["result"]) < int(limit)


def _answer(fault: Fault, *, is_salesforce: bool) -> Response | None:
    """The whole answer of a fault that needs no real one; None when it changes the real answer."""
    if fault.kind == "token_error":
        return _token_error(fault, is_salesforce=is_salesforce)
    return _refusal(fault) or _page(fault.kind) or _stream(fault)


def _refusal(fault: Fault) -> Response | None:
    match fault.kind:
        case "429":
            error = {"message": "Rate limit exceeded", "detail": "Too many requests for this API"}
            body = {"error": error, "status": "failure"}
            return JSONResponse(body, 429, headers=_rate_limit(fault.retry_after))
        case "429_bare":
            return Response(status_code=429)
        case "503_json":
            return _list(503, "SERVER_UNAVAILABLE", "Server is unavailable")
        case "500_timeout":
            return _list(500, "QUERY_TIMEOUT", "Your query request was running for too long.")
        case "410":
            return _list(410, "UNSUPPORTED_API_VERSION", "The API version of this request is retired")
        case "request_limit":
            return _list(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        case "concurrent_limit":
            message = "ConcurrentRequests (Concurrent API Requests) Limit exceeded."
            return _list(403, "REQUEST_LIMIT_EXCEEDED", message)
        case "expired_locator":
            return _list(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
    return None


def _page(kind: str) -> Response | None:
    match kind:
        case "503_html":
            return HTMLResponse(_UNAVAILABLE, 503)
        case "502":
            return HTMLResponse("<html><body><h1>502 Bad Gateway</h1></body></html>", 502)
        case "414":
            return HTMLResponse("<html><body><h1>414 URI Too Long</h1></body></html>", 414)
        case "420":
            return HTMLResponse("<html><body><h1>No route to the org</h1></body></html>", 420)
        case "hibernation":
            return HTMLResponse(_HIBERNATION)
        case "login_page":
            return HTMLResponse(_LOGIN)
        case "redirect":
            return RedirectResponse("https://login.example.net/elsewhere", 302)
        case "redirect_token":
            return RedirectResponse("https://login.example.net/elsewhere", 307)
        case "private_redirect":
            return RedirectResponse("http://169.254.169.254/latest/meta-data/", 302)
    return None


def _stream(fault: Fault) -> Response | None:
    match fault.kind:
        case "empty_body":
            return Response(media_type="application/json")
        case "huge_header":
            return JSONResponse({}, headers={"X-Padding": "x" * _HEADER_LENGTH})
        case "huge_body":
            return StreamingResponse(_endless(), media_type="application/json")
        case "slow_drip":
            return StreamingResponse(_drops(min(fault.seconds, 1.0)), media_type="application/json")
        case "gzip_bomb":
            packed = {"Content-Encoding": "gzip"}
            return StreamingResponse(_bomb(), media_type="application/json", headers=packed)
    return None


def _list(status: int, code: str, message: str) -> Response:
    return JSONResponse([{"message": message, "errorCode": code}], status)


def _token_error(fault: Fault, *, is_salesforce: bool) -> Response:
    if fault.code == "REQUEST_LIMIT_EXCEEDED":
        return _list(403, fault.code, fault.description)
    body = {"error": fault.code, "error_description": fault.description}
    return JSONResponse(body, 400 if is_salesforce else 401)


def _rate_limit(retry_after: int) -> dict[str, str]:
    return {
        "Retry-After": str(retry_after),
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Reset": str(int(time.time()) + retry_after),
        "X-RateLimit-Rule": "0" * 32,
    }


async def _endless() -> AsyncIterator[bytes]:
    yield b'{"records":['
    while True:
        yield b'{"padding":"' + b"x" * 65536 + b'"},'
        await asyncio.sleep(0)  # lets the server notice that the client has gone


async def _drops(seconds: float) -> AsyncIterator[bytes]:
    yield b"{"
    while True:
        await asyncio.sleep(seconds)
        yield b" "


async def _bomb() -> AsyncIterator[bytes]:
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    yield packer.compress(b'{"records":[')
    for _ in range(_BOMB_BYTES // _BOMB_STEP):
        yield packer.compress(b" " * _BOMB_STEP)
        await asyncio.sleep(0)  # lets the server notice that the client has gone
    yield packer.compress(b"]}") + packer.flush()


class FaultLayer:
    """Wraps an application and makes it fail as the box says. The control plane never fails.

    A fault that changes a real answer is told to the application in `scope["fault"]`. Where only the answer tells
    which page a request is for, the application is asked once before, with `scope["is_probe"]` true.
    """

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
        fault = await self._fault(scope, target, is_token_request=request.method == "POST")
        if fault is None:
            await self._app(scope, receive, send)
            return
        fault.count()
        if response := _answer(fault, is_salesforce=target.startswith("/services/")):
            await response(scope, receive, send)
            return
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        scope["fault"] = fault.kind
        await self._app(scope, receive, _spoiling(fault.kind, send))

    async def _fault(self, scope: Scope, target: str, *, is_token_request: bool) -> Fault | None:
        """The first fault that takes this request."""
        page: Phase | None = None
        for fault in self._box.for_request(target, is_token_request=is_token_request):
            if not fault.depends_on_answer:
                return fault
            page = page or ("last" if is_last(target, await self._probed(scope)) else "middle")
            if fault.phase == page:
                return fault
        return None

    async def _probed(self, scope: Scope) -> bytes:
        """The body that the application would answer with."""
        body = bytearray()

        async def nothing() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def keep(message: Message) -> None:
            body.extend(message.get("body", b""))

        await self._app({**scope, "is_probe": True}, nothing, keep)
        return bytes(body)


def _spoiling(kind: str, send: Send) -> Send:
    """A sender that spoils what passes through it, for the kinds that do so."""
    if kind in ("broken_json", "drop"):
        return _cut(send)
    return _mislabelled(send) if kind == "wrong_content_type" else send


def _mislabelled(send: Send) -> Send:
    async def mislabelled(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(raw=message["headers"])["content-type"] = "text/plain; charset=iso-8859-1"
        await send(message)

    return mislabelled


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
