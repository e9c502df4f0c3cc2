"""What every request passes before and after its route: trace, size limit, login, limits, ETag, headers, metrics, log.

Only the paths in `OPEN` are served without a key or token: a route cannot forget to ask for one, and an unknown path
tells nothing to those who have none.
"""

import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from fastapi import FastAPI, Request
from opentelemetry import context
from plumbline_contracts import tracing
from prometheus_client import Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from plumbline_score_api.access import Session
from plumbline_score_api.headers import SECURITY
from plumbline_score_api.keys.schemas import Caller
from plumbline_score_api.limits import Limits
from plumbline_score_api.problems import ProblemError, TooLargeError, TooManyError, UnauthorizedError, answer

log = structlog.get_logger(__name__)

OPEN = frozenset({"/healthz", "/readyz"})
LARGEST_BODY_BYTES = 64 * 1024
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
REQUESTS = Counter("plumbline_score_api_requests_total", "Requests by route and status", ["route", "status"])
LATENCY = Histogram(
    "plumbline_score_api_request_seconds",
    "Time to answer; of what is sent as it arises, to its beginning",
    ["route"],
    buckets=SECONDS,
)
RUNNING = Gauge("plumbline_score_api_requests_running", "Requests that are being answered now")
FAILED_LOGINS = Counter("plumbline_score_api_failed_logins_total", "Requests whose key or token was not valid")
LIMITED = Counter(
    "plumbline_score_api_rate_limited_total",
    "Requests refused because an address failed to log in too often, or a caller asked too much",
    ["limit"],
)

Authenticate = Callable[[str], Awaitable[Caller | None]]
"""The caller behind a key or token, None when it is not valid. Raises UnavailableError."""


Admit = Callable[[Request], Awaitable[Caller]]
Headers = list[tuple[bytes, bytes]]

_SECURITY: Headers = [(name.lower().encode(), value.encode()) for name, value in SECURITY.items()]
_OURS = frozenset(name for name, _ in _SECURITY)


def install(
    app: FastAPI, authenticate: Authenticate, limits: Limits, access_log: FilteringBoundLogger | None = None
) -> None:
    """Guard every route of the application, and tell `access_log` of every request."""
    app.add_middleware(Guard, admit=_admission(authenticate, limits), access_log=access_log)


class Guard:
    """The ASGI application around the application."""

    def __init__(self, app: ASGIApp, admit: Admit, access_log: FilteringBoundLogger | None) -> None:
        self._app, self._admit, self._access_log = app, admit, access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        token = context.attach(tracing.received(_carrier(request)))
        request.state.trace_id = tracing.trace_id()
        sent = _Answer(request, send)
        try:
            with RUNNING.track_inprogress():
                await self._respond(request, receive, sent)
        finally:
            self._tell(request, sent)
            context.detach(token)

    async def _respond(self, request: Request, receive: Receive, sent: "_Answer") -> None:
        try:
            _refuse_large(request)
            if request.scope["path"] not in OPEN:
                request.state.caller = await self._admit(request)
        except ProblemError as error:
            await answer(error)(request.scope, receive, sent.plain)
            return
        method = request.method
        if method not in ("GET", "HEAD"):
            await self._app(request.scope, receive, sent.plain)
            return
        request.scope["method"] = "GET"
        try:
            await self._app(request.scope, receive, sent.conditional)
        except _NoBodyWantedError:
            pass
        finally:
            request.scope["method"] = method
        await sent.finish()

    def _tell(self, request: Request, sent: "_Answer") -> None:
        seconds = sent.seconds
        route = getattr(request.scope.get("route"), "path_format", "unmatched")
        REQUESTS.labels(route, sent.status).inc()
        LATENCY.labels(route).observe(seconds)
        if self._access_log is not None and request.scope["path"] not in OPEN:
            who: Caller | None = getattr(request.state, "caller", None)
            named = {"tenant": who.tenant, "caller": who.identity} if who is not None else {}
            self._access_log.info(
                "request", method=request.method, route=route, status=sent.status, ms=round(seconds * 1000, 1), **named
            )


class _NoBodyWantedError(Exception):
    """HEAD of an answer that is sent as it arises: its head is sent, and the rest is not made."""


