"""The port that every service shows to the platform: /healthz, /readyz, /metrics. One contract for all probes."""

import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import make_wsgi_app


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the signature of the base class
        """Probes are not worth a log line each."""


def serve_health(
    host: str,
    port: int,
    *,
    is_live: Callable[[], bool],
    is_ready: Callable[[], bool],
    status: Callable[[], str] = str,
) -> Callable[[], None]:
    """Serve the three paths from threads of their own; the function that stops it.

    `/healthz` answers 200 while the service's loop turns, `/readyz` while its dependencies are there, else 503. Below
    that stand the lines of `status`.
    Raises OSError when the port is taken.
    """
    metrics = make_wsgi_app()
    probes = {"/healthz": is_live, "/readyz": is_ready}

    def application(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            shown: Iterable[bytes] = metrics(environ, start)
            return shown
        if path not in probes:
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [b"not found\n"]
        is_good = probes[path]()
        kind = [("Content-Type", "text/plain; charset=utf-8")]
        start("200 OK" if is_good else "503 Service Unavailable", kind)
        return [b"ok\n" if is_good else b"not ok\n", status().encode()]

    server = make_server(host, port, application, server_class=_Server, handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()

    def stop() -> None:
        server.shutdown()
        server.server_close()

    return stop
