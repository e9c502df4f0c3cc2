"""The two rhythms that ask for collections: the schedule, and the watch for changes."""

import asyncio
import time
from collections.abc import Callable, Container
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import structlog
from plumbline_contracts import ids
from plumbline_contracts.events import CollectionRequest, Health, InstanceStatus, RequestReason
from prometheus_client import Counter

from plumbline_collector import statuses
from plumbline_collector.budget import Budgets
from plumbline_collector.collection import latest_change
from plumbline_collector.connections import Connection
from plumbline_collector.connectors import open_connector
from plumbline_collector.connectors.ports import Connector
from plumbline_collector.errors import CollectorError
from plumbline_collector.publisher import Publisher
from plumbline_collector.registry import ConnectionRegistry
from plumbline_collector.scheduling import backoff, due_requests, spent_share, watch_interval
from plumbline_collector.statuses import StatusBoard

log = structlog.get_logger(__name__)

ASK_AGAIN_SECONDS = 300.0

LOOKS = Counter("plumbline_collector_change_looks_total", "Looks for changes by result", ["product", "result"])


class _Asked:
    """What was asked for lately: a request is written once, and again only if it seems to have been lost."""

    def __init__(self) -> None:
        self._ids: dict[str, tuple[str, float]] = {}

    def is_new(self, key: str, request_id: str) -> bool:
        """Whether this request of an instance was not written in the last minutes."""
        known, at = self._ids.get(key, ("", 0.0))
        return known != request_id or time.monotonic() - at > ASK_AGAIN_SECONDS

    def note(self, key: str, request_id: str) -> None:
        """It was written now."""
        self._ids[key] = (request_id, time.monotonic())


class _Watch:
    """The watch over one instance. Its connector stays open, so that a look needs no login of its own."""

    def __init__(self, connection: Connection, next_at: float) -> None:
        self.connection, self.next_at = connection, next_at
        self.task: asyncio.Task[None] | None = None
        self.failures = 0
        self._connector: Connector | None = None
        self._opened = AsyncExitStack()

    async def connector(self, budgets: Budgets, status: InstanceStatus) -> Connector:
        """The open connector of this instance."""
        if self._connector is None:
            budget = budgets.of(self.connection, status.budget)
            self._connector = await self._opened.enter_async_context(open_connector(self.connection, budget))
        return self._connector

    async def close(self) -> None:
        """Stop a look that is under way, and close the connector. An error of the look leaves."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])
        await self.let_go()

    async def let_go(self) -> None:
        """Close the connector; the next look opens another, with fresh patience and a new login."""
        self._connector = None
        opened, self._opened = self._opened, AsyncExitStack()
        await opened.aclose()

    def take_result(self) -> None:
        """Forget a finished look; its error, which is the broker's, leaves."""
        if self.task is not None and self.task.done():
            task, self.task = self.task, None
            if not task.cancelled():
                task.result()


class Rhythms:
    """Writes requests, and pauses instances without a connection, for what this replica owns."""

    def __init__(
        self, publisher: Publisher, board: StatusBoard, registry: ConnectionRegistry, budgets: Budgets
    ) -> None:
        self._publisher, self._board, self._registry, self._budgets = publisher, board, registry, budgets
        self._scheduled, self._noticed = _Asked(), _Asked()
        self._watches: dict[str, _Watch] = {}

    async def beat(self, owns: Callable[[str], bool], *, is_scheduler: bool, busy: Container[str]) -> None:
        """One turn: pause, schedule, watch. `busy` instances are being read, or wait for it."""
        await self._pause_missing(owns)
        if is_scheduler:
            await self._request_due(busy)
        await self._drop_watches(owns)
        self._watch(owns, busy)

    async def stop(self) -> None:
        """End every look."""
        for watch in self._watches.values():
            await watch.close()
        self._watches.clear()

    async def _pause_missing(self, owns: Callable[[str], bool]) -> None:
        for key, status in list(self._board.statuses.items()):
            if key not in self._registry.current and status.health is not Health.PAUSED and owns(key):
                paused = statuses.paused(status)
                self._board.put(paused)
                await self._publisher.status(paused)

    async def _request_due(self, busy: Container[str]) -> None:
        now = datetime.now(UTC)
        for request in due_requests(self._registry.current.values(), self._board.statuses, now):
            if request.key not in busy and self._scheduled.is_new(request.key, request.request_id):
                await self._publisher.request(request)
                self._scheduled.note(request.key, request.request_id)

    async def _drop_watches(self, owns: Callable[[str], bool]) -> None:
        for key, watch in list(self._watches.items()):
            watch.take_result()
            if not owns(key):
                self._budgets.forget(key)
            if self._registry.current.get(key) != watch.connection or not owns(key):
                await self._watches.pop(key).close()

    def _watch(self, owns: Callable[[str], bool], busy: Container[str]) -> None:
        now = time.monotonic()
        for key, connection in self._registry.current.items():
            status = self._board.statuses.get(key)
            if key in busy or status is None or status.change_marker is None or not owns(key):
                continue
            if key not in self._watches:
                self._watches[key] = _Watch(connection, now + self._interval(connection, status))
            watch = self._watches[key]
            if watch.task is None and now >= watch.next_at:
                watch.task = asyncio.create_task(self._look(watch, status), name=f"watch {key}")

    def _interval(self, connection: Connection, status: InstanceStatus) -> float:
        spent = spent_share(self._budgets.of(connection, status.budget).state(), datetime.now(UTC))
        return watch_interval(connection, spent).total_seconds()

    async def _look(self, watch: _Watch, status: InstanceStatus) -> None:
        connection, interval = watch.connection, self._interval(watch.connection, status)
        try:
            found = await latest_change(await watch.connector(self._budgets, status), connection)
        except CollectorError as error:
            await watch.let_go()
            watch.failures += 1
            watch.next_at = time.monotonic() + max(interval, backoff(watch.failures).total_seconds())
            LOOKS.labels(connection.product, "failed").inc()
            log.warning(
                "change watch failed",
                tenant=connection.tenant,
                instance=connection.instance,
                problem=str(error),
                failures=watch.failures,
            )
            return
        watch.failures = 0
        watch.next_at = time.monotonic() + interval
        LOOKS.labels(connection.product, "unchanged" if found == status.change_marker else "changed").inc()
        if found != status.change_marker:
            await self._request_change(connection, found)

    async def _request_change(self, connection: Connection, found: str) -> None:
        """One request for one observed position, however often it is seen."""
        request_id = ids.change_request_id(connection.tenant, connection.instance, found)
        if not self._noticed.is_new(connection.key, request_id):
            return
        await self._publisher.request(
            CollectionRequest(
                request_id=request_id,
                tenant=connection.tenant,
                instance=connection.instance,
                reason=RequestReason.CHANGE,
                requested_by="change-watch",
                requested_at=datetime.now(UTC),
                detail=found[:200],
            )
        )
        self._noticed.note(connection.key, request_id)
