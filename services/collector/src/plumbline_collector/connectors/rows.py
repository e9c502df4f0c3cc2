"""From a product's rows to the sink: typed, counted, and with the fields noted that no row carried."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from plumbline_contracts.datasets import DatasetSchema
from plumbline_contracts.events import DatasetState, DatasetSummary, MissingField, Row

from plumbline_collector.connectors import summaries
from plumbline_collector.connectors.ports import DatasetSink
from plumbline_collector.errors import ReadError

T = TypeVar("T")

NOT_AS_DOCUMENTED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What a row that breaks the vendor's documentation raises while it is read."""


def typed(make: Callable[[Mapping[str, Any]], T], records: Iterable[Mapping[str, Any]]) -> list[T]:
    """`make` over all records. Raises ReadError (error) for this dataset alone when one is not as documented."""
    try:
        return [make(record) for record in records]
    except NOT_AS_DOCUMENTED as error:
        message = f"a row is not as the product documents it ({type(error).__name__})"
        raise ReadError(DatasetState.ERROR, "broken_answer", message) from error


class RowWriter:
    """Hands the rows of one dataset to the sink page by page; holds none of them."""

    def __init__(self, schema: DatasetSchema, sink: DatasetSink) -> None:
        self._schema, self._sink = schema, sink
        self._unseen = set(schema.fields)
        self.count = 0

    def write(self, make: Callable[[Mapping[str, Any]], Row], records: Iterable[Mapping[str, Any]]) -> None:
        """Hand over one page. Raises ReadError as `typed` does."""
        rows = typed(make, records)
        self.count += len(rows)
        self._unseen = {name for name in self._unseen if all(row.get(name) is None for row in rows)}
        if rows:
            self._sink.add(self._schema.name, rows)

    def summary(
        self,
        *,
        reported: int | None = None,
        missing: Iterable[MissingField] = (),
        hidden: ReadError | None = None,
    ) -> DatasetSummary:
        """What was written. `missing` is known already; a field that no row carried is said to be withheld."""
        known = {field.field: field for field in missing}
        unseen = [name for name in self._schema.fields if name in self._unseen and name not in known]
        if self.count and unseen:
            message = f"no row of {self._schema.source} shows it to the collector's user"
            failure = ReadError(DatasetState.DENIED, "no_value", message)
            known |= {field.field: field for field in summaries.missing_fields(self._schema, unseen, failure)}
        return summaries.read(self._schema, self.count, reported=reported, missing=list(known.values()), hidden=hidden)

    def failed(self, failure: ReadError) -> DatasetSummary:
        """The dataset could not be read to its end; the rows that were handed over stay."""
        return summaries.failed(self._schema, failure).model_copy(update={"row_count": self.count})
