"""How a dataset's state is said, for every connector alike."""

from datetime import UTC, datetime

from plumbline_contracts.datasets import DatasetSchema
from plumbline_contracts.events import DatasetError, DatasetState, DatasetSummary, MissingField

from plumbline_collector.errors import ReadError

_TABLE_RIGHT = "read ACL on "
"""How a ServiceNow permission names the table that it is about."""


def dataset_error(schema: DatasetSchema, failure: ReadError, permission: str | None = None) -> DatasetError:
    """What failed; with the permission to grant when the product refused."""
    if failure.state is not DatasetState.DENIED:
        return DatasetError(code=failure.code, message=failure.message)
    wanted = permission or schema.permission
    remedy = schema.remedy.replace(schema.permission, wanted)
    if wanted.startswith(_TABLE_RIGHT):
        remedy = remedy.replace(schema.source, wanted.removeprefix(_TABLE_RIGHT))
    return DatasetError(code=failure.code, message=failure.message, permission=wanted, remedy=remedy)


def failed(schema: DatasetSchema, failure: ReadError) -> DatasetSummary:
    """The summary of a dataset that was not read."""
    return DatasetSummary(
        name=schema.name,
        kind=schema.kind,
        state=failure.state,
        source=schema.source,
        error=dataset_error(schema, failure),
        read_at=datetime.now(UTC),
    )


def read(
    schema: DatasetSchema, rows: int, *, reported: int | None = None, missing: list[MissingField] | None = None
) -> DatasetSummary:
    """The summary of a dataset that was read: `ok`, or `truncated` when the product counts more rows than it showed."""
    truncated = reported is not None and rows < reported
    error = DatasetError(
        code="hidden_rows",
        message=f"{rows} of {reported} rows could be read; the others are hidden from the collector's user",
        permission=schema.permission,
        remedy=schema.remedy,
    )
    return DatasetSummary(
        name=schema.name,
        kind=schema.kind,
        state=DatasetState.TRUNCATED if truncated else DatasetState.OK,
        row_count=rows,
        reported_count=reported,
        missing_fields=missing or [],
        source=schema.source,
        error=error if truncated else None,
        read_at=datetime.now(UTC),
    )


def missing_fields(schema: DatasetSchema, fields: list[str], failure: ReadError) -> list[MissingField]:
    """Fields that no row carries because what they are made of could not be read."""
    return [
        MissingField(
            field=field, state=failure.state, error=dataset_error(schema, failure, schema.fields[field].permission)
        )
        for field in fields
    ]
