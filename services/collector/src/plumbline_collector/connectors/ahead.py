"""Asking for the next page while the one before is worked on: one request at a time, and no time lost between them."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

PageT = TypeVar("PageT")
TURNS_TO_SEND = 16
"""Turns of the loop in which a request on an open connection is on its way."""


class Ahead(Generic[PageT]):
    """At most one request that is under way. Leaving the context ends it, and drops what it brought."""

    def __init__(self) -> None:
        self._task: asyncio.Task[PageT] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def start(self, request: Coroutine[Any, Any, PageT]) -> None:
        """Send a request; nothing else is under way.

        The loop gets a few turns, for a request that has not left would wait until the work on the last page is done.
        """
        self._task = asyncio.create_task(request)
        for _ in range(TURNS_TO_SEND):
            await asyncio.sleep(0)

    async def take(self) -> PageT:
        """The page that was asked for. Raises what the request raised."""
        assert self._task is not None
        task, self._task = self._task, None
        try:
            return await task
        except asyncio.CancelledError:
            task.cancel()
            raise
