"""Answering a query as the API does: what is refused in which words, and what is selected."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from plumbline_simulators.salesforce import soql
from plumbline_simulators.salesforce.entity import Entity
from plumbline_simulators.salesforce.org import ENTITY_BEHIND, Org
from plumbline_simulators.salesforce.selection import Selection, grouped
from plumbline_simulators.tables import Row

PAGE = 2000
MAX_OFFSET = 2000
MAX_URI_BYTES = 16_384
PAGES = {"TwoFactorMethodsInfo": 500, "OauthToken": 500}
CAPS = {"TwoFactorMethodsInfo": 2500, "OauthToken": 2500}
_NOT_FILTERABLE = {"LoginHistory": frozenset({"Status", "Application"})}
_NOT_JOINABLE = "TwoFactorMethodsInfo"
_ONE_ROW = frozenset({"Metadata", "FullName"})
_NO_SUCH_COLUMN = (
    "No such column '{column}' on entity '{entity}'. If you are attempting to use a custom field, be sure to append "
    "the '__c' after the custom field name. Please reference your WSDL or the describe call for the appropriate names."
)
_NO_SUCH_TYPE = (
    "sObject type '{name}' is not supported. If you are attempting to use a custom object, be sure to append the "
    "'__c' after the entity name. Please reference your WSDL or the describe call for the appropriate names."
)


class RefusedQueryError(Exception):
    """A query that the API refuses: its code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


@dataclass
class Result:
    """What a query found. `selection` is None for COUNT() and for groups, whose records are in `records`."""

    query: soql.Query
    name: str
    total: int
    is_tooling: bool
    selection: Selection | None = None
    records: tuple[Row, ...] = ()

    @property
    def readable(self) -> int:
        """How many rows paging gives: some objects end silently."""
        return min(self.total, CAPS.get(self.name, self.total))


def ask(org: Org, text: str, *, tooling: bool) -> Result:
    """Run a query. Raises RefusedQueryError."""
    try:
        query = soql.parse(text)
    except soql.MalformedQueryError as error:
        raise RefusedQueryError("MALFORMED_QUERY", str(error)) from error
    entity = _entity(org, query.text, query.name, tooling=tooling)
    query = _resolved(org, replace(query, name=entity.name), entity, tooling=tooling)
    _refuse_unreadable(query, entity)
    if query.is_grouped:
        records = grouped(entity, query)
        shown = tuple({"attributes": {"type": "AggregateResult"}} | _cells(record) for record in records)
        return Result(query, entity.name, len(records), tooling, records=shown)
    selection = Selection(entity, query)
    if not query.items:
        return Result(query, entity.name, selection.total, tooling)
    if selection.total != 1 and _ONE_ROW & {item.path for item in query.items}:
        message = "When retrieving results with Metadata or FullName fields, the query qualifications must specify no more than one row for retrieval."  # noqa: E501
        raise RefusedQueryError("MALFORMED_QUERY", message)
    return Result(query, entity.name, selection.total, tooling, selection)


def _entity(org: Org, text: str, name: str, *, tooling: bool) -> Entity:
    entity = org.object(name, tooling=tooling)
    if entity is None:
        raise RefusedQueryError("INVALID_TYPE", _at(text, name, _NO_SUCH_TYPE.format(name=name)))
    return entity


def _at(text: str, word: str, message: str) -> str:
    return soql.pointed(text, max(0, text.find(word)), message)


def _resolved(org: Org, query: soql.Query, entity: Entity, *, tooling: bool) -> soql.Query:
    """The query with every column as the object spells it and every semi-join as the values it stands for."""
    spelled = {column.lower(): column for column in entity.columns}

    def column(path: str) -> str:
        known = spelled.get(path.lower())
        if known is None:
            raise RefusedQueryError("INVALID_FIELD", _at(query.text, path, _unknown(entity, path)))
        return known

    def condition(part: soql.Condition) -> soql.Condition:
        match part:
            case soql.Comparison(path=path) | soql.Membership(path=path):
                return replace(part, path=column(path))
            case soql.SemiJoin():
                return _joined(org, query, part, column(part.path), tooling=tooling)
            case soql.Negation(part=inner):
                return soql.Negation(condition(inner))
            case soql.Junction():
                return replace(part, parts=tuple(condition(inner) for inner in part.parts))

    return replace(
        query,
        items=tuple(replace(item, path=column(item.path)) for item in query.items),
        where=condition(query.where) if query.where else None,
        group=tuple(column(path) for path in query.group),
        order=tuple(replace(ordering, path=column(ordering.path)) for ordering in query.order),
    )


