"""An ASGI application asked without a socket, from tests that are not asynchronous."""

import asyncio

import httpx
from starlette.types import ASGIApp


class InProcess(httpx.BaseTransport):
    """Hands every request to the application and waits for the whole answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._transport = httpx.ASGITransport(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.BaseTransport`."""
        return asyncio.run(self._answer(request))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = await self._transport.handle_async_request(request)
        body = b"".join([part async for part in answer.aiter_raw()])
        return httpx.Response(answer.status_code, headers=answer.headers, content=body)


def client(app: ASGIApp, base_url: str = "https://acme.my.salesforce.com") -> httpx.Client:
    """A client of the application that follows no redirect."""
    return httpx.Client(transport=InProcess(app), base_url=base_url)
