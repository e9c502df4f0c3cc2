"""The keys of one issuer, kept: read again as they age and when a token names an unknown one, within bounds.

At most one request is under way. What failed is tried again with back-off; meanwhile the keys that were read last are
used, for some hours. Tokens with unknown key ids, which anyone can send, cause one request per half a minute.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from plumbline_score_api.network import AnswerError
from plumbline_score_api.problems import UnavailableError
from plumbline_score_api.tokens.verification import Keys, PublicKey

log = structlog.get_logger(__name__)

FRESH_SECONDS = 600.0
STALE_SECONDS = 6 * 3600.0
UNKNOWN_SECONDS = 30.0
FIRST_WAIT_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 60.0


class KeySet:
    """The keys of one issuer. `read` asks for them and raises AnswerError."""

    def __init__(
        self, issuer: str, read: Callable[[], Awaitable[Keys]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._issuer, self._read, self._clock = issuer, read, clock
        self._keys: Keys = {}
        self._read_at = self._tried_at = float("-inf")
        self._failures = 0
        self._reading: asyncio.Task[None] | None = None

    async def find(self, key_id: str, algorithm: str) -> PublicKey | None:
        """The key of this id for this algorithm; None when the issuer has none.

        Raises UnavailableError when the issuer's keys were never read, or too long ago.
        """
        if self._age() > STALE_SECONDS:
            await self.refresh()
        elif self._age() > FRESH_SECONDS:
            self._start()
        if self._age() > STALE_SECONDS:
            raise UnavailableError("The keys of the token's issuer cannot be read now; try again.")
        found = self._keys.get((key_id, algorithm))
        is_due = self._reading is not None or self._clock() - self._tried_at >= UNKNOWN_SECONDS
        if found is None and is_due:
            await self.refresh()
            found = self._keys.get((key_id, algorithm))
        return found

    async def refresh(self) -> None:
        """Read the keys now, or wait for the reading that is under way; does nothing soon after a failure."""
        self._start()
        if self._reading is not None:
            await asyncio.shield(self._reading)

    async def close(self) -> None:
        """Stop what is under way."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    def _age(self) -> float:
        return self._clock() - self._read_at

    def _start(self) -> None:
        wait = min(FIRST_WAIT_SECONDS * 2 ** (self._failures - 1), LONGEST_WAIT_SECONDS) if self._failures else 0.0
        if self._reading is None and self._clock() - self._tried_at >= wait:
            self._tried_at = self._clock()
            self._reading = asyncio.create_task(self._try())

    async def _try(self) -> None:
        try:
            self._keys = await self._read()
        except AnswerError as error:
            self._failures = min(self._failures + 1, 10)
            log.warning("an issuer's keys cannot be read", issuer=self._issuer, problem=str(error))
        else:
            self._read_at, self._failures = self._clock(), 0
            log.debug("an issuer's keys are read", issuer=self._issuer, keys=len(self._keys))
        finally:
            self._reading = None
