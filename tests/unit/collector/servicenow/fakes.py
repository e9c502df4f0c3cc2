"""An instance in memory: tables of rows that answer encoded queries as the Table API does, traps included."""

import re
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from plumbline_collector.budget import CallBudget
from plumbline_collector.connections import Connection
from plumbline_collector.connectors.servicenow.client import ServiceNowClient
from plumbline_collector.errors import ReadError
from plumbline_contracts.events import DatasetState, Row

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
ADMIN = "6816f79cc0a8016401c5a33be04be441"
CONNECTION = Connection.model_validate(
    {
        "tenant": "contoso",
        "instance": "it",
        "product": "servicenow",
        "url": "https://contoso.service-now.com",
        "auth": {"method": "basic", "username": "plumbline", "password": {"env": "UNUSED"}},
    }
)
Cells = dict[str, str]
_PART = re.compile(r"^([a-z_.]+?)(ISEMPTY|STARTSWITH|ENDSWITH|IN|>=|=|>)(.*)$", re.DOTALL)


def sys_id(number: int) -> str:
    return f"{number:032x}"


def denied(detail: str = "No permission to read table") -> ReadError:
    return ReadError(DatasetState.DENIED, "http_403", f"Insufficient rights to query records ({detail})")


def unsupported() -> ReadError:
    return ReadError(DatasetState.UNSUPPORTED, "http_400", "Invalid table")


class FakeInstance(ServiceNowClient):
    """A client whose instance is in memory. A table that is not named has no rows and answers so."""

    def __init__(self, tables: dict[str, list[Cells]] | None = None) -> None:
        super().__init__(CONNECTION, CallBudget(1.0))
        self.tables = dict(tables or {})
        self.refusals: dict[str, ReadError] = {}
        self.hidden: set[str] = set()
        self.is_ordered, self.tells_total, self.counts_hidden, self.knows_ranges = True, True, True, True
        self.ignores: set[str] = set()
        self.calls: Counter[str] = Counter()
        self.queries: list[str] = []

    async def authenticate(self) -> None:
        return None

    async def page(
        self, table: str, query: str, fields: str, size: int, offset: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        for usage in self._usages():
            usage.calls += 1
        self.calls[table] += 1
        self.queries.append(query)
        if refusal := self.refusals.get(table):
            raise refusal
        if not self.knows_ranges and (">" in query or "ORDERBY" in query):
            raise denied("Field(s) present in the query do not have permission to be read")
        found = self._matching(table, query)
        page = [row for row in found[offset : offset + size] if row["sys_id"] not in self.hidden]
        visible = len([row for row in found if row["sys_id"] not in self.hidden])
        total = len(found) if self.counts_hidden else visible
        wanted = fields.split(",")
        shown = [{name: row[name] for name in wanted if name in row} for row in page]
        return shown, total if self.tells_total else None

    def _matching(self, table: str, query: str) -> list[Cells]:
        rows = self.tables.get(table, [])
        columns = {name for row in rows for name in row}
        groups: list[list[tuple[str, str, str]]] = []
        newest_first = False
        for part in query.split("^"):
            newest_first = newest_first or part.startswith("ORDERBYDESC")
            match = _PART.match(part.removeprefix("OR"))
            if match is None or part.startswith("ORDERBY") or match[1] not in columns or match[1] in self.ignores:
                continue
            if part.startswith("OR") and groups:
                groups[-1].append((match[1], match[2], match[3]))
            else:
                groups.append([(match[1], match[2], match[3])])
        found = [row for row in rows if all(any(_fits(row, *test) for test in group) for group in groups)]
        if newest_first:
            column = query.rpartition("ORDERBYDESC")[2]
            return sorted(found, key=lambda row: row.get(column, ""), reverse=True)
        return sorted(found, key=lambda row: row["sys_id"]) if self.is_ordered and "ORDERBY" in query else found


def _fits(row: Cells, column: str, operator: str, value: str) -> bool:
    cell = row.get(column, "")
    match operator:
        case "=":
            return cell == value
        case "IN":
            return cell in value.split(",")
        case "ENDSWITH":
            return cell.lower().endswith(value.lower())
        case "STARTSWITH":
            return cell.startswith(value)
        case "ISEMPTY":
            return cell == ""
        case ">=":
            return cell >= value
        case _:
            return cell > value


class Rows:
    """A sink that keeps rows."""

    def __init__(self) -> None:
        self.found: dict[str, list[Row]] = {}

    def add(self, dataset: str, rows: list[Row]) -> None:
        self.found.setdefault(dataset, []).extend(rows)


def small_instance() -> FakeInstance:
    """One row of everything that is never empty; one user, who is administrator."""
    user = {
        "sys_id": ADMIN, "user_name": "ann", "active": "true", "locked_out": "false",
        "last_login_time": "2026-11-14 08:59:00", "sys_created_on": "2025-11-24 09:00:00",
        "web_service_access_only": "false", "internal_integration_user": "false", "identity_type": "Human",
        "sso_source": "", "source": "", "federated_id": "", "failed_attempts": "0",
        "enable_multifactor_authn": "false", "password_needs_reset": "false",
    }  # fmt: skip
    role = {"state": "active", "user.user_name": "ann", "user.active": "true", "user": ADMIN}
    return FakeInstance(
        {
            "sys_properties": [
                property_row(1, "glide.war", "glide-zurich-07-01-2025__patch6-hotfix1-10-25-2026"),
                property_row(2, "glide.ui.session_timeout", "30"),
            ],
            "v_plugin": [plugin_row(1, "com.glide.high_security", "active")],
            "sys_user": [user],
            "sys_user_role": [
                {"sys_id": sys_id(1), "name": "security_admin", "elevated_privilege": "true", "assignable_by": ""}
            ],
            "sys_user_has_role": [{"sys_id": sys_id(1), "role.name": "admin", **role}],
            "sys_security_acl": [acl_row(1, "incident", script="answer = false;")],
            "sys_public": [{"sys_id": sys_id(1), "page": "login", "active": "true"}],
        }
    )


def property_row(number: int, name: str, value: str, **cells: str) -> Cells:
    base = {"type": "string", "read_roles": "admin", "write_roles": "security_admin", "private": "false"}
    dates = {"sys_scope": "global", "sys_updated_on": "2026-03-12 08:11:02", "sys_updated_by": "system"}
    return {"sys_id": sys_id(number), "name": name, "value": value, **base, **dates, **cells}


def plugin_row(number: int, identity: str, active: str, **cells: str) -> Cells:
    base = {"name": identity, "version": "1.0.0", "available_version": ""}
    return {"sys_id": sys_id(number), "id": identity, "active": active, **base, **cells}


def acl_row(number: int, name: str, **cells: str) -> Cells:
    base = {"type": "record", "operation": "read", "active": "true", "condition": "", "script": ""}
    more = {"admin_overrides": "true", "decision_type": "allow", "security_attribute": ""}
    return {"sys_id": sys_id(number), "name": name, **base, **more, **cells}
