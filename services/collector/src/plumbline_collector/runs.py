"""One run: from a request to the published snapshot, and the statuses that tell of it."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path

import structlog
from plumbline_contracts import ids
from plumbline_contracts.events import (
    CollectionRequest,
    DatasetState,
    Health,
    InstanceStatus,
    RunSummary,
    SnapshotCompleted,
)
from prometheus_client import Counter, Histogram

from plumbline_collector import collection, statuses
from plumbline_collector.budget import Budgets, CallBudget
from plumbline_collector.collection import Spooled
from plumbline_collector.connections import Connection
from plumbline_collector.errors import CollectorError
from plumbline_collector.publisher import Publisher
from plumbline_collector.rights import blocking, unread
from plumbline_collector.scheduling import due_at, full_interval, spent_share, watch_interval
from plumbline_collector.spool import SUFFIX, SpoolError
from plumbline_collector.statuses import StatusBoard

log = structlog.get_logger(__name__)

COLLECTIONS = Counter("plumbline_collector_collections_total", "Collections by result", ["product", "result"])
SECONDS = Histogram(
    "plumbline_collector_collection_seconds",
    "How long collections take, publication included",
    ["product"],
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 1800, 3600),
)


class Runner:
    """Runs collections and reports on them. What fails about an instance ends in its status, never in an exception."""

    def __init__(
        self, publisher: Publisher, board: StatusBoard, budgets: Budgets, *, spool_dir: Path, timeout_seconds: float
    ) -> None:
        self._publisher, self._board, self._budgets = publisher, board, budgets
        self._spool_dir, self._timeout_seconds = spool_dir, timeout_seconds

    async def run(self, connection: Connection, request: CollectionRequest) -> None:
        """Collect, publish, report. Raises PublishError or KafkaError when the broker is gone."""
        known = self._known(connection)
        started_at = collection.start_after(known.last_started_at if known else None)
        path = self._spool_dir / f"{ids.random_id()}{SUFFIX}"
        clock = time.monotonic()
        await self._report(statuses.fresh(connection, known, is_collecting=True))
        log.info("collection started", reason=request.reason, request_id=request.request_id)
        try:
            spooled = await self._collect(connection, request, path, started_at)
            completed = await self._publisher.publish(spooled)
        except (CollectorError, SpoolError) as error:
            await self._failed(connection, request, started_at, str(error))
        else:
            await self._succeeded(connection, request, completed, spooled.change_marker)
            SECONDS.labels(connection.product).observe(time.monotonic() - clock)
        finally:
            path.unlink(missing_ok=True)

    async def _collect(
        self, connection: Connection, request: CollectionRequest, path: Path, started_at: datetime
    ) -> Spooled:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await collection.collect(
                    connection,
                    path,
                    request_id=request.request_id,
                    reason=request.reason,
                    budget=self._budget(connection),
                    started_at=started_at,
                )
        except TimeoutError as error:
            seconds = f"{self._timeout_seconds:.0f}"
            raise CollectorError(f"{connection.label}: the collection did not end within {seconds} s") from error

    def _known(self, connection: Connection) -> InstanceStatus | None:
        return self._board.statuses.get(connection.key)

    def _budget(self, connection: Connection) -> CallBudget:
        known = self._known(connection)
        return self._budgets.of(connection, known.budget if known else None)

    async def _succeeded(
        self, connection: Connection, request: CollectionRequest, completed: SnapshotCompleted, marker: str | None
    ) -> None:
        is_whole = not blocking(unread(completed.product, completed.datasets))
        run = _summary(request, completed.started_at, sentence(completed), completed.snapshot_id)
        budget = self._budget(connection).state()
        spent = spent_share(budget, datetime.now(UTC))
        COLLECTIONS.labels(connection.product, "succeeded").inc()
        log.info("snapshot published", snapshot_id=completed.snapshot_id, outcome=run.message)
        await self._report(
            statuses.fresh(
                connection,
                self._known(connection),
                is_collecting=False,
                health=Health.HEALTHY if is_whole else Health.DEGRADED,
                message=run.message,
                last_run=run,
                last_success=run,
                last_started_at=completed.started_at,
                next_full_at=completed.started_at + full_interval(connection, spent),
                next_watch_at=datetime.now(UTC) + watch_interval(connection, spent) if marker else None,
                change_marker=marker,
                consecutive_failures=0,
                datasets=completed.datasets,
                budget=budget,
            )
        )

    async def _failed(
        self, connection: Connection, request: CollectionRequest, started_at: datetime, message: str
    ) -> None:
        known = self._known(connection)
        status = statuses.fresh(
            connection,
            known,
            is_collecting=False,
            health=Health.FAILED,
            message=message,
            last_run=_summary(request, started_at, message),
            consecutive_failures=(known.consecutive_failures if known else 0) + 1,
            budget=self._budget(connection).state(),
        )
        COLLECTIONS.labels(connection.product, "failed").inc()
        log.error("collection failed", problem=message, failures=status.consecutive_failures)
        again = due_at(connection, status, datetime.now(UTC))
        await self._report(status.model_copy(update={"next_full_at": again}))

    async def _report(self, status: InstanceStatus) -> None:
        self._board.put(status)
        await self._publisher.status(status)


def _summary(
    request: CollectionRequest, started_at: datetime, message: str, snapshot_id: str | None = None
) -> RunSummary:
    """A run that ended now; it succeeded when there is a snapshot."""
    return RunSummary(
        snapshot_id=snapshot_id,
        request_id=request.request_id,
        reason=request.reason,
        started_at=started_at,
        completed_at=datetime.now(UTC),
        succeeded=snapshot_id is not None,
        message=message,
    )


def sentence(completed: SnapshotCompleted) -> str:
    """What was read and what was not, for people."""
    unread = [summary for summary in completed.datasets if summary.state is not DatasetState.OK]
    withheld = [missing.field for summary in completed.datasets for missing in summary.missing_fields]
    rows = sum(summary.row_count for summary in completed.datasets)
    text = f"{len(completed.datasets) - len(unread)} of {len(completed.datasets)} datasets read whole, {rows} rows"
    if unread:
        text += "; " + ", ".join(f"{summary.name} {summary.state}" for summary in unread)
    if withheld:
        text += f"; without {', '.join(withheld)}"
    return text + "."
