"""How much an instance answers: rate limit rules, counted per hour, and the semaphores of a node."""

import time
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from plumbline_simulators.faults import CONTROL_PLANE
from plumbline_simulators.servicenow import answers
from plumbline_simulators.servicenow.instance import Instance

_HOUR = 3600


class RateLimit:
    """The limit that an active rate limit rule sets. Without one nothing is counted and no header is sent."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._hour, self._count = 0, 0

    def headers(self) -> dict[str, str]:
        """What every answer says of the limit. How much of it is left is not told."""
        rules = self._instance.records.tables["sys_rate_limit_rules"].values()
        rule = next((row for row in rules if row["active"] == "true"), None)
        if rule is None:
            return {}
        return {
            "X-RateLimit-Limit": str(self._instance.behaviour.requests_per_hour),
            "X-RateLimit-Reset": str((int(time.time()) // _HOUR + 1) * _HOUR),
            "X-RateLimit-Rule": rule["sys_id"],
        }

    def refusal(self) -> Response | None:
        """Count a request; 429 when it is one too many in its hour."""
        headers, now = self.headers(), int(time.time())
        if not headers:
            return None
        if now // _HOUR != self._hour:
            self._hour, self._count = now // _HOUR, 0
        self._count += 1
        limit = self._instance.behaviour.requests_per_hour
        if self._count <= limit:
            return None
        detail = f"Rate limit of {limit} requests per hour for Table API exceeded"
        answer = answers.error(429, "Rate limit exceeded", detail)
        answer.headers["Retry-After"] = str(int(headers["X-RateLimit-Reset"]) - now)
        return answer


class Semaphores:
    """Wraps an application; refuses a request without a word when as many as `allowed` says run already."""

    def __init__(self, app: ASGIApp, allowed: Callable[[], int | None]) -> None:
        self._app, self._allowed = app, allowed
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["path"].startswith(CONTROL_PLANE):
            await self._app(scope, receive, send)
            return
        allowed = self._allowed()
        if allowed is not None and self._running >= allowed:
            await answers.page(429, "Too Many Requests")(scope, receive, send)
            return
        self._running += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running -= 1
