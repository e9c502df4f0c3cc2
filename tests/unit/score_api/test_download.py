"""A file that is sent while it is made: however it ends, its place is free again, and no short file looks whole."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from plumbline_score_api.exports.download import Download
from starlette.types import Message


class _BrokenError(Exception):
    """The source fails."""


class _Client:
    """Takes `most` chunks, then none, or leaves."""

    def __init__(self, most: int = 100, *, is_leaving: bool = False) -> None:
        self._most, self._is_leaving = most, is_leaving
        self._left = asyncio.Event()
        self.messages: list[Message] = []

    async def receive(self) -> Message:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if len(self.messages) > self._most:
            if self._is_leaving:
                self._left.set()
            await asyncio.Event().wait()
        self.messages.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def is_ended(self) -> bool:
        return self.messages[-1].get("more_body", True) is False


class _Export:
    """A download of a source that counts its chunks and says when it was closed."""

    def __init__(self, client: _Client, *, fails_at: int = 100) -> None:
        self.made, self.closed, self.released = 0, 0, 0
        self._client, self._fails_at = client, fails_at
        self.scope: dict[str, Any] = {"type": "http", "asgi": {"spec_version": "2.3"}}

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        try:
            for number in range(1, 10):
                if number == self._fails_at:
                    raise _BrokenError
                self.made += 1
                yield b"%d\n" % number
        finally:
            self.closed += 1

    def _release(self) -> None:
        self.released += 1

    async def run(self) -> None:
        """Send it."""
        chunks = self._chunks()
        first = await anext(chunks)
        download = Download("audit", "a.csv", "text/csv", first, chunks, self._release, stalled_seconds=0.2)
        await download(self.scope, self._client.receive, self._client.send)

    @property
    def is_over(self) -> bool:
        return (self.closed, self.released) == (1, 1)


async def test_a_whole_file_ends() -> None:
    client = _Client()
    export = _Export(client)
    await export.run()
    assert client.body == b"".join(b"%d\n" % n for n in range(1, 10))
    assert (client.is_ended, export.is_over) == (True, True)


@pytest.mark.parametrize("fails_at", [2, 9])
async def test_a_source_that_fails_is_told_and_not_ended(fails_at: int) -> None:
    client = _Client()
    export = _Export(client, fails_at=fails_at)
    with pytest.raises(_BrokenError):
        await export.run()
    assert client.body == b"".join(b"%d\n" % n for n in range(1, fails_at))
    assert (client.is_ended, export.is_over) == (False, True)


async def test_a_client_that_leaves_ends_it_without_an_error() -> None:
    client = _Client(most=3, is_leaving=True)
    export = _Export(client)
    await export.run()
    assert (client.is_ended, export.is_over) == (False, True)
    assert export.made == 4


async def test_a_client_that_takes_nothing_more_gets_nothing_more() -> None:
    client = _Client(most=3)
    export = _Export(client)
    with pytest.raises(TimeoutError):
        await export.run()
    assert (client.is_ended, export.is_over) == (False, True)
    assert export.made == 4


async def test_no_chunk_is_made_before_the_one_before_was_taken() -> None:
    client = _Client(most=0)
    export = _Export(client)
    with pytest.raises(TimeoutError):
        await export.run()
    assert export.made == 1
