"""An issuer of tokens over HTTP on loopback, whose documents a test may change."""

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.unit.score_api.signers import claims, private_key, public_jwk, token

Answer = tuple[int, dict[str, str], bytes]


class IssuerServer:
    """An issuer with one RSA key. `answers` replaces what it says at a path; `asked` are the paths asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, Answer] = {}
        self.gate = threading.Event()
        self.gate.set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                outer.gate.wait(30)
                status, headers, body = outer.answers.get(self.path) or outer.good(self.path)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # the other side may have left
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nobody reads it."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/realms/main"
        self.keys = [public_jwk(private_key("RS2048"), "k1")]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def discovery(self) -> str:
        """The path of its description."""
        return "/realms/main/.well-known/openid-configuration"

    def good(self, path: str) -> Answer:
        """What an honest issuer says."""
        if path == self.discovery:
            return said({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})
        return said({"keys": self.keys}) if path == "/realms/main/keys" else (404, {}, b"")

    def token(self, **changes: Any) -> str:
        """A good token, or one with changed claims."""
        return token(claims(iss=self.url, **changes))

    def entry(self, **changes: Any) -> dict[str, Any]:
        """Its entry in an issuers file."""
        allowed = {"allow_http": True, "allow_private_network": True}
        return {"issuer": self.url, "audience": "plumbline", "tenant": "contoso", **allowed, **changes}

    def start(self) -> None:
        """Answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no longer."""
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def said(document: Any, **headers: str) -> Answer:
    """A document as JSON."""
    return 200, {"Content-Type": "application/json", **headers}, json.dumps(document).encode()


@contextmanager
def issuer_server() -> Iterator[IssuerServer]:
    """An issuer that answers."""
    server = IssuerServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()
