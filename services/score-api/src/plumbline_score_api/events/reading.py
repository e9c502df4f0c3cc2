"""One stream's way through the change log: where it is, and what lies before it in the database."""

from collections.abc import AsyncIterator

from prometheus_client import Counter

from plumbline_score_api.changes.repository import ChangeLogRepository, Entry, Position
from plumbline_score_api.events import frames
from plumbline_score_api.events.cursors import Seal
from plumbline_score_api.events.frames import Reset
from plumbline_score_api.events.schemas import EventFilters

PAGE = 100
SENT = Counter("plumbline_score_api_events_sent_total", "Events sent to streams, by kind", ["kind"])


class Reading:
    """Whose stream it is, what it wants, and where it is."""

    def __init__(
        self, changes: ChangeLogRepository, seal: Seal, tenant: str, filters: EventFilters, position: Position
    ) -> None:
        self._changes, self._seal, self._tenant, self.filters = changes, seal, tenant, filters
        self.position: Position = position

    @property
    def cursor(self) -> str:
        """Where it is, for the client."""
        return self._seal.close(self._tenant, self.position)

    def is_beyond(self, end: Position) -> bool:
        """Whether a partition ends before what it has behind it."""
        return any(number > end.get(partition, 0) for partition, number in self.position.items())

    async def up_to(self, end: Position) -> AsyncIterator[bytes]:
        """What lies between here and `end`, page by page, and before it a reset if some of that is gone."""
        reason: Reset | None = None
        if self.is_beyond(end):
            kept = {partition: number for partition, number in self.position.items() if number <= end.get(partition, 0)}
            self.position, reason = kept, Reset.UNKNOWN
            yield frames.reset(reason, self.cursor)
        for partition, last in sorted(end.items()):
            while (behind := self.position.get(partition, 0)) < last:
                entries = await self._changes.between(self._tenant, partition, behind, last, PAGE)
                is_whole = await self._is_whole(partition)
                if not is_whole and reason is None:
                    reason = Reset.DELETED
                    yield frames.reset(reason, self.cursor)
                for entry in entries:
                    self._move(partition, entry.number)
                    if self.filters.match(entry.change):
                        yield self._told(entry)
                if len(entries) < PAGE:
                    self._move(partition, last)
                else:
                    yield frames.beat(self.cursor)

    def _told(self, entry: Entry) -> bytes:
        SENT.labels(entry.change.kind.value).inc()
        return frames.event(entry, self.cursor)

    async def _is_whole(self, partition: int) -> bool:
        """Whether nothing behind the place was deleted, or is being deleted. Asked after reading."""
        deleted = (await self._changes.deleted()).get(partition)
        return deleted is None or deleted.number <= self.position.get(partition, 0)

    def _move(self, partition: int, number: int) -> None:
        self.position = {**self.position, partition: number}
