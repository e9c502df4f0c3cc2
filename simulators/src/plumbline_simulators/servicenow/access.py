"""What the integration user may read: whole tables, rows, columns, and how it may search."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Access = Literal["allow", "deny", "insufficient", "elevated", "trim"]
"""A table is readable; refused in one of three ways; or readable with some rows missing and nothing said of it."""
ColumnAccess = Literal["blank", "drop"]
"""A column that may not be read comes as "" or not at all."""

TABLE_ACCESS: tuple[Access, ...] = ("allow", "deny", "insufficient", "elevated", "trim")
COLUMN_ACCESS: tuple[ColumnAccess, ...] = ("blank", "drop")
_HIDDEN_PROPERTIES = ("glide.basicauth.", "glide.soap.")
_HIDDEN_EVERY, _HIDDEN_REST = 3, 1

UNREADABLE_FIELDS = "Field(s) present in the query do not have permission to be read"
_REFUSALS: dict[Access, tuple[str, str | None]] = {
    "deny": ("Operation Failed", "ACL Exception Query Failed due to security constraints"),
    "insufficient": ("Insufficient rights to query records", "No permission to read table '{table}'"),
    "elevated": ("User Not Authorized", None),
}


@dataclass
class AccessRules:
    """The rights of the integration user. What is not named may be read."""

    tables: dict[str, Access] = field(default_factory=dict)
    columns: dict[str, ColumnAccess] = field(default_factory=dict)
    without_range: set[str] = field(default_factory=set)

    def refusal(self, table: str) -> tuple[str, str | None] | None:
        """Message and detail of the refusal to read a table; None when it may be read."""
        found = _REFUSALS.get(self.tables.get(table, "allow"))
        return (found[0], found[1].format(table=table) if found[1] else None) if found else None

    def column(self, table: str, path: str) -> ColumnAccess | None:
        """How a column of a table is withheld; None when it is not."""
        return self.columns.get(f"{table}.{path}")

    def hides(self, table: str, number: int, read: Callable[[str], str]) -> bool:
        """Whether a row is trimmed away. Of properties those that protect interfaces are, else one row in three."""
        if self.tables.get(table) != "trim":
            return False
        if table == "sys_properties":
            return read("name").startswith(_HIDDEN_PROPERTIES)
        return number % _HIDDEN_EVERY == _HIDDEN_REST
