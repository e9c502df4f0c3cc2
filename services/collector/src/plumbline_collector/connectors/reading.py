"""Reading datasets, each with its own state, and with what it cost."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from plumbline_contracts.datasets import DatasetSchema
from plumbline_contracts.events import DatasetState, DatasetSummary
from prometheus_client import Counter

from plumbline_collector.connectors import summaries
from plumbline_collector.connectors.patience import FAILURES_IN_A_ROW
from plumbline_collector.connectors.rows import NOT_AS_DOCUMENTED
from plumbline_collector.connectors.saas_client import SaasClient, Usage, usage_here
from plumbline_collector.errors import ReadError

log = structlog.get_logger(__name__)

_LABELS = ["tenant", "instance", "dataset"]
CALLS = Counter("plumbline_collector_dataset_calls_total", "API calls, by the dataset that needed them", _LABELS)
ROWS = Counter("plumbline_collector_dataset_rows_total", "Rows read", _LABELS)
BYTES = Counter("plumbline_collector_dataset_bytes_total", "Bytes of the answers, unpacked", _LABELS)
SECONDS = Counter("plumbline_collector_dataset_seconds_total", "Time from the first call to the last row", _LABELS)
STATES = Counter("plumbline_collector_dataset_states_total", "Datasets read, by state", [*_LABELS, "state"])


AT_ONCE = 3
"""Requests to one instance at the same time: below the four or so that a ServiceNow node serves one user."""

Reading = Callable[[], Awaitable[list[DatasetSummary]]]


class DatasetReader:
    """Reads the datasets of one collection through one client.

    What fails becomes the state of that dataset alone. What each cost is put into its summary, the log and the metrics.
    """

    def __init__(self, client: SaasClient, schemas: Mapping[str, DatasetSchema]) -> None:
        self._client, self._schemas = client, schemas
        self._errors_in_a_row = 0

    async def one(self, name: str, read: Callable[[], Awaitable[DatasetSummary]]) -> DatasetSummary:
        """Read one dataset. `read` may raise ReadError; anything else concerns the whole connection and passes."""

        async def alone() -> list[DatasetSummary]:
            return [await read()]

        (summary,) = await self.several((name,), alone)
        return summary

    async def several(self, names: tuple[str, ...], read: Reading) -> list[DatasetSummary]:
        """Read datasets that come out of the same calls; the first of them bears the cost."""
        usage, began = Usage(), time.monotonic()
        outer = usage_here.set(usage)
        try:
            found = await read()
        except ReadError as failure:
            found = [summaries.failed(self._schemas[name], failure) for name in names]
        except NOT_AS_DOCUMENTED as error:
            log.exception("answer not understood", dataset=names[0], instance=self._client.connection.instance)
            message = f"an answer is not as the product documents it ({type(error).__name__})"
            broken = ReadError(DatasetState.ERROR, "broken_answer", message)
            found = [summaries.failed(self._schemas[name], broken) for name in names]
        finally:
            usage_here.reset(outer)
        seconds = time.monotonic() - began
        self._require_answers(found[0], usage)
        return [self._costed(found[0], usage, seconds), *(self._costed(each, Usage(), 0.0) for each in found[1:])]

    def _require_answers(self, summary: DatasetSummary, usage: Usage) -> None:
        """Ask for nothing more when one dataset after the other fails, whatever each answer looked like by itself."""
        if summary.state is not DatasetState.ERROR:
            self._errors_in_a_row = 0
        elif usage.calls and summary.error:
            self._errors_in_a_row += 1
            if self._errors_in_a_row >= FAILURES_IN_A_ROW:
                self._client.give_up(f"{FAILURES_IN_A_ROW} datasets in a row failed, the last: {summary.error.message}")

    async def together(self, readings: Sequence[Reading]) -> list[DatasetSummary]:
        """Run readings that do not need one another, a few at a time; their summaries in the given order.

        The first error that concerns the whole connection ends all of them.
        """
        places = asyncio.Semaphore(AT_ONCE)

        async def in_place(reading: Reading) -> list[DatasetSummary]:
            async with places:
                return await reading()

        tasks = [asyncio.create_task(in_place(reading)) for reading in readings]
        try:
            return [summary for found in await asyncio.gather(*tasks) for summary in found]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _costed(self, summary: DatasetSummary, usage: Usage, seconds: float) -> DatasetSummary:
        changes = {"calls": usage.calls, "bytes": usage.bytes, "seconds": round(seconds, 3)}
        summary = summary.model_copy(update=changes)
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
