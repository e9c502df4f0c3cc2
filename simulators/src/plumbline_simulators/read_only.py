"""What a posture service may send: GET, and the POST that asks for a token. All else is refused and counted."""

from collections import Counter
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from plumbline_simulators.faults import CONTROL_PLANE

REFUSED = "refused"


class ReadOnlyLayer:
    """Wraps an application and lets nothing through that could change the org, whatever its path and faults.

    A refused request is counted as `METHOD refused` among the requests of the control plane.
    """

    def __init__(self, app: ASGIApp, token_path: str, requests: Counter[str], refusal: Callable[[], Response]) -> None:
        self._app, self._token_path = app, token_path
        self._requests, self._refusal = requests, refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["path"].startswith(CONTROL_PLANE) or self._is_allowed(scope):
            await self._app(scope, receive, send)
            return
        self._requests[f"{scope['method']} {REFUSED}"] += 1
        await self._refusal()(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        asks_for_token = scope["path"] == self._token_path
        return bool(scope["method"] == ("POST" if asks_for_token else "GET"))