class _Answer:
    """What goes out. `plain` sends what it gets; `conditional` holds a whole answer back until `finish`.

    What a route streams (`access.streamed`) passes as it comes, without an ETag.
    """

    def __init__(self, request: Request, send: Send) -> None:
        self._request, self._send, self._method = request, send, request.method
        self._began, self._answered = time.perf_counter(), 0.0
        self._head: Message | None = None
        self._body: list[bytes] = []
        self.status = 500

    @property
    def seconds(self) -> float:
        """Until the answer began, if it did."""
        return (self._answered or time.perf_counter()) - self._began

    async def plain(self, message: Message) -> None:
        """Send a message, with our headers."""
        if message["type"] == "http.response.start":
            self._answered, self.status = time.perf_counter(), message["status"]
            message = {**message, "headers": _with_ours(message.get("headers", ()))}
        await self._send(message)

    async def conditional(self, message: Message) -> None:
        """Take a message of an answer to GET or HEAD. Raises _NoBodyWantedError."""
        if getattr(self._request.state, "is_streamed", False):
            await self._stream(message)
        elif message["type"] == "http.response.start":
            self._head = message
        else:
            self._body.append(message.get("body", b""))

    async def _stream(self, message: Message) -> None:
        if self._method == "GET":
            await self.plain(message)
            return
        self._request.scope["method"] = self._method
        await self.plain(message)
        await self._send({"type": "http.response.body", "body": b""})
        raise _NoBodyWantedError

    async def finish(self) -> None:
        """Send the answer that was held back: a good one with its or an ETag, or 304 when the caller has it."""
        if self._head is None:
            return
        head, body = self._head, b"".join(self._body)
        if head["status"] == 200 and self._request.scope["path"] not in OPEN:
            tag = _tag(head["headers"], body)
            caching = [(b"etag", tag.encode("latin-1")), (b"cache-control", b"private, no-cache")]
            if tag in _known(self._request):
                head, body = {**head, "status": 304, "headers": caching}, b""
            else:
                head = {**head, "headers": [*_without(head["headers"], b"etag", b"cache-control"), *caching]}
        await self.plain(head)
        await self._send({"type": "http.response.body", "body": body})


def _tag(headers: Headers, body: bytes) -> str:
    stated = next((value.decode("latin-1") for name, value in headers if name == b"etag"), None)
    return stated or f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _known(request: Request) -> list[str]:
    sent = request.headers.get("if-none-match")
    return [known.strip().removeprefix("W/") for known in sent.split(",")] if sent else []


def _without(headers: Headers, *names: bytes) -> Headers:
    return [header for header in headers if header[0] not in names]


def _with_ours(headers: Any) -> Headers:  # noqa: ANN401 - any iterable of pairs
    """The headers with those of every answer."""
    found = [*(header for header in headers if header[0] not in _OURS), *_SECURITY]
    if not any(name == b"cache-control" for name, _ in found):
        found.append((b"cache-control", b"no-store"))
    if (trace := tracing.traceparent()) is not None:
        found.append((b"traceresponse", trace.encode()))
    return found


def _carrier(request: Request) -> dict[str, str]:
    """The caller's trace context."""
    return {name: request.headers[name] for name in ("traceparent", "tracestate") if name in request.headers}


def _refuse_large(request: Request) -> None:
    length = request.headers.get("content-length", "0")
    is_chunked = "chunked" in request.headers.get("transfer-encoding", "")
    if is_chunked or not length.isdecimal() or int(length) > LARGEST_BODY_BYTES:
        raise TooLargeError(f"Send at most {LARGEST_BODY_BYTES} bytes, with a Content-Length.")


def _admission(authenticate: Authenticate, limits: Limits) -> Admit:
    async def admit(request: Request) -> Caller:
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        credentials = sent.strip()
        if scheme.lower() != "bearer" or not credentials:
            raise UnauthorizedError("Send a key or token as `Authorization: Bearer <key>`.")
        address = request.client.host if request.client else ""
        if wait := limits.of_login(address, credentials, time.monotonic()):
            LIMITED.labels("logins").inc()
            raise TooManyError("Too many logins from this address failed.", wait)
        found = await authenticate(credentials)
        now = time.monotonic()
        if found is None:
            FAILED_LOGINS.inc()
            limits.failed(address, now)
            raise UnauthorizedError("The key or token is not valid.")
        limits.succeeded(credentials, now)
        request.state.session = Session(found, credentials, authenticate)
        if wait := limits.of_request(f"{found.tenant} {found.identity}", now):
            LIMITED.labels("requests").inc()
            raise TooManyError("This caller asks too much.", wait)
        return found

    return admit
