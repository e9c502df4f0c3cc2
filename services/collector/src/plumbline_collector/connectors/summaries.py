"""How a dataset's state is said, for every connector alike."""

from datetime import UTC, datetime

from plumbline_contracts.datasets import DatasetSchema
from plumbline_contracts.events import DatasetError, DatasetState, DatasetSummary, MissingField

from plumbline_collector.errors import ReadError

_TABLE_RIGHT = "read ACL on "
"""How a ServiceNow permission names the table that it is about."""


def dataset_error(schema: DatasetSchema, failure: ReadError, permission: str | None = None) -> DatasetError:
    """What failed; with the permission to grant when the product refused, or hid some of the rows."""
    if failure.state not in (DatasetState.DENIED, DatasetState.TRUNCATED):
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
    schema: DatasetSchema,
    rows: int,
    *,
    reported: int | None = None,
    missing: list[MissingField] | None = None,
    hidden: ReadError | None = None,
) -> DatasetSummary:
    """The summary of a dataset that was read: `ok`, or `truncated` when rows are hidden.

    They are when the product counts more of them than it showed, or when `hidden` says why some may be.
    """
    if reported is not None and rows < reported:
        message = f"{rows} of {reported} rows could be read; the others are hidden from the collector's user"
        hidden = ReadError(DatasetState.TRUNCATED, "hidden_rows", message)
    return DatasetSummary(
        name=schema.name,
        kind=schema.kind,
        state=DatasetState.TRUNCATED if hidden else DatasetState.OK,
        row_count=rows,
        reported_count=reported,
        missing_fields=missing or [],
        source=schema.source,
        error=dataset_error(schema, hidden) if hidden else None,
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
