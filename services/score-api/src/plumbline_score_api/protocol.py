"""HTTP/1.1 for clients that may be slow or many: what uvicorn's own protocol leaves unbounded."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import h11
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from plumbline_score_api.graph.errors import GraphErrors
from plumbline_score_api.headers import SECURITY
from plumbline_score_api.problems import problem

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

_LAST = {**SECURITY, "Connection": "close", "Cache-Control": "no-store"}
"""Headers of an answer that the application does not give, and after which the connection ends."""

SLOWEST_BYTES_PER_SECOND = 1024
_UNFINISHED = (h11.IDLE, h11.SEND_BODY)


class BoundedProtocol(H11Protocol):
    """Closes a connection whose request, head and body, is not complete `request_seconds` after it may begin.

    While `requests_at_once` requests are being answered, further ones get a 503. Connections are not counted: those
    that send nothing end by themselves, and must not keep others out meanwhile. Nor are `streams`, answers without an
    end (`state.is_endless`), which have a budget of their own.

    A connection whose client takes less than `SLOWEST_BYTES_PER_SECOND` of its answer for `answer_seconds` is cut off:
    the answer's memory and its place are needed by others. So is at a shutdown the stream of whoever is slow, because
    it cannot be told to end.
    """

    request_seconds: float
    answer_seconds: float
    requests_at_once: int
    streams: Callable[[], int]
    _deadline: asyncio.TimerHandle | None = None
    _cut: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that whatever a client does not take is told of
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        self._taken()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        self._taken()
        super().resume_writing()

    def shutdown(self) -> None:
        if self.flow.write_paused and self.scope["state"].get("is_endless"):
            self.transport.abort()
        else:
            super().shutdown()

    def handle_events(self) -> None:
        is_full = len(self.tasks) - self.streams() >= self.requests_at_once
        self.app = cast("ASGI3Application", _refusal()) if is_full else self.config.loaded_app
        super().handle_events()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, or one whose head is too long to be read, as a problem."""
        answer = problem(400, "This is no HTTP request, or its head is too long.", headers=_LAST)
        headers = [(name.lower(), value) for name, value in answer.raw_headers]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch(self) -> None:
        """Have a deadline while a request is incomplete; what arrives of it meanwhile does not move it."""
        if self.conn.their_state not in _UNFINISHED:
            self._unwatch()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.request_seconds, self.transport.close)

    def _wait_for_reader(self) -> None:
        """Look after a while how much of what waits now was taken."""
        waiting = self.transport.get_write_buffer_size()
        self._cut = self.loop.call_later(self.answer_seconds, self._judge_reader, waiting)

    def _judge_reader(self, waiting: int) -> None:
        if waiting - self.transport.get_write_buffer_size() < self.answer_seconds * SLOWEST_BYTES_PER_SECOND:
            self.transport.abort()
        else:
            self._wait_for_reader()

    def _taken(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def bounded(
    request_seconds: float,
    requests_at_once: int,
    answer_seconds: float = 30.0,
    streams: Callable[[], int] = lambda: 0,
) -> type[BoundedProtocol]:
    """The protocol with these bounds, as uvicorn wants it: a class. `streams` says how many are open."""
    return type(
        "BoundedProtocol",
        (BoundedProtocol,),
        {
            "request_seconds": request_seconds,
            "answer_seconds": answer_seconds,
            "requests_at_once": requests_at_once,
            "streams": staticmethod(streams),
        },
    )


def _refusal() -> ASGIApp:
    headers = {**_LAST, "Retry-After": "1"}
    return GraphErrors(problem(503, "Too many requests are being answered at this moment; try again.", headers=headers))
