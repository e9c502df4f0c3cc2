"""What a dataset's declared sources say: which columns to select, and which fields a column makes. Pure.

The `source` of a field in `contracts/datasets/salesforce.yaml` is read here. `Object.Column` is copied from that
column; `derived from Object.Column, …` is made of them by a function of `datasets`. So no column is read that a field
does not name, and a column that may not be read is traced to the fields that go missing with it.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from plumbline_contracts.datasets import DatasetSchema
from plumbline_contracts.events import Row

from plumbline_collector.connectors.salesforce.cells import at_path, typed_cell

_PATH = r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?![\w.]*\*)"
"""`Column` or `Relation.Column`; not `Permissions*`, which stands for many."""
EMPTY_VALUES: dict[str, str | int] = {"string": "", "int": 0}


class SourceColumns:
    """The columns of one object that the fields of a dataset stand on."""

    def __init__(self, schema: DatasetSchema, api_object: str) -> None:
        self._schema, self.api_object = schema, api_object
        self._named = re.compile(rf"\b{re.escape(api_object)}\.{_PATH}")

    @cached_property
    def of_field(self) -> dict[str, tuple[str, ...]]:
        """Field to the columns that it is made of."""
        found = {name: tuple(self._named.findall(field.source)) for name, field in self._schema.fields.items()}
        return {name: columns for name, columns in found.items() if columns}

    @cached_property
    def copied(self) -> dict[str, str]:
        """Field to column, for the fields that are copied."""
        return {
            name: columns[0]
            for name, columns in self.of_field.items()
            if self._schema.fields[name].source == f"{self.api_object}.{columns[0]}"
        }

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them, each once, in the order of the schema."""
        return tuple(dict.fromkeys(column for columns in self.of_field.values() for column in columns))

    def fields_made_of(self, columns: Iterable[str]) -> list[str]:
        """The fields that need one of these columns."""
        gone = set(columns)
        return [name for name, needed in self.of_field.items() if gone.intersection(needed)]

    def copy(self, record: Mapping[str, Any], empty_for_null: frozenset[str] = frozenset()) -> Row:
        """The copied fields of a record, typed; absent where the record holds nothing of the type.

        A null becomes an empty text or 0 in the fields `empty_for_null`, where it means "none".
        """
        row: Row = {}
        for name, column, kind, is_own in self._copies:
            try:
                value = record[column] if is_own else at_path(record, column)
            except LookupError:
                continue
            if value is not None:
                cell = typed_cell(value, kind)
            else:
                cell = EMPTY_VALUES[kind] if name in empty_for_null else None
            if cell is not None:
                row[name] = cell
        return row

    @cached_property
    def _copies(self) -> list[tuple[str, str, str, bool]]:
        """Field, column, type, and whether the column is one of the object itself, of what is copied."""
        fields = self._schema.fields
        return [(name, column, fields[name].type, "." not in column) for name, column in self.copied.items()]
