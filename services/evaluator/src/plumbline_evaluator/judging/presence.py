"""Whether the fields that an expression names are present and of their type, checked before it runs."""

from collections.abc import Iterable, Mapping
from operator import itemgetter

from plumbline_contracts.datasets import DatasetSchema
from pydantic import JsonValue

_EXACT_TYPES: dict[str, type] = {"bool": bool, "int": int, "string": str, "timestamp": str}


class FieldReader:
    """Reads the named fields of a row: the usable values, and the names of those that are absent or of a wrong type."""

    def __init__(self, schema: DatasetSchema, fields: Iterable[str]) -> None:
        self._schema = schema
        kinds = {name: schema.fields[name].type for name in sorted(fields)}
        self._exact = [(name, _EXACT_TYPES[kind]) for name, kind in kinds.items() if kind in _EXACT_TYPES]
        self._names = [name for name, _ in self._exact]
        self._types = [expected for _, expected in self._exact]
        self._all_exact = itemgetter(*self._names) if len(self._names) > 1 else None
        self._other = [name for name, kind in kinds.items() if kind not in _EXACT_TYPES]

    def read(self, row: Mapping[str, JsonValue], into: dict[str, JsonValue]) -> list[str] | None:
        """Put the usable values into `into`; the unusable names, or None when all are usable."""
        unusable = [] if self._read_whole(row, into) else self._read_each(row, into)
        for name in self._other:
            value = row.get(name)
            if value is not None and self._schema.fields[name].accepts(value):
                into[name] = value
            else:
                unusable.append(name)
        return unusable or None

    def _read_whole(self, row: Mapping[str, JsonValue], into: dict[str, JsonValue]) -> bool:
        """Take all fields with an exact type at once; False, and nothing taken, when any is unusable."""
        if self._all_exact is None:
            return False
        try:
            values = self._all_exact(row)
        except KeyError:
            return False
        if list(map(type, values)) != self._types:
            return False
        into.update(zip(self._names, values, strict=True))
        return True

    def _read_each(self, row: Mapping[str, JsonValue], into: dict[str, JsonValue]) -> list[str]:
        unusable = []
        for name, expected in self._exact:
            value = row.get(name)
            if type(value) is expected:
                into[name] = value
            else:
                unusable.append(name)
        return unusable
