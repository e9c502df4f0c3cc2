"""One collection: from a connection to a finished spool."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import httpx
import structlog
from plumbline_contracts import ids
from plumbline_contracts.events import DatasetState, DatasetSummary, RequestReason, SnapshotCompleted

from plumbline_collector.budget import CallBudget
from plumbline_collector.connections import Connection
from plumbline_collector.connectors import open_connector
from plumbline_collector.connectors.ports import CollectionReport, Connector
from plumbline_collector.errors import CollectorError, ReadError, UnreachableError
from plumbline_collector.spool import SpoolWriter

log = structlog.get_logger(__name__)

MALFORMED = (
    httpx.HTTPError,
    httpx.InvalidURL,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)
"""What an answer that breaks the product's own documentation raises. It stops this instance, never its neighbours."""


@dataclass(frozen=True)
class Spooled:
    """A finished spool: the file, what its last line says, and where the record of changes ended before reading."""

    path: Path
    completed: SnapshotCompleted
    change_marker: str | None = None


ANSWERED = frozenset({DatasetState.OK, DatasetState.TRUNCATED, DatasetState.NOT_LICENSED, DatasetState.UNSUPPORTED})
"""States of a dataset of which something was learned."""


def start_after(last: datetime | None, now: datetime | None = None) -> datetime:
    """A start that is later than the instance's last one, whatever the clock says; whole milliseconds."""
    moment = now or datetime.now(UTC)
    moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    return moment if last is None or moment > last else last + timedelta(milliseconds=1)


async def collect(
    connection: Connection,
    path: Path,
    *,
    request_id: str,
    reason: RequestReason,
    budget: CallBudget,
    started_at: datetime,
    keep_unread: bool = False,
) -> Spooled:
    """Read an instance into a spool.

    Raises CollectorError when the connection as a whole fails, or when nothing at all could be read for passing
    reasons; SpoolError when the file cannot be written. The file is whole only on return. With `keep_unread` a
    connection that fails after its login gives a snapshot too, with the states that tell.
    """
    snapshot_id = ids.snapshot_id(connection.tenant, connection.instance, request_id)
    with SpoolWriter(
        path,
        tenant=connection.tenant,
        instance=connection.instance,
        product=connection.product,
        snapshot_id=snapshot_id,
    ) as spool:
        marker, report = await _read(connection, spool, budget, started_at, is_lenient=keep_unread)
        if not keep_unread:
            _refuse_nothing(connection, report)
        with understood(connection):
            spool.flush()
            completed = _completed(connection, report, spool, snapshot_id, request_id, reason, started_at)
            spool.complete(completed)
    return Spooled(path, completed, marker)


async def _read(
    connection: Connection, spool: SpoolWriter, budget: CallBudget, started_at: datetime, *, is_lenient: bool
) -> tuple[str | None, CollectionReport]:
    """The change marker, taken first so that whatever moves later is seen as a change, and the report."""
    try:
        with understood(connection):
            async with open_connector(connection, budget, is_lenient=is_lenient) as connector:
                marker = await _marker(connector)
                return marker, await connector.collect(spool, started_at)
    except ReadError as error:
        raise UnreachableError(f"{connection.label}: the login failed ({error}); it is tried again") from error


@contextmanager
def understood(connection: Connection) -> Iterator[None]:
    """Raises UnreachableError for what breaks the product's own documentation, or cannot be written down."""
    try:
        yield
    except MALFORMED as error:
        log.exception("answer not understood", tenant=connection.tenant, instance=connection.instance)
        message = f"an answer was not understood ({type(error).__name__}); is {connection.url} really this product?"
        raise UnreachableError(f"{connection.label}: {message}") from error


async def _marker(connector: Connector) -> str | None:
    try:
        return (await connector.latest_change()).marker
    except ReadError:
        return None


async def latest_change(connector: Connector, connection: Connection) -> str:
    """Where the record of changes ends now. Raises CollectorError, also for what `collect` would tolerate."""
    try:
        return (await connector.latest_change()).marker
    except (ReadError, *MALFORMED) as error:
        raise CollectorError(f"{connection.label}: the record of changes could not be read: {error}") from error


def _refuse_nothing(connection: Connection, report: CollectionReport) -> None:
    failed = [summary for summary in report.datasets if summary.state is DatasetState.ERROR]
    if len(failed) == len(report.datasets):
        error = failed[0].error if failed else None
        raise UnreachableError(
            f"{connection.label}: nothing could be read ({error.code if error else 'error'}: "
            f"{error.message if error else 'no answer'}); it is tried again"
        )


def _completed(
    connection: Connection,
    report: CollectionReport,
    spool: SpoolWriter,
    snapshot_id: str,
    request_id: str,
    reason: RequestReason,
    started_at: datetime,
) -> SnapshotCompleted:
    return SnapshotCompleted(
        tenant=connection.tenant,
        instance=connection.instance,
        product=connection.product,
        snapshot_id=snapshot_id,
        publication_id="",
        request_id=request_id,
        reason=reason,
        started_at=started_at,
        completed_at=datetime.now(UTC),
        release=report.release,
        datasets=[_counted(summary, spool) for summary in report.datasets],
        audit_entries=report.audit_entries,
        parameters=connection.parameters,
        collector_version=version("plumbline-collector"),
    )


def _counted(summary: DatasetSummary, spool: SpoolWriter) -> DatasetSummary:
    """With the counts of what lies in the spool, also of a dataset that failed half way."""
    return summary.model_copy(
        update={
            "row_count": spool.row_counts.get(summary.name, 0),
            "chunk_count": spool.chunk_counts.get(summary.name, 0),
        }
    )
