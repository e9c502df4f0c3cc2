"""Which ServiceNow tables give which datasets."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from plumbline_contracts.datasets import datasets as schemas_of
from plumbline_contracts.events import AuditEntry, DatasetState, DatasetSummary, MissingField, Product

from plumbline_collector.connectors import summaries
from plumbline_collector.connectors.ports import ChangeMarker, CollectionReport, DatasetSink
from plumbline_collector.connectors.servicenow import datasets
from plumbline_collector.connectors.servicenow.client import ServiceNowClient, TableRow
from plumbline_collector.errors import ReadError

SCHEMAS = schemas_of(Product.SERVICENOW)
BUILD_PROPERTIES = ("glide.war", "glide.buildtag.last")
NAMES_PER_QUERY = 100
SCRIPT_ACTIONS = ("5e44f9bf0a0a0a0a019a6440b2137767", "d92636b2975301008e00958e3b297567")

PROPERTY_FIELDS = "sys_id,name,value,sys_updated_on,sys_updated_by"
PLUGIN_FIELDS = "sys_id,id,source,name,active,version"
USER_FIELDS = (
    "sys_id,user_name,locked_out,last_login_time,web_service_access_only,internal_integration_user,identity_type,"
    "sso_source,sys_created_on"
)
ROLE_QUERY = f"role.nameIN{','.join(datasets.PRIVILEGED_ROLES)}^state=active"
WATCHED = ("sys_properties", "sysevent_script_action")


@cache
def names(file: str) -> tuple[str, ...]:
    """The names in a list that ships with the package, one a line; `#` begins a comment."""
    lines = (Path(__file__).parent / file).read_text(encoding="utf-8").splitlines()
    return tuple(line for line in map(str.strip, lines) if line and not line.startswith("#"))


def _in_groups(wanted: tuple[str, ...]) -> Iterator[str]:
    for start in range(0, len(wanted), NAMES_PER_QUERY):
        yield ",".join(wanted[start : start + NAMES_PER_QUERY])


class ServiceNowConnector:
    """Reads one instance."""

    product = Product.SERVICENOW

    def __init__(self, client: ServiceNowClient) -> None:
        self._client = client
        self._changes: list[AuditEntry] = []
        self._build: dict[str, str] = {}

    async def collect(self, sink: DatasetSink, started_at: datetime) -> CollectionReport:
        """Read every dataset. See `ports.Connector`."""
        await self._client.authenticate()
        properties = await self._reading("system_properties", self._properties, sink)
        found = [self._instance(sink, properties), properties]
        found.append(await self._reading("plugins", self._plugins, sink))
        found.append(await self._reading("script_actions", self._script_actions, sink))
        found.append(await self._users(sink, started_at))
        newest = sorted(self._changes, key=lambda entry: entry.at, reverse=True)[:50]
        return CollectionReport(found, newest, self._build.get("glide.war"))

    async def check(self) -> list[DatasetSummary]:
        """Try a row of every table. See `ports.Connector`."""
        await self._client.authenticate()
        found = [await self._probe(name, SCHEMAS[name].source, "") for name in ("instance", "system_properties")]
        found.append(await self._probe("plugins", "v_plugin", ""))
        found.append(await self._probe("script_actions", "sysevent_script_action", ""))
        missing: list[MissingField] = []
        for fields, table in (
            (datasets.ROLE_FIELDS, "sys_user_has_role"),
            (datasets.MFA_FIELDS, "user_multifactor_auth"),
        ):
            try:
                await self._client.page(table, "", "sys_id", 1, 0)
            except ReadError as failure:
                missing += summaries.missing_fields(SCHEMAS["users"], fields, failure)
        users = await self._probe("users", "sys_user", "active=true")
        found.append(users.model_copy(update={"missing_fields": missing if users.state is DatasetState.OK else []}))
        return found

    async def latest_change(self) -> ChangeMarker:
        """The newest `sys_updated_on` of the settings tables, and how many rows they have (a deletion moves it)."""
        marks = []
        for table in WATCHED:
            try:
                rows, total = await self._client.page(table, "ORDERBYDESCsys_updated_on", "sys_id,sys_updated_on", 1, 0)
            except ReadError as failure:
                if failure.state is not DatasetState.DENIED:
                    raise
                rows, total = [], None
            marks.append(f"{rows[0].get('sys_updated_on') if rows else '-'}/{total}")
        return ChangeMarker(" ".join(marks))

    async def _probe(self, name: str, table: str, query: str) -> DatasetSummary:
        try:
            rows, _ = await self._client.page(table, query, "sys_id", 1, 0)
        except ReadError as failure:
            return summaries.failed(SCHEMAS[name], failure)
        if not rows and name != "script_actions":
            return summaries.failed(SCHEMAS[name], _empty(table))
        return summaries.read(SCHEMAS[name], 1)

    async def _reading(
        self, name: str, read: Callable[[DatasetSink], Awaitable[DatasetSummary]], sink: DatasetSink
    ) -> DatasetSummary:
        try:
            return await read(sink)
        except ReadError as failure:
            return summaries.failed(SCHEMAS[name], failure)

    async def _all(self, table: str, query: str, fields: str) -> tuple[list[TableRow], int]:
        """All rows of a small selection, and how many the instance counts."""
        pages = await self._client.rows(table, query, fields)
        rows = [row async for page in pages for row in page]
        return rows, max(pages.reported or 0, len(rows))

    async def _properties(self, sink: DatasetSink) -> DatasetSummary:
        count = reported = 0
        for group in _in_groups((*BUILD_PROPERTIES, *names("property_names.txt"))):
            rows, total = await self._all("sys_properties", f"nameIN{group}", PROPERTY_FIELDS)
            sink.add("system_properties", [datasets.system_property(row) for row in rows])
            self._remember(rows)
            count, reported = count + len(rows), reported + total
        if not count:
            raise _empty("sys_properties")
        return summaries.read(SCHEMAS["system_properties"], count, reported=reported)

    def _remember(self, rows: list[TableRow]) -> None:
        for row in rows:
            if row.get("name") in BUILD_PROPERTIES:
                self._build[str(row["name"])] = str(row.get("value", ""))
            at = datasets.moment(row.get("sys_updated_on"))
            if at is not None:
                actor, name = str(row.get("sys_updated_by") or "unknown"), str(row.get("name"))
                self._changes.append(AuditEntry(at=at, actor=actor, action=name, section="sys_properties"))

    def _instance(self, sink: DatasetSink, properties: DatasetSummary) -> DatasetSummary:
        schema = SCHEMAS["instance"]
        if not self._build:
            error = properties.error
            failure = ReadError(
                properties.state if properties.error else DatasetState.DENIED,
                error.code if error else "hidden_rows",
                error.message if error else "the properties that name the build could not be read",
            )
            return summaries.failed(schema, failure)
        sink.add("instance", [datasets.instance(self._build)])
        return summaries.read(schema, 1)

    async def _plugins(self, sink: DatasetSink) -> DatasetSummary:
        group = ",".join(names("plugin_ids.txt"))
        try:
            rows, total = await self._all("v_plugin", f"idIN{group}", PLUGIN_FIELDS)
        except ReadError as failure:
            if failure.state is not DatasetState.UNSUPPORTED:
                raise
            rows, total = await self._all("sys_plugins", f"sourceIN{group}", PLUGIN_FIELDS)
        if not total:
            raise _empty("v_plugin")
        sink.add("plugins", [datasets.plugin(row) for row in rows])
        return summaries.read(SCHEMAS["plugins"], len(rows), reported=total)

    async def _script_actions(self, sink: DatasetSink) -> DatasetSummary:
        query = f"sys_idIN{','.join(SCRIPT_ACTIONS)}"
        rows, total = await self._all("sysevent_script_action", query, "sys_id,name,active")
        sink.add("script_actions", [datasets.script_action(row) for row in rows])
        return summaries.read(SCHEMAS["script_actions"], len(rows), reported=total)

    async def _users(self, sink: DatasetSink, started_at: datetime) -> DatasetSummary:
        schema, known, count = SCHEMAS["users"], datasets.KnownOfUsers(), 0
        try:
            missing = await self._joins(known)
            pages = await self._client.rows("sys_user", "active=true", USER_FIELDS)
            async for rows in pages:
                sink.add("users", [datasets.user(row, known, started_at) for row in rows])
                count += len(rows)
            if not count:
                raise _empty("sys_user")
        except ReadError as failure:
            return summaries.failed(schema, failure).model_copy(update={"row_count": count})
        return summaries.read(schema, count, reported=pages.reported, missing=missing)

    async def _joins(self, known: datasets.KnownOfUsers) -> list[MissingField]:
        missing: list[MissingField] = []
        try:
            await self._join("sys_user_has_role", ROLE_QUERY, "sys_id,user,role.name", known.add_role)
        except ReadError as failure:
            known.roles = None
            missing += summaries.missing_fields(SCHEMAS["users"], datasets.ROLE_FIELDS, failure)
        try:
            await self._join("user_multifactor_auth", "validated=true", "sys_id,user,validated", known.add_factor)
        except ReadError as failure:
            known.factors = None
            missing += summaries.missing_fields(SCHEMAS["users"], datasets.MFA_FIELDS, failure)
        return missing

    async def _join(self, table: str, query: str, fields: str, add: Callable[[TableRow], Any]) -> None:
        pages, count = await self._client.rows(table, query, fields), 0
        async for rows in pages:
            for row in rows:
                add(row)
            count += len(rows)
        if pages.reported is not None and count < pages.reported:
            message = f"{count} of {pages.reported} rows of {table} could be read"
            raise ReadError(DatasetState.TRUNCATED, "hidden_rows", message)


def _empty(table: str) -> ReadError:
    """A table that is never empty shows no row: that is a missing right, not an empty table."""
    return ReadError(DatasetState.DENIED, "no_rows", f"{table} shows no row, and it is never empty")
