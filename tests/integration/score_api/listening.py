"""Streams of events over real connections: the application on a port, in the test's loop, and clients that listen."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from plumbline_score_api import app as composition
from plumbline_score_api.changes.changes import Change, ChangeKind
from plumbline_score_api.services import Services
from plumbline_score_api.settings import Settings

PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Block:
    """One block of a stream. An event has data."""

    id: str | None = None
    event: str | None = None
    data: Any = None
    comment: str | None = None
    retry: int | None = None

    @property
    def name(self) -> str:
        """The event's id in the change log."""
        return str(self.data["event_id"])


def parsed(text: str) -> Block:
    """A block as a client reads it."""
    fields: dict[str, Any] = {}
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        assert name in {"", "id", "event", "data", "retry"}, text
        fields[name or "comment"] = value
    if "data" in fields:
        fields["data"] = json.loads(fields["data"])
    if "retry" in fields:
        fields["retry"] = int(fields["retry"])
    return Block(**fields)


class Listener:
    """A client of one stream. `last` is what it would send back as Last-Event-ID."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.last: str | None = None
        self._chunks, self._buffer = response.aiter_raw(), b""

    async def block(self) -> Block | None:
        """The next block; None when the stream has ended."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while b"\n\n" not in self._buffer:
                chunk = await anext(self._chunks, None)
                if chunk is None:
                    assert not self._buffer, "a stream ends between two blocks"
                    return None
                self._buffer += chunk
        text, _, self._buffer = self._buffer.partition(b"\n\n")
        block = parsed(text.decode())
        self.last = block.id or self.last
        return block

    async def until(self, event: str) -> Block:
        """The next event of a kind, whatever comes before it."""
        while (block := await self.block()) is not None:
            if block.event == event:
                return block
        raise AssertionError(f"the stream ended before {event}")

    async def events(self, count: int) -> list[Block]:
        """The next events, without what is none."""
        found: list[Block] = []
        while len(found) < count:
            block = await self.block()
            assert block is not None, f"the stream ended after {len(found)} of {count} events"
            found += [block] if block.event else []
        return found

    async def rest(self) -> list[Block]:
        """All blocks to the end."""
        found = []
        while (block := await self.block()) is not None:
            found.append(block)
        return found


class Api:
    """The application on a port."""

    def __init__(self, services: Services, url: str, server: composition.Server) -> None:
        self.services, self.url, self.server = services, url, server

    def client(self, key: str) -> httpx.AsyncClient:
        """A client with a key."""
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=PATIENCE_SECONDS, trust_env=False)

    @asynccontextmanager
    async def listen(self, key: str, last: str | None = None, **query: Any) -> AsyncIterator[Listener]:
        """A stream that is open and has said where it begins."""
        headers = {"Last-Event-ID": last} if last else {}
        async with (
            self.client(key) as client,
            client.stream("GET", "/v1/events", params=query, headers=headers) as response,
        ):
            assert response.status_code == 200, (await response.aread()).decode()
            listener = Listener(response)
            assert (await listener.block()) is not None
            yield listener

    async def told(self, key: str, last: str | None = None, **query: Any) -> list[Block]:
        """All events that there are, of a stream that ends."""
        async with self.listen(key, last, follow="false", **query) as listener:
            return [block for block in await listener.rest() if block.event]


async def _is_ready() -> bool:
    return True


@asynccontextmanager
async def api(services: Services, settings: Settings | None = None) -> AsyncIterator[Api]:
    """The application on a port of its own."""
    app = composition.create_app(services, _is_ready)
    server = composition.http_server(app, settings or Settings(), services.events)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield Api(services, f"http://127.0.0.1:{port}", server)
        finally:
            server.should_exit = True
            await task


def change(name: str, kind: ChangeKind = ChangeKind.SCORE_CHANGED, **fields: Any) -> Change:
    """An entry of the change log."""
    return Change(event_id=name, kind=kind, at=datetime.now(UTC), scope=fields.pop("scope", "tenant"), **fields)