def _unknown(entity: Entity, path: str) -> str:
    """Why a column is not known: the relationship before it, or its last step."""
    *relations, last = path.split(".")
    behind, known = entity.name, {column.lower() for column in entity.columns}
    for step, relation in enumerate(relations):
        prefix = ".".join(relations[: step + 1]).lower() + "."
        if not any(column.startswith(prefix) for column in known):
            return (
                f"Didn't understand relationship '{relation}' in field path. If you are attempting to use a custom "
                "relationship, be sure to append the '__r' after the custom relationship name. Please reference your "
                "WSDL or the describe call for the appropriate names."
            )
        behind = ENTITY_BEHIND.get(relation, relation)
    return _NO_SUCH_COLUMN.format(column=last, entity=behind)


def _joined(org: Org, query: soql.Query, part: soql.SemiJoin, path: str, *, tooling: bool) -> soql.Condition:
    if _NOT_JOINABLE in (query.name, part.name):
        message = f"Entity '{_NOT_JOINABLE}' is not supported for semi join inner selects"
        raise RefusedQueryError("MALFORMED_QUERY", _at(query.text, part.name, message))
    inner = _entity(org, query.text, part.name, tooling=tooling)
    asked = soql.Query(query.text, inner.name, (soql.Item(part.field),), part.where)
    asked = _resolved(org, asked, inner, tooling=tooling)
    return soql.Membership(path, tuple(Selection(inner, asked).values(asked.items[0].path)))


def _refuse_unreadable(query: soql.Query, entity: Entity) -> None:
    """What the object or the API does not allow. Raises RefusedQueryError."""
    if query.offset > MAX_OFFSET:
        raise RefusedQueryError("NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000")
    for path in soql.paths(query.where):
        if path in _NOT_FILTERABLE.get(entity.name, ()):
            message = f"field '{path}' can not be filtered in a query call"
            raise RefusedQueryError("INVALID_FIELD", _at(query.text, path, message))
    for item in query.items:
        if item.function and entity.name == "SetupAuditTrail":
            message = f"field {item.path} does not support aggregate operator {item.function}"
            raise RefusedQueryError("MALFORMED_QUERY", _at(query.text, item.function, message))
        if item.function is None and query.is_grouped and item.path not in query.group:
            message = f"Field must be grouped or aggregated: {item.path}"
            raise RefusedQueryError("MALFORMED_QUERY", _at(query.text, item.path, message))


def records(rows: Iterable[Row], result: Result, root: str) -> Iterator[Row]:
    """Rows as the API shows them: the selected columns, related records nested, null where there is none."""
    paths = [item.path.split(".") for item in result.query.items]
    for row in rows:
        record = _record(result.name, row, root)
        for steps in paths:
            _put(record, row, steps, root)
        yield record


def _record(name: str, row: Row, root: str) -> Row:
    identity = row.get("Id", "000000000000000AAA")
    return {"attributes": {"type": name, "url": f"{root}/sobjects/{name}/{identity}"}}


def _put(record: Row, row: Row, steps: list[str], root: str) -> None:
    for step in steps[:-1]:
        related = row.get(step)
        if related is None:
            record[step] = None
            return
        record = record.setdefault(step, _record(ENTITY_BEHIND.get(step, step), related, root))
        row = related
    record[steps[-1]] = _cell(row.get(steps[-1]))


def _cells(row: Row) -> Row:
    return {name: _cell(value) for name, value in row.items()}


def _cell(value: Any) -> Any:  # noqa: ANN401 - any cell
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    return value.isoformat() if isinstance(value, date) else value


def page_size(options: str, name: str, largest: int) -> int:
    """How many rows a page has: what `Sforce-Query-Options` asks for within 200 to 2,000, at most `largest`."""
    asked = options.partition("batchSize=")[2].split(",")[0].strip()
    wanted = min(max(int(asked), 200), PAGE) if asked.isdigit() else PAGE
    return min(wanted, largest, PAGES.get(name, PAGE))
