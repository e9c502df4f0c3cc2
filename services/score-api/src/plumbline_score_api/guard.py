"""What every request passes before and after its route: trace, size limit, login, limits, ETag, headers, metrics.

Only the paths in `OPEN` are served without a key or token: a route cannot forget to ask for one, and an unknown path
tells nothing to those who have none.
"""

import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

from fastapi import FastAPI, Request, Response
from opentelemetry import context, propagate, trace
from prometheus_client import Counter, Histogram
from starlette.middleware.base import RequestResponseEndpoint
from starlette.responses import StreamingResponse

from plumbline_score_api.headers import SECURITY
from plumbline_score_api.keys.schemas import Caller
from plumbline_score_api.limits import Limits
from plumbline_score_api.problems import ProblemError, TooLargeError, TooManyError, UnauthorizedError, answer

OPEN = frozenset({"/healthz", "/readyz"})
LARGEST_BODY_BYTES = 64 * 1024
REQUESTS = Counter("plumbline_score_api_requests_total", "Requests by route and status", ["route", "status"])
LATENCY = Histogram("plumbline_score_api_request_seconds", "Time to answer", ["route"])

Authenticate = Callable[[str], Awaitable[Caller | None]]
"""The caller behind a key or token, None when it is not valid. Raises UnavailableError."""


Admit = Callable[[Request], Awaitable[Caller]]


def install(app: FastAPI, authenticate: Authenticate, limits: Limits) -> None:
    """Guard every route of the application."""
    admit = _admission(authenticate, limits)

    async def guard(request: Request, call_next: RequestResponseEndpoint) -> Response:
        started, status = time.perf_counter(), 500
        token = context.attach(propagate.extract(_carrier(request)))
        request.state.trace_id = f"{trace.get_current_span().get_span_context().trace_id:032x}"
        try:
            response = await _respond(request, call_next, admit)
            status = response.status_code
        finally:
            context.detach(token)
            _measure(request, status, started)
        return _with_headers(response)

    app.middleware("http")(guard)


def _carrier(request: Request) -> dict[str, str]:
    """The caller's trace context; a new trace where it sends none that can be read."""
    sent = {name: request.headers[name] for name in ("traceparent", "tracestate") if name in request.headers}
    is_valid = trace.get_current_span(propagate.extract(sent)).get_span_context().is_valid
    return sent if is_valid else {"traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"}


async def _respond(request: Request, call_next: RequestResponseEndpoint, admit: Admit) -> Response:
    try:
        _refuse_large(request)
        if request.url.path not in OPEN:
            request.state.caller = await admit(request)
    except ProblemError as error:
        return answer(error)
    return await _conditional(request, call_next)


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
            raise TooManyError("Too many logins from this address failed.", wait)
        found = await authenticate(credentials)
        now = time.monotonic()
        if found is None:
            limits.failed(address, now)
            raise UnauthorizedError("The key or token is not valid.")
        limits.succeeded(credentials, now)
        if wait := limits.of_request(f"{found.tenant} {found.identity}", now):
            raise TooManyError("This caller asks too much.", wait)
        return found

    return admit


async def _conditional(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Answer HEAD as GET without the body, and a good GET with its or an ETag, or 304 when the caller has it.

    What a route streams (`access.streamed`) passes as it comes, without an ETag.
    """
    method = request.method
    if method not in ("GET", "HEAD"):
        return await call_next(request)
    request.scope["method"] = "GET"
    streamed = await call_next(request)
    request.scope["method"] = method
    if getattr(request.state, "is_streamed", False):
        return streamed if method == "GET" else Response(None, streamed.status_code, dict(streamed.headers))
    chunks = cast("AsyncIterator[bytes]", cast("StreamingResponse", streamed).body_iterator)
    body = b"".join([chunk async for chunk in chunks])
    response = Response(body, streamed.status_code, dict(streamed.headers))
    if response.status_code != 200 or request.url.path in OPEN:
        return response
    tag = response.headers.get("ETag") or f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    if tag in [known.strip().removeprefix("W/") for known in request.headers.get("if-none-match", "").split(",")]:
        response = Response(status_code=304)
    response.headers["ETag"], response.headers["Cache-Control"] = tag, "private, no-cache"
    return response


def _measure(request: Request, status: int, started: float) -> None:
    route = getattr(request.scope.get("route"), "path", "unmatched")
    REQUESTS.labels(route, status).inc()
    LATENCY.labels(route).observe(time.perf_counter() - started)


def _with_headers(response: Response) -> Response:
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.update(SECURITY)
    return response
