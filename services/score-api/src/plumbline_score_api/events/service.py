"""Streams of events."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import structlog
from prometheus_client import Gauge

from plumbline_score_api.access import Session
from plumbline_score_api.changes.repository import ChangeLogRepository, Position
from plumbline_score_api.events import frames
from plumbline_score_api.events.feed import Feed, Member
from plumbline_score_api.events.following import Following, Times
from plumbline_score_api.events.frames import Reset
from plumbline_score_api.events.reading import Reading
from plumbline_score_api.events.schemas import EventFilters, EventQuery
from plumbline_score_api.problems import TooManyError, UnavailableError

log = structlog.get_logger(__name__)

OPEN = Gauge("plumbline_score_api_streams_open", "Streams of events that are open")
AGAIN_SECONDS = 10


@dataclass(frozen=True)
class StreamLimits:
    """How many streams this replica bears, of all tenants and of one."""

    at_once: int = 500
    per_tenant: int = 50


class EventService:
    """Streams of all tenants on this replica. `transient` are the passing failures of the database."""

    def __init__(
        self,
        changes: ChangeLogRepository,
        transient: tuple[type[Exception], ...],
        limits: StreamLimits | None = None,
        times: Times | None = None,
        feed: Feed | None = None,
    ) -> None:
        self._changes, self._transient = changes, transient
        self._limits, self._times = limits or StreamLimits(), times or Times()
        self.feed = feed or Feed(changes, transient)

    @property
    def open(self) -> int:
        """How many streams there are."""
        return len(self.feed.members)

    def close(self) -> None:
        """End all streams at once and have no more."""
        self.feed.close()

    @asynccontextmanager
    async def admitted(self, tenant: str, session: Session) -> AsyncIterator[Member]:
        """A place for a stream, until it has been sent.

        Raises TooManyError when the tenant has enough, UnavailableError when this replica has, or stops.
        """
        if sum(member.tenant == tenant for member in self.feed.members) >= self._limits.per_tenant:
            raise TooManyError(f"{self._limits.per_tenant} streams of this tenant are open here.", AGAIN_SECONDS)
        if self.open >= self._limits.at_once:
            raise UnavailableError("Too many streams are open here.", headers={"Retry-After": str(AGAIN_SECONDS)})
        member = Member(tenant, session)
        with OPEN.track_inprogress():
            async with self.feed.joined(member):
                yield member

    async def stream(self, tenant: str, member: Member, query: EventQuery, cursor: str | None) -> AsyncIterator[bytes]:
        """What is written into an admitted stream. Raises BadRequestError for a cursor that is not the tenant's."""
        seal = await self.feed.seal()
        mark = self.feed.mark
        end = mark.position if query.follow else await self._changes.heads()
        known, is_cut = (seal.open(tenant, cursor), False) if cursor else await self._start(query.since, end)
        filters = EventFilters.model_validate(query.model_dump(include=set(EventFilters.model_fields)))
        reading = Reading(self._changes, seal, tenant, filters, known)
        following = Following(self.feed, self._changes, member, reading, self._times)
        work = following.frames() if query.follow else self._telling(reading, end)
        return self._guarded(reading, work, is_cut=is_cut)

    async def _start(self, since: datetime | None, end: Position) -> tuple[Position, bool]:
        """Where to begin without a cursor, and whether some of what is asked for is no longer kept."""
        if since is None:
            return end, False
        found = {partition: await self._changes.first(partition, since) for partition in end}
        position = {name: end[name] if number is None else number - 1 for name, number in found.items()}
        deleted = (await self._changes.deleted()).values()
        return position, any(each.written_at >= since for each in deleted)

    async def _guarded(self, reading: Reading, work: AsyncIterator[bytes], *, is_cut: bool) -> AsyncIterator[bytes]:
        """The whole stream: it ends in order when the database fails, and its client comes again."""
        yield frames.hello(reading.cursor)
        if is_cut:
            yield frames.reset(Reset.DELETED, reading.cursor)
        try:
            async for frame in work:
                yield frame
        except self._transient as error:
            log.warning("a stream of events ends", problem=type(error).__name__)
            yield frames.end("the database does not answer; come again")

    async def _telling(self, reading: Reading, end: Position) -> AsyncIterator[bytes]:
        async for frame in reading.up_to(end):
            yield frame
        yield frames.beat(reading.cursor)
