"""The Aggregate API: counts and extremes over rows, for all of them or by group."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from plumbline_simulators.servicenow.selection import Database

_FUNCTIONS: dict[str, Callable[[list[str]], str]] = {
    "min": lambda values: min(values, default=""),
    "max": lambda values: max(values, default=""),
    "sum": lambda values: str(sum(_amounts(values))),
    "avg": lambda values: f"{sum(_amounts(values)) / len(_amounts(values)):.4f}" if _amounts(values) else "",
}


def _amounts(values: list[str]) -> list[int]:
    return [int(value) for value in values if value.isdecimal()]


def aggregate(database: Database, table: str, found: Sequence[int], query: Mapping[str, str]) -> Any:  # noqa: ANN401
    """The `result` of an aggregate: one object, or a list with one for each group."""
    grouping = [field for field in query.get("sysparm_group_by", "").split(",") if database.knows(table, field)]
    if not grouping:
        return {"stats": _stats(database, table, found, query)}
    read = [database.reader(table, field) for field in grouping]
    groups: dict[tuple[str, ...], array[int]] = {}
    for number in found:
        groups.setdefault(tuple([cell(number) for cell in read]), array("I")).append(number)
    return [
        {
            "stats": _stats(database, table, members, query),
            "groupby_fields": [{"field": field, "value": value} for field, value in zip(grouping, values, strict=True)],
        }
        for values, members in sorted(groups.items())
    ]


def _stats(database: Database, table: str, found: Sequence[int], query: Mapping[str, str]) -> dict[str, Any]:
    stats: dict[str, Any] = {"count": str(len(found))} if query.get("sysparm_count") == "true" else {}
    for name, function in _FUNCTIONS.items():
        fields = [f for f in query.get(f"sysparm_{name}_fields", "").split(",") if f and database.knows(table, f)]
        values = {field: [v for v in map(database.reader(table, field), found) if v] for field in fields}
        if values:
            stats[name] = {field: function(cells) for field, cells in values.items()}
    return stats
