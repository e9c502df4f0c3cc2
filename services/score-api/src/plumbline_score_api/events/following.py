"""A stream that stays open: what the database has, what the feed brings, signs of life, and its end."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

from plumbline_score_api.changes.repository import ChangeLogRepository
from plumbline_score_api.events import frames
from plumbline_score_api.events.feed import Batch, Feed, Mark, Member
from plumbline_score_api.events.reading import SENT, Reading


@dataclass(frozen=True)
class Times:
    """Seconds: of silence before a sign of life, and for how long a key or token is believed without a check."""

    beat: float = 15.0
    unverified: float = 60.0


class Following:
    """Sends one stream what is new. It never waits for others, and nobody waits for it."""

    def __init__(
        self, feed: Feed, changes: ChangeLogRepository, member: Member, reading: Reading, times: Times
    ) -> None:
        self._feed, self._changes, self._member, self._reading = feed, changes, member, reading
        self._times = times
        self._sent_at = time.monotonic()

    async def frames(self) -> AsyncIterator[bytes]:
        """What is written, until the stream has to end; the last block says why."""
        async for frame in self._until_it_ends():
            self._sent_at = time.monotonic()
            yield frame
            if self._reason is not None:
                break
        yield frames.end(self._reason or "the end")

    async def _until_it_ends(self) -> AsyncIterator[bytes]:
        number: int | None = None
        while self._reason is None:
            news = self._feed.news
            batches = None if number is None else self._feed.since(number)
            if batches is None:  # it begins, or was slower than the feed keeps
                mark = await self._mark()
                async for frame in self._reading.up_to(mark.position):
                    yield frame
                number = mark.number
                continue
            for batch in batches:
                for frame in self._of(batch):
                    yield frame
                number, self._reading.position = batch.number, batch.position
            if not batches:
                await self._wait(news)
            if time.monotonic() - self._sent_at >= self._times.beat:
                yield frames.beat(self._reading.cursor)

    @property
    def _reason(self) -> str | None:
        """Why the stream has to end now."""
        if self._member.ended is None and time.monotonic() - self._member.verified_at > self._times.unverified:
            return "the key or token could not be checked; come again"
        return self._member.ended

    def _of(self, batch: Batch) -> list[bytes]:
        """What a batch brings to this stream."""
        found = [told for told in batch.found.get(self._member.tenant, ()) if self._reading.filters.match(told.change)]
        for told in found:
            SENT.labels(told.change.kind.value).inc()
        return [told.frame for told in found]

    async def _mark(self) -> Mark:
        """How far the feed has come, once that is not less than what another replica has told the client.

        At once when the log itself does not go that far.
        """
        while self._reason is None:
            news, mark = self._feed.news, self._feed.mark
            if not self._reading.is_beyond(mark.position) or self._reading.is_beyond(await self._changes.heads()):
                break
            await self._wait(news)
        return self._feed.mark

    async def _wait(self, news: asyncio.Event) -> None:
        """Until there are news, or it is time for a sign of life."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._sent_at + self._times.beat - time.monotonic())):
                await news.wait()
