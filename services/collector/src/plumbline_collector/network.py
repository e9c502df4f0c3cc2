"""What a connection may send under the network rules: it reads, and asks for tokens. Nothing else leaves."""

import httpx
from plumbline_contracts import network

from plumbline_collector.errors import RefusedByRulesError


class ReadingTransport(network.CheckedTransport):
    """Sends GET, and POST to `token_path` alone. Raises the collector's RefusedByRulesError for all that is refused."""

    def __init__(self, *, token_path: str, allow_private: bool, allow_http: bool) -> None:
        super().__init__(allow_private=allow_private, allow_http=allow_http)
        self._token_path = token_path

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request that the rules allow."""
        method, url = request.method, request.url
        if method != "GET" and not (method == "POST" and url.path == self._token_path):
            raise RefusedByRulesError(f"{url.host}: {method} {url.path} could change something; it is not sent")
        try:
            return await super().handle_async_request(request)
        except network.RefusedByRulesError as error:
            raise RefusedByRulesError(str(error)) from error
