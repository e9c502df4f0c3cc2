"""Rows as the Table API shows them: raw or for people, references with or without a link, withheld columns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from plumbline_simulators.servicenow.access import AccessRules, ColumnAccess
from plumbline_simulators.servicenow.identity import stamp
from plumbline_simulators.servicenow.schema import DATES, TABLES
from plumbline_simulators.servicenow.selection import Database

Cell = Callable[[int], Any]
_USERS_ZONE = timedelta(hours=-7)
_ELSEWHERE = {"global": "Global"}


@dataclass(frozen=True)
class Wanted:
    """How the caller wants values: `display` is false, true or all."""

    base_url: str
    display: str
    exclude_links: bool

    @classmethod
    def of(cls, base_url: str, query: Mapping[str, str]) -> "Wanted":
        """What the parameters of a request say."""
        exclude_links = query.get("sysparm_exclude_reference_link") == "true"
        return cls(base_url, query.get("sysparm_display_value", "false"), exclude_links)


class Renderer:
    """Shows the rows of one table to the integration user."""

    def __init__(self, database: Database, rules: AccessRules, table: str, wanted: Wanted) -> None:
        self._database, self._rules, self._table, self._wanted = database, rules, table, wanted

    def cells(self, fields: list[str]) -> dict[str, Cell]:
        """How to show each field. Fields that do not exist, or may not be seen at all, are left out."""
        known = [field for field in fields if self._database.knows(self._table, field)]
        withheld = {field: withheld_as(self._database, self._rules, self._table, field) for field in known}
        return {
            field: self._cell(field) if withheld[field] is None else lambda _: ""
            for field in known
            if withheld[field] != "drop"
        }

    def _cell(self, field: str) -> Cell:
        read = self._database.reader(self._table, field)
        owner, column = self._database.owner(self._table, field)
        target = TABLES[owner].references.get(column)
        if target:
            return lambda number: self._reference(target, read(number))
        show = for_people if column in DATES else str
        match self._wanted.display:
            case "true":
                return lambda number: show(read(number))
            case "all":
                return lambda number: {"display_value": show(read(number)), "value": read(number)}
        return read

    def _reference(self, target: str, key: str) -> Any:  # noqa: ANN401 - text or an object
        wanted = self._wanted
        link = {} if wanted.exclude_links or not key else {"link": f"{wanted.base_url}/api/now/table/{target}/{key}"}
        match wanted.display:
            case "all":
                return {"display_value": self._name(target, key), "value": key, **link}
            case "true":
                name = self._name(target, key)
                return {"display_value": name, **link} if link else name
        return {**link, "value": key} if link else key

    def _name(self, target: str, key: str) -> str:
        content = self._database.tables.get(target)
        number = content.number_of(key) if content else None
        if content is None or number is None:
            return _ELSEWHERE.get(key, key)
        return content.schema.label(content.row(number))


def for_people(date: str) -> str:
    """A date in the user's own time zone, as display values have it."""
    return stamp(datetime.fromisoformat(date) + _USERS_ZONE) if date else ""


def withheld_as(database: Database, rules: AccessRules, table: str, path: str) -> ColumnAccess | None:
    """How a column, dot-walked or not, is withheld: for itself, or as part of a table that may not be read."""
    owner, column = database.owner(table, path)
    return "blank" if owner != table and rules.refusal(owner) else rules.column(owner, column)
