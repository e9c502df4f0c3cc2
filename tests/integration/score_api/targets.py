"""Receivers of webhooks over HTTP on loopback: good ones, and those that do harm."""

import asyncio
import http.server
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Received:
    """One request: its headers in lower case, and its body."""

    def __init__(self, head: bytes, body: bytes) -> None:
        lines = head.decode().split("\r\n")
        pairs = [line.split(": ", 1) for line in lines[1:] if ": " in line]
        self.line, self.body = lines[0], body
        self.headers = {name.lower(): value for name, value in pairs}

    @property
    def message_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def said(self) -> dict[str, Any]:
        """The message."""
        found: dict[str, Any] = json.loads(self.body)
        return found


class Target:
    """A receiver that answers what `answer` writes, and notes what it got."""

    def __init__(self) -> None:
        self.port = 0
        self.received: list[Received] = []
        self.answer: Answer = says(204)
        self._handlers: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=receivers-own"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            (length,) = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            self.received.append(Received(head, await reader.readexactly(int(length.split(b":")[1]))))
            await self.answer(writer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return  # `end` alone cancels
        finally:
            writer.close()
            self._handlers.discard(task)

    async def end(self) -> None:
        """Leave nobody waiting, and nobody who comes later."""
        self.answer = says(204)
        for task in list(self._handlers):
            task.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)


@asynccontextmanager
async def target() -> AsyncIterator[Target]:
    """A receiver that answers 204 until told otherwise."""
    found = Target()
    listener = await asyncio.start_server(found.handle, "127.0.0.1", 0)
    found.port = listener.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        listener.close()
        await found.end()


def says(status: int, **headers: str) -> Answer:
    """A whole answer without a body."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n{lines}\r\n".encode())

    return answer


async def nothing(_: asyncio.StreamWriter) -> None:
    """No answer at all, until the sender has left."""
    await asyncio.Event().wait()


async def endless_body(writer: asyncio.StreamWriter) -> None:
    """A good status, and a body without an end."""
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        await writer.drain()


async def endless_head(writer: asyncio.StreamWriter) -> None:
    """A head without an end."""
    writer.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        writer.write(b"x" * 65536)
        await writer.drain()


async def dripping_head(writer: asyncio.StreamWriter) -> None:
    """A head that comes byte by byte."""
    writer.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def no_http(writer: asyncio.StreamWriter) -> None:
    """Something else."""
    writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")


@contextmanager
def threaded_target() -> Iterator[tuple[str, list[Received]]]:
    """The URL of a receiver beside the test's own thread, and what it got."""
    received: list[Received] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            lines = [self.requestline, *(f"{name}: {value}" for name, value in self.headers.items())]
            received.append(Received("\r\n".join(lines).encode(), body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", received
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
