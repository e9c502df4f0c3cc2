"""What a connector offers to the rest of the collector, and what it is given."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from plumbline_contracts.events import AuditEntry, DatasetSummary, Product, Row


class DatasetSink(Protocol):
    """Takes the rows of a collection page by page."""

    def add(self, dataset: str, rows: list[Row]) -> None:
        """Keep rows of a dataset."""


@dataclass(frozen=True)
class CollectionReport:
    """What a collection found besides the rows: the state of every dataset, audit entries, the release."""

    datasets: list[DatasetSummary]
    audit_entries: list[AuditEntry] = field(default_factory=list)
    release: str | None = None


@dataclass(frozen=True)
class ChangeMarker:
    """A position in the product's record of changes; two that differ mean that something moved."""

    marker: str


class Connector(Protocol):
    """Reads one instance. Every method may raise a `CollectorError` that concerns the whole connection."""

    product: Product

    async def collect(self, sink: DatasetSink, started_at: datetime) -> CollectionReport:
        """Read every dataset; what cannot be read gets its state, and the rest goes on."""

    async def check(self) -> list[DatasetSummary]:
        """Try a row of every dataset."""

    async def latest_change(self) -> ChangeMarker:
        """One or two cheap calls: where the record of changes ends now."""
