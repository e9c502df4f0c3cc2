"""One reader of the change log per replica, whatever the number of streams.

It runs while there are streams, reads what was written several times a second, and keeps the latest for all of them.
Whoever is slower than that reads from the database where it stands: nothing waits for one stream, and no memory grows
with a slow one.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog
from prometheus_client import Gauge

from plumbline_score_api.access import Session
from plumbline_score_api.changes.changes import Change
from plumbline_score_api.changes.repository import ChangeLogRepository, Entry, Position
from plumbline_score_api.events import frames
from plumbline_score_api.events.cursors import Seal
from plumbline_score_api.problems import UnavailableError

log = structlog.get_logger(__name__)

LAG = Gauge(
    "plumbline_score_api_events_lag_seconds", "Time since this replica had read the change log to its end; 0 at rest"
)
POLL_SECONDS = 0.25
AGAIN_SECONDS = 1.0
ENTRIES_AT_ONCE = 200
MOST_KEPT = 2000
WATCH_SECONDS = 15.0
CHECK_SECONDS = 5.0


class BrokenLogError(Exception):
    """Numbers of the log are missing or went back. Streams begin again from where they stand, and find out."""


@dataclass(frozen=True, slots=True)
class Told:
    """An entry as all streams of its tenant send it."""

    change: Change
    frame: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """What one read brought to tenants that listen, and where the log stood then. Batches are numbered."""

    number: int
    position: Position
    found: Mapping[str, tuple[Told, ...]]

    @property
    def weight(self) -> int:
        """What it adds to memory."""
        return 1 + sum(map(len, self.found.values()))


class Mark(NamedTuple):
    """The last batch, and where the log stood then."""

    number: int
    position: Position


@dataclass(eq=False)
class Member:
    """An open stream."""

    tenant: str
    session: Session
    verified_at: float = field(default_factory=time.monotonic)
    ended: str | None = None
    """Why it has to end, for its client to read."""


class Feed:
    """What is new, for every stream of this replica.

    `transient` are the failures of the database that pass: reading goes on after them.
    """

    def __init__(
        self,
        changes: ChangeLogRepository,
        transient: tuple[type[Exception], ...],
        *,
        most_kept: int = MOST_KEPT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._changes, self._transient, self._most_kept, self._clock = changes, transient, most_kept, clock
        self._batches: deque[Batch] = deque()
        self.weight = 0
        """What is kept for streams: entries, and one per batch."""
        self._tasks: list[asyncio.Task[None]] = []
        self._beginning = asyncio.Lock()
        self._seal: Seal | None = None
        self._is_closed = False
        self._read_at = clock()
        self.mark = Mark(0, {})
        self.news = asyncio.Event()
        """Set when there is another batch or a stream has to end; each time it is a new one."""
        self.members: set[Member] = set()
        LAG.set_function(lambda: self._clock() - self._read_at if self.is_reading else 0.0)

    @property
    def is_reading(self) -> bool:
        """Whether it is at work."""
        return bool(self._tasks)

    @asynccontextmanager
    async def joined(self, member: Member) -> AsyncIterator[None]:
        """Meanwhile the log is read for a stream. Raises UnavailableError when the replica stops."""
        self.members.add(member)
        try:
            await self._begin()
            yield
        finally:
            self.members.discard(member)
            if not self.members:
                self._rest()

    async def seal(self) -> Seal:
        """The seal of cursors."""
        if self._seal is None:
            self._seal = Seal(await self._changes.key())
        return self._seal

    def since(self, number: int) -> list[Batch] | None:
        """The batches behind a number; None when the next one is no longer kept."""
        missing = self.mark.number - number
        if missing > len(self._batches):
            return None
        return [self._batches[place] for place in range(len(self._batches) - missing, len(self._batches))]

    def close(self) -> None:
        """End all streams and have no more."""
        self._is_closed = True
        self._end(list(self.members), "the server stops; come again")

    # --- the reader

    async def _begin(self) -> None:
        async with self._beginning:
            if self._is_closed:
                raise UnavailableError("This replica stops; come again.", headers={"Retry-After": "1"})
            if self._tasks:
                return
            seal = await self.seal()
            self.mark = Mark(self.mark.number, await self._changes.heads())
            self._batches.clear()
            self.weight, self._read_at = 0, self._clock()
            self._tasks = [asyncio.create_task(work) for work in (self._follow(seal), self._watch())]
            for task in self._tasks:
                task.add_done_callback(self._on_end)

    def _rest(self) -> None:
        """Read no longer."""
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    def _on_end(self, task: asyncio.Task[None]) -> None:
        """What ended without being told to is a break for all streams; the next one begins anew."""
        if task.cancelled():
            return
        log.error("the change log is no longer followed", problem=repr(task.exception()))
        if task not in self._tasks:
            return
        self._rest()
        self._end(list(self.members), "interrupted; come again")

    def _end(self, members: list[Member], reason: str) -> None:
        for member in members:
            member.ended = reason
        self._wake()

    def _wake(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    async def _follow(self, seal: Seal) -> None:
        while True:
            try:
                entries = await self._changes.after(self.mark.position, ENTRIES_AT_ONCE)
            except self._transient as error:
                log.warning("the change log cannot be read, trying again", problem=type(error).__name__)
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            if entries:
                self._publish(entries, seal)
            if len(entries) < ENTRIES_AT_ONCE:
                self._read_at = self._clock()
                await asyncio.sleep(POLL_SECONDS)

    def _publish(self, entries: list[Entry], seal: Seal) -> None:
        """Keep entries for the tenants that listen. Raises BrokenLogError when a number is missing."""
        position, listening = dict(self.mark.position), {member.tenant for member in self.members}
        found: dict[str, list[Told]] = defaultdict(list)
        for entry in entries:
            if entry.number != position.get(entry.partition, 0) + 1:
                raise BrokenLogError(f"partition {entry.partition}: {entry.number} follows {position}")
            position[entry.partition] = entry.number
            if entry.tenant in listening:
                frame = frames.event(entry, seal.close(entry.tenant, position))
                found[entry.tenant].append(Told(entry.change, frame))
        self._keep(Batch(self.mark.number + 1, position, {name: tuple(told) for name, told in found.items()}))

    def _keep(self, batch: Batch) -> None:
        self._batches.append(batch)
        self.weight += batch.weight
        while self.weight > self._most_kept and len(self._batches) > 1:
            self.weight -= self._batches.popleft().weight
        self.mark = Mark(batch.number, batch.position)
        self._wake()

    # --- what may end a stream

    async def _watch(self) -> None:
        """See now and then that callers may still read and that the log is the same."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            await self.check()

    async def check(self) -> None:
        """Ask once per key or token whether it is still good, and for the end of the log.

        Raises BrokenLogError when numbers went back.
        """
        sessions = defaultdict(list)
        for member in self.members:
            sessions[member.session].append(member)
        for session, members in sessions.items():
            await self._verify(session, members)
        try:
            position, heads = self.mark.position, await self._changes.heads()
        except self._transient:
            return
        if gone := [partition for partition, number in position.items() if number > heads.get(partition, 0)]:
            raise BrokenLogError(f"partitions {gone} end before what was read")

    async def _verify(self, session: Session, members: list[Member]) -> None:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                is_good = await session.is_good()
        except (TimeoutError, UnavailableError):
            return  # a stream ends by itself when it was not verified for long
        if not is_good:
            self._end(members, "the key or token no longer opens this stream")
            return
        for member in members:
            member.verified_at = self._clock()
