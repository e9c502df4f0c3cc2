"""Receivers over HTTP, as SIEMs have them: what they answered with success, in the order of arrival."""

import gzip
import json
import threading
from collections.abc import Iterator
from enum import StrEnum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Mood(StrEnum):
    """How a receiver answers."""

    WELL = "well"
    BUSY = "busy"
    """503 to everything."""
    AWAY = "away"
    """No answer: the connection ends."""


class Receiver:
    """Listens on loopback. What it takes while it is not WELL is counted and forgotten."""

    def __init__(self) -> None:
        self.mood = Mood.WELL
        self.turned_away = 0
        self._bodies: list[bytes] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._answer(HTTPStatus.OK, {})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                self._answer(HTTPStatus.OK, receiver.take(body) if receiver.mood is Mood.WELL else {})

            def _answer(self, status: HTTPStatus, content: Any) -> None:
                if receiver.mood is not Mood.WELL:
                    receiver.turned_away += 1
                    status = HTTPStatus.SERVICE_UNAVAILABLE
                if receiver.mood is Mood.AWAY:
                    self.close_connection = True
                    return
                told = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def log_message(self, *_: object) -> None:
                """Nothing is logged."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, body: bytes) -> Any:
        """Keep a body; the answer."""
        self._bodies.append(body)
        return self.answer(body)

    def answer(self, body: bytes) -> Any:
        """The body of a success."""
        raise NotImplementedError

    def bodies(self) -> list[bytes]:
        """The bodies that were taken."""
        return list(self._bodies)


class EventCollector(Receiver):
    """Splunk's HTTP Event Collector: JSON objects, one after the other."""

    def answer(self, body: bytes) -> Any:
        return {"text": "Success", "code": 0}

    def events(self) -> list[dict[str, Any]]:
        """The objects that arrived: `event`, `time` in seconds, `index`, `sourcetype`, …"""
        return [event for body in self.bodies() for event in _objects(body.decode())]


def _objects(text: str) -> Iterator[dict[str, Any]]:
    decoder, place = json.JSONDecoder(), 0
    while place < len(text):
        found, place = decoder.raw_decode(text, place)
        yield found
        while place < len(text) and text[place].isspace():
            place += 1


class Index(Receiver):
    """The bulk API of Elasticsearch and OpenSearch. An id that it has already is a conflict, as it is there."""

    def __init__(self) -> None:
        self._documents: dict[str, bytes] = {}
        self.conflicts = 0
        super().__init__()

    def answer(self, body: bytes) -> Any:
        lines = body.split(b"\n")
        pairs = zip(lines[0:-1:2], lines[1:-1:2], strict=True)
        items = [self._create(json.loads(action)["create"], document) for action, document in pairs]
        return {"took": 1, "errors": any(item["create"]["status"] >= 400 for item in items), "items": items}

    def documents(self) -> list[bytes]:
        """What the index holds, as it came."""
        return list(self._documents.values())

    def ids(self) -> list[str]:
        """The ids of what the index holds."""
        return list(self._documents)

    def _create(self, action: dict[str, str], document: bytes) -> dict[str, Any]:
        status = HTTPStatus.CREATED
        if action["_id"] in self._documents:
            self.conflicts += 1
            status = HTTPStatus.CONFLICT
        self._documents.setdefault(action["_id"], document)
        return {"create": {"_index": action["_index"], "_id": action["_id"], "status": status}}
