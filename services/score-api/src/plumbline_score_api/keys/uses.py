"""When keys were last used, written beside the requests: at most once a minute per key, never waited for."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

EVERY_SECONDS = 60.0
MOST_KEYS = 20_000
PAUSE_SECONDS = 1.0

Write = Callable[[str, str, datetime], Awaitable[bool]]
"""Keeps when a tenant's key was used; whether it could."""


class LastUses:
    """The last uses that are not written yet. What a crash or a full memory loses is one minute of one key."""

    def __init__(self, write: Write, clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._noted: OrderedDict[str, float] = OrderedDict()
        self._waiting: dict[str, tuple[str, datetime]] = {}
        self._is_due = asyncio.Event()

    def note(self, tenant: str, key_id: str) -> None:
        """The key was used now."""
        now = self._clock()
        if now - self._noted.get(key_id, float("-inf")) < EVERY_SECONDS:
            return
        self._noted.pop(key_id, None)
        self._noted[key_id] = now
        if len(self._noted) > MOST_KEYS:
            forgotten, _ = self._noted.popitem(last=False)
            self._waiting.pop(forgotten, None)
        self._waiting[key_id] = (tenant, datetime.now(UTC))
        self._is_due.set()

    async def flush(self) -> None:
        """Write what waits. What fails is noted again with the key's next use."""
        waiting, self._waiting = self._waiting, {}
        self._is_due.clear()
        for key_id, (tenant, at) in waiting.items():
            if not await self._write(tenant, key_id, at):
                self._noted.pop(key_id, None)

    async def run(self) -> None:
        """Write for ever."""
        while True:
            await self._is_due.wait()
            await self.flush()
            await asyncio.sleep(PAUSE_SECONDS)
