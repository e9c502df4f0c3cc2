"""Columns whose names no page of the vendor gives: they are read only if sys_dictionary says that they exist.

The documentation shows the labels of the form; sys_dictionary tells which column of the instance has that label.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from plumbline_collector.connectors.servicenow.values import filled

LABELS: dict[str, dict[str, tuple[str, ...]]] = {
    "oauth_entity": {
        "token_restriction": ("enforce token restrictions", "enforce token restriction"),
        "client_type": ("client type",),
    },
    "sys_cors_rule": {"domain": ("domain",), "api": ("rest api",)},
    "sys_rate_limit_rules": {
        "api": ("rest api", "api"),
        "path": ("rest api path", "rest resource"),
        "resource": ("rest api resource",),
    },
    "pwd_cred_store": {"is_policy_enabled": ("enable password policy",)},
    "password_policy": {
        "minimum": ("minimum password length", "minimum length", "min length"),
        "maximum": ("maximum password length", "maximum length", "max length"),
    },
    "sys_store_app": {"latest_version": ("latest version", "latest_version")},
}
"""Table, what we call the column, and the labels or names by which it is known, in lower case."""


@dataclass(frozen=True)
class Columns:
    """The columns that an instance has for what the documentation only labels."""

    found: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def name(self, table: str, meaning: str) -> str | None:
        """The column's name; None when the instance has none, or does not say."""
        return self.found.get((table, meaning))

    def of(self, table: str) -> str:
        """The known columns of a table, as a list of fields names them."""
        return ",".join(name for (owner, _), name in self.found.items() if owner == table)

    def cell(self, row: Mapping[str, Any], table: str, meaning: str) -> Mapping[str, Any]:
        """The cell under the name `value`, for the readers of `values`; an empty row when the column is not known."""
        name = self.name(table, meaning)
        return {"value": row[name]} if name is not None and name in row else {}


class DictionaryReader:
    """Takes rows of sys_dictionary and finds the columns."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], str] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """One row: table, column, label."""
        table, element = filled(row, "name"), filled(row, "element")
        if table is None or element is None:
            return
        known = {(filled(row, "column_label") or "").lower(), element.lower()}
        for meaning, labels in LABELS.get(table, {}).items():
            if known & set(labels):
                self._found.setdefault((table, meaning), element)

    def columns(self) -> Columns:
        """What was found."""
        return Columns(dict(self._found))
