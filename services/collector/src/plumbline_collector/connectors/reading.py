"""Reading datasets one after another: each with its own state, and with what it cost."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog
from plumbline_contracts.datasets import DatasetSchema
from plumbline_contracts.events import DatasetSummary
from prometheus_client import Counter

from plumbline_collector.connectors import summaries
from plumbline_collector.connectors.saas_client import SaasClient
from plumbline_collector.errors import ReadError

log = structlog.get_logger(__name__)

_LABELS = ["tenant", "instance", "dataset"]
CALLS = Counter("plumbline_collector_dataset_calls_total", "API calls, by the dataset that needed them", _LABELS)
ROWS = Counter("plumbline_collector_dataset_rows_total", "Rows read", _LABELS)
BYTES = Counter("plumbline_collector_dataset_bytes_total", "Bytes of the answers, unpacked", _LABELS)
SECONDS = Counter("plumbline_collector_dataset_seconds_total", "Time from the first call to the last row", _LABELS)
STATES = Counter("plumbline_collector_dataset_states_total", "Datasets read, by state", [*_LABELS, "state"])


@dataclass(frozen=True)
class _Mark:
    """Where a client's counts and the clock stood."""

    calls: int
    bytes: int
    at: float


class DatasetReader:
    """Reads the datasets of one collection through one client, in turn.

    What fails becomes the state of that dataset alone. What each cost is put into its summary, the log and the metrics.
    """

    def __init__(self, client: SaasClient, schemas: Mapping[str, DatasetSchema]) -> None:
        self._client, self._schemas = client, schemas

    async def one(self, name: str, read: Callable[[], Awaitable[DatasetSummary]]) -> DatasetSummary:
        """Read one dataset. `read` may raise ReadError; anything else concerns the whole connection and passes."""
        mark = self._mark()
        try:
            summary = await read()
        except ReadError as failure:
            summary = summaries.failed(self._schemas[name], failure)
        return self._costed(summary, mark)

    async def several(
        self, names: tuple[str, ...], read: Callable[[], Awaitable[list[DatasetSummary]]]
    ) -> list[DatasetSummary]:
        """Read datasets that come out of the same calls; the first of them bears the cost."""
        mark = self._mark()
        try:
            found = await read()
        except ReadError as failure:
            found = [summaries.failed(self._schemas[name], failure) for name in names]
        return [self._costed(found[0], mark), *(self._costed(each, self._mark()) for each in found[1:])]

    def _mark(self) -> _Mark:
        return _Mark(self._client.usage.calls, self._client.usage.bytes, time.monotonic())

    def _costed(self, summary: DatasetSummary, since: _Mark) -> DatasetSummary:
        now = self._mark()
        summary = summary.model_copy(
            update={
                "calls": now.calls - since.calls,
                "bytes": now.bytes - since.bytes,
                "seconds": round(now.at - since.at, 3),
            }
        )
        self._tell(summary)
        return summary

    def _tell(self, summary: DatasetSummary) -> None:
        connection = self._client.connection
        labels = (connection.tenant, connection.instance, summary.name)
        CALLS.labels(*labels).inc(summary.calls or 0)
        ROWS.labels(*labels).inc(summary.row_count)
        BYTES.labels(*labels).inc(summary.bytes or 0)
        SECONDS.labels(*labels).inc(summary.seconds or 0)
        STATES.labels(*labels, summary.state).inc()
        log.info(
            "dataset read",
            tenant=connection.tenant,
            instance=connection.instance,
            dataset=summary.name,
            state=summary.state,
            rows=summary.row_count,
            calls=summary.calls,
            bytes=summary.bytes,
            seconds=summary.seconds,
            budget_left=self._client.budget.left,
            problem=summary.error.message if summary.error else None,
        )
