"""Reads that many ask for at once, made once for all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

REST_SECONDS = 0.004
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SharedReads(Generic[K, V]):
    """Reads by key. What `get` returns was read after it was called: it is never older than the question.

    Who asks while a read of the key runs shares the next one with all who do so meanwhile. Nothing is kept: the store
    is asked as often as anybody wants to know, and never by two at once. Between two reads of a key that follow one
    another lie `rest_seconds`, so that under load more share each of them; who asks alone never waits.
    """

    def __init__(self, read: Callable[[K], Awaitable[V]], rest_seconds: float = REST_SECONDS) -> None:
        self._read, self._rest_seconds = read, rest_seconds
        self._running: dict[K, asyncio.Task[V]] = {}
        self._next: dict[K, asyncio.Task[V]] = {}

    async def get(self, key: K) -> V:
        """What is there now. Raises what the read raises."""
        following = self._next.get(key)
        if following is None:
            following = asyncio.create_task(self._after(self._running.get(key), key))
            following.add_done_callback(_look)
            self._next[key] = following
        return await asyncio.shield(following)

    async def _after(self, running: "asyncio.Task[V] | None", key: K) -> V:
        if running is not None:
            await asyncio.wait([running])
            await asyncio.sleep(self._rest_seconds)
        mine = self._running[key] = self._next.pop(key)
        try:
            return await self._read(key)
        finally:
            if self._running.get(key) is mine:
                del self._running[key]


def _look(task: "asyncio.Task[V]") -> None:
    """An error that nobody waits for any more is no news."""
    if not task.cancelled():
        task.exception()
