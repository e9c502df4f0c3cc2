"""Whether the fields that an expression names are present and of their type, checked before it runs."""

from collections.abc import Iterable, Mapping

from plumbline_contracts.datasets import DatasetSchema
from pydantic import JsonValue

_EXACT_TYPES: dict[str, type] = {"bool": bool, "int": int, "string": str, "timestamp": str}


class FieldReader:
    """Reads the named fields of a row: the usable values, and the names of those that are absent or of a wrong type."""

    def __init__(self, schema: DatasetSchema, fields: Iterable[str]) -> None:
        self._schema = schema
        kinds = {name: schema.fields[name].type for name in sorted(fields)}
        self._exact = [(name, _EXACT_TYPES[kind]) for name, kind in kinds.items() if kind in _EXACT_TYPES]
        self._other = [name for name, kind in kinds.items() if kind not in _EXACT_TYPES]

    def read(self, row: Mapping[str, JsonValue], into: dict[str, JsonValue]) -> list[str] | None:
        """Put the usable values into `into`; the unusable names, or None when all are usable."""
        unusable: list[str] | None = None
        for name, expected in self._exact:
            value = row.get(name)
            if type(value) is expected:
                into[name] = value
            else:
                unusable = [*(unusable or ()), name]
        for name in self._other:
            value = row.get(name)
            if value is not None and self._schema.fields[name].accepts(value):
                into[name] = value
            else:
                unusable = [*(unusable or ()), name]
        return unusable
