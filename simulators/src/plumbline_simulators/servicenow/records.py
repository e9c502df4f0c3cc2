"""The tables that are held as lists, and every change to them, with what the platform's audit keeps of it."""

from collections.abc import Mapping
from datetime import UTC, datetime

from plumbline_simulators.servicenow.contents import Row
from plumbline_simulators.servicenow.identity import stamp, sys_id
from plumbline_simulators.servicenow.schema import SYSTEM_COLUMNS, TABLES
from plumbline_simulators.servicenow.seeds import complete

ACTOR = "admin"


class Records:
    """Rows by table and sys_id. A change dates its row and leaves a trace; one that changes nothing does neither."""

    def __init__(self, rows: Mapping[str, list[Row]]) -> None:
        self.tables: dict[str, dict[str, Row]] = {
            table: {row["sys_id"]: row for row in found} for table, found in rows.items()
        }
        self._traces = 0

    def find(self, table: str, label: str) -> Row | None:
        """The row that people know by this label, or that has this sys_id."""
        rows, schema = self.tables.get(table, {}), TABLES[table]
        return rows.get(label) or next((row for row in rows.values() if schema.label(row) == label), None)

    def set(self, table: str, row: Row, column: str, value: str) -> None:
        """Change one cell."""
        if row[column] == value:
            return
        self.trace(table, row["sys_id"], column, row[column], value)
        row |= {column: value, "sys_updated_on": now(), "sys_updated_by": ACTOR}

    def create(self, table: str, cells: Mapping[str, str]) -> Row:
        """Add a row."""
        row = complete(table, cells, now()) | {"sys_updated_by": ACTOR}
        while row["sys_id"] in self.tables[table]:  # a second row of the same name
            row["sys_id"] = sys_id(row["sys_id"])
        self.tables[table][row["sys_id"]] = row
        for column in sorted(set(cells) - set(SYSTEM_COLUMNS)):
            self.trace(table, row["sys_id"], column, "", row[column])
        return row

    def delete(self, table: str, row: Row) -> None:
        """Take a row away. What it was stands in sys_audit_delete."""
        del self.tables[table][row["sys_id"]]
        self.trace_deletion(table, row["sys_id"], TABLES[table].label(row))

    def trace(self, table: str, key: str, column: str, old: str, new: str) -> None:
        """Write to sys_audit, if the dictionary does not say that the table is not audited."""
        if self._is_audited(table):
            self._write("sys_audit", table, key, fieldname=column, oldvalue=old, newvalue=new)

    def trace_deletion(self, table: str, key: str, label: str) -> None:
        """Write to sys_audit_delete, as `trace` does to sys_audit."""
        if self._is_audited(table):
            self._write("sys_audit_delete", table, key, fieldname="DELETED", oldvalue=label, newvalue="DELETED")

    def _is_audited(self, table: str) -> bool:
        entry = self.find("sys_dictionary", table)
        return entry is None or entry["audit"] == "true"

    def _write(self, log: str, table: str, key: str, **cells: str) -> None:
        self._traces += 1
        trace = {"sys_id": f"{self._traces:032x}", "tablename": table, "documentkey": key, "user": ACTOR, **cells}
        self.tables[log][trace["sys_id"]] = complete(log, trace, now())


def now() -> str:
    """The date of a change."""
    return stamp(datetime.now(UTC))
