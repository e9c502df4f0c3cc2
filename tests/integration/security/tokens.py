"""A token endpoint over https that gives access tokens for client credentials."""

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus

from tests.certificates import Authority

Sign = Callable[[str, int, int], str]


class TokenServer:
    """`secrets` is client id to secret; `answer` replaces what it says, as (status, body)."""

    def __init__(
        self, authority: Authority, secrets: Mapping[str, str], sign: Sign, lifetime_seconds: int = 300
    ) -> None:
        self._secrets, self._sign, self.lifetime_seconds = secrets, sign, lifetime_seconds
        self.answer: tuple[int, bytes] | None = None
        self.forms: list[dict[str, list[str]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.issue("tokens"))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}/token"

    @contextmanager
    def running(self) -> Iterator["TokenServer"]:
        """Answer meanwhile."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                server.forms.append(form)
                status, body = server.answer or server.judge(self.headers["Authorization"], form)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        return Handler

    def judge(self, authorization: str, form: dict[str, list[str]]) -> tuple[int, bytes]:
        """A token for who knows the secret."""
        login = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        client, secret = map(unquote_plus, login.split(":"))
        if form.get("grant_type") != ["client_credentials"] or self._secrets.get(client) != secret:
            return 401, b'{"error": "invalid_client", "error_description": "what was sent"}'
        now = int(time.time())
        token = self._sign(client, now, now + self.lifetime_seconds)
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime_seconds}
        return 200, json.dumps(answer).encode()
