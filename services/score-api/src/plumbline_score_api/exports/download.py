"""A file that is sent while it is made."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import structlog
from fastapi.responses import StreamingResponse
from prometheus_client import Counter, Gauge
from starlette.types import Message, Receive, Scope, Send

log = structlog.get_logger(__name__)

EXPORTS = Counter("plumbline_score_api_exports_total", "Exports by what and how they ended", ["what", "end"])
RUNNING = Gauge("plumbline_score_api_exports_running", "Exports that are being sent")
STALLED_SECONDS = 60.0
Chunks = AsyncGenerator[bytes, None]


class Download(StreamingResponse):
    """An attachment that ends whole, or breaks the connection: it never looks whole and is short.

    Its source makes a chunk when the one before was taken. Who takes none for a minute gets no more. `release` is
    called when it has ended, however.
    """

    def __init__(
        self,
        what: str,
        name: str,
        media_type: str,
        first: bytes,
        rest: Chunks,
        release: Callable[[], None],
        stalled_seconds: float = STALLED_SECONDS,
    ) -> None:
        headers = {"Content-Disposition": attachment(name)}
        super().__init__(self._chunks(first, rest), media_type=media_type, headers=headers)
        self._what, self._rest, self._release = what, rest, release
        self._stalled_seconds, self._is_whole = stalled_seconds, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. What its source raises passes, and breaks the connection."""
        end = "broken"
        try:
            with RUNNING.track_inprogress():
                await super().__call__(scope, receive, _impatient(send, self._stalled_seconds))
            end = "whole" if self._is_whole else "left"
        finally:
            self._release()
            EXPORTS.labels(self._what, end).inc()
            if end == "broken":
                log.warning("export broke off", what=self._what)
            await self._rest.aclose()

    async def _chunks(self, first: bytes, rest: Chunks) -> AsyncIterator[bytes]:
        yield first
        async for chunk in rest:
            yield chunk
        self._is_whole = True


def attachment(name: str) -> str:
    """The header of a file with a name of letters, digits and `.-_` alone."""
    return f'attachment; filename="{name}"'


def _impatient(send: Send, seconds: float) -> Send:
    async def send_in_time(message: Message) -> None:
        async with asyncio.timeout(seconds):
            await send(message)

    return send_in_time
