"""Asks an HTTP server for one path over several connections: `load.py PORT PATH CONNECTIONS SECONDS`.

The headers come on standard input; what was measured goes to standard output as JSON. A process of its own, with as
little work per request as Python allows, so that the server is measured and not who asks it.
"""

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

WARM_UP_SECONDS = 0.5


class _Connection(asyncio.Protocol):
    """Sends a request as soon as the answer to the one before is whole, until `ends`. One that is not good ends all."""

    def __init__(self, request: bytes, begins: float, ends: float) -> None:
        self._request, self._begins, self._ends = request, begins, ends
        self._received, self._missing, self._sent_at = b"", 0, 0.0
        self.seconds: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(f"the connection was lost: {exc}"))

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            self._received += data
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            self._missing = self._length(end) - (len(self._received) - end - 4)
            self._received = b""
        if not self._missing:
            self._answered()

    def _length(self, end: int) -> int:
        head = self._received[:end].lower()
        if not head.startswith(b"http/1.1 200"):
            self.done.set_exception(RuntimeError(head.decode("latin-1")))
        start = head.index(b"content-length:") + 15
        return int(head[start : head.find(b"\r", start) if b"\r" in head[start:] else len(head)])

    def _answered(self) -> None:
        now = time.perf_counter()
        if self._begins <= now < self._ends:
            self.seconds.append(now - self._sent_at)
        if now < self._ends and not self.done.done():
            self._ask()
        elif not self.done.done():
            self.done.set_result(None)
            self._transport.close()

    def _ask(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._request)


async def main(port: int, path: str, connections: int, seconds: float, headers: str) -> None:
    """Measure and print."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode()
    begins = time.perf_counter() + WARM_UP_SECONDS
    loop = asyncio.get_running_loop()
    opened = [
        (await loop.create_connection(lambda: _Connection(request, begins, begins + seconds), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(each.done for each in opened))
    found = sorted(second for each in opened for second in each.seconds)
    print(  # noqa: T201
        json.dumps(
            {
                "per_second": len(found) / seconds,
                "p50": found[len(found) // 2],
                "p99": found[int(len(found) * 0.99)],
                "count": len(found),
            }
        )
    )


if __name__ == "__main__":
    port, path, connections, seconds = sys.argv[1:]
    uvloop.run(main(int(port), path, int(connections), float(seconds), sys.stdin.read()))
