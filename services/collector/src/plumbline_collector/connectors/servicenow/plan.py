"""Which ServiceNow tables give which datasets."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from plumbline_contracts.datasets import datasets as schemas_of
from plumbline_contracts.events import AuditEntry, DatasetState, DatasetSummary, MissingField, Product, Row

from plumbline_collector.connectors import summaries
from plumbline_collector.connectors.ports import ChangeMarker, CollectionReport, DatasetSink
from plumbline_collector.connectors.rows import RowWriter, typed
from plumbline_collector.connectors.servicenow import datasets
from plumbline_collector.connectors.servicenow.client import ServiceNowClient, TableRow, TableRows
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
WATCHED_ROWS = 100
"""How many of the newest rows a look for changes takes, to find the newest that a snapshot would hold."""
AUDIT_ENTRIES = 50
LOGIN_FIELDS = ["has_logged_in", "idle_days"]


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
        properties = await self._properties(sink)
        found = [self._instance(sink, properties), properties]
        found.append(await self._plugins(sink))
        found.append(await self._script_actions(sink))
        found.append(await self._users(sink, started_at))
        newest = sorted(self._changes, key=lambda entry: entry.at, reverse=True)[:AUDIT_ENTRIES]
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
        """The newest change of a row that a snapshot holds, and how many rows the tables have (a deletion moves it).

        The platform itself writes properties all the time; those that no snapshot holds are passed over.
        """
        wanted = {"sys_properties": {*BUILD_PROPERTIES, *names("property_names.txt")}}
        return ChangeMarker(" ".join([await self._newest(table, wanted.get(table)) for table in WATCHED]))

    async def _newest(self, table: str, wanted: set[str] | None) -> str:
        fields, size = ("sys_id,name,sys_updated_on", WATCHED_ROWS) if wanted else ("sys_id,sys_updated_on", 1)
        try:
            rows, total = await self._client.page(table, "ORDERBYDESCsys_updated_on", fields, size, 0)
        except ReadError as failure:
            if failure.state is not DatasetState.DENIED:
                raise
            return "-/None"
        moments = [str(row.get("sys_updated_on")) for row in rows if wanted is None or row.get("name") in wanted]
        return f"{max(moments, default='-')}/{total}"

    async def _probe(self, name: str, table: str, query: str) -> DatasetSummary:
        try:
            rows, _ = await self._client.page(table, query, "sys_id", 1, 0)
        except ReadError as failure:
            return summaries.failed(SCHEMAS[name], failure)
        if not rows and name != "script_actions":
            return summaries.failed(SCHEMAS[name], _empty(table))
        return summaries.read(SCHEMAS[name], 1)

    async def _read(self, writer: RowWriter, make: Callable[[Mapping[str, Any]], Row], *selection: str) -> TableRows:
        """Read a selection (table, query, fields) to its end into a writer."""
        pages = self._client.rows(*selection)
        async for rows in pages:
            self._remember(selection[0], rows)
            writer.write(make, rows)
        return pages

    async def _properties(self, sink: DatasetSink) -> DatasetSummary:
        writer, reported = RowWriter(SCHEMAS["system_properties"], sink), 0
        try:
            for group in _in_groups((*BUILD_PROPERTIES, *names("property_names.txt"))):
                selection = ("sys_properties", f"nameIN{group}", PROPERTY_FIELDS)
                pages = await self._read(writer, datasets.system_property, *selection)
                reported += max(pages.reported or 0, pages.count)
            if not writer.count:
                raise _empty("sys_properties")
        except ReadError as failure:
            return writer.failed(failure)
        return writer.summary(reported=reported)

    def _remember(self, table: str, rows: list[TableRow]) -> None:
        """Keep what the properties say of the build, and the newest changes."""
        if table != "sys_properties":
            return
        for row in rows:
            if row.get("name") in BUILD_PROPERTIES:
                self._build[str(row["name"])] = str(row.get("value", ""))
        self._changes += [entry for entry in typed(datasets.audit_entry, rows) if entry is not None]

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
        writer, group = RowWriter(SCHEMAS["plugins"], sink), ",".join(names("plugin_ids.txt"))
        try:
            try:
                pages = await self._read(writer, datasets.plugin, "v_plugin", f"idIN{group}", PLUGIN_FIELDS)
            except ReadError as failure:
                if failure.state is not DatasetState.UNSUPPORTED:
                    raise
                pages = await self._read(writer, datasets.plugin, "sys_plugins", f"sourceIN{group}", PLUGIN_FIELDS)
            if not writer.count:
                raise _empty("v_plugin")
        except ReadError as failure:
            return writer.failed(failure)
        return writer.summary(reported=pages.reported)

    async def _script_actions(self, sink: DatasetSink) -> DatasetSummary:
        writer, query = RowWriter(SCHEMAS["script_actions"], sink), f"sys_idIN{','.join(SCRIPT_ACTIONS)}"
        selection = ("sysevent_script_action", query, "sys_id,name,active")
        try:
            pages = await self._read(writer, datasets.script_action, *selection)
        except ReadError as failure:
            return writer.failed(failure)
        return writer.summary(reported=pages.reported)

    async def _users(self, sink: DatasetSink, started_at: datetime) -> DatasetSummary:
        writer, known = RowWriter(SCHEMAS["users"], sink), datasets.KnownOfUsers()
        logins = _Logins(writer, partial(datasets.user, known=known, started_at=started_at))
        try:
            missing = await self._joins(known)
            pages = self._client.rows("sys_user", "active=true", USER_FIELDS)
            async for rows in pages:
                logins.write(rows)
            if not writer.count:
                raise _empty("sys_user")
        except ReadError as failure:
            return writer.failed(failure)
        return writer.summary(reported=pages.reported, missing=missing + logins.missing())

    async def _joins(self, known: datasets.KnownOfUsers) -> list[MissingField]:
        """Read what the joins need; what cannot be read becomes None in `known`, and its fields are returned."""
        missing: list[MissingField] = []
        try:
            await self._join("sys_user_has_role", ROLE_QUERY, "sys_id,user,role.name", known.add_role)
            if not known.has_administrators:
                message = "sys_user_has_role shows no administrator, and every instance has one"
                raise ReadError(DatasetState.DENIED, "no_rows", message)
        except ReadError as failure:
            known.roles = None
            missing += summaries.missing_fields(SCHEMAS["users"], datasets.ROLE_FIELDS, failure)
        try:
            await self._join("user_multifactor_auth", "validated=true", "sys_id,user,validated", known.add_factor)
        except ReadError as failure:
            known.factors = None
            missing += summaries.missing_fields(SCHEMAS["users"], datasets.MFA_FIELDS, failure)
        return missing

    async def _join(self, table: str, query: str, fields: str, add: Callable[[Mapping[str, Any]], None]) -> None:
        pages = self._client.rows(table, query, fields)
        async for rows in pages:
            typed(add, rows)
        pages.require_whole()


class _Logins:
    """Writes users, and notices when the dates of all their logins are withheld: then every one comes empty."""

    def __init__(self, writer: RowWriter, make: Callable[[Mapping[str, Any]], Row]) -> None:
        self._writer, self._make = writer, make
        self._has_any = False

    def write(self, rows: list[TableRow]) -> None:
        """One page of sys_user."""
        self._has_any = self._has_any or any(row.get("last_login_time") for row in rows)
        self._writer.write(self._make, rows)

    def missing(self) -> list[MissingField]:
        """The fields made of the dates, when no user has any."""
        if self._has_any or not self._writer.count:
            return []
        message = "last_login_time is empty for every user, so it is hidden from the collector's user"
        failure = ReadError(DatasetState.DENIED, "no_value", message)
        return summaries.missing_fields(SCHEMAS["users"], LOGIN_FIELDS, failure)


def _empty(table: str) -> ReadError:
    """A table that is never empty shows no row: that is a missing right, not an empty table."""
    return ReadError(DatasetState.DENIED, "no_rows", f"{table} shows no row, and it is never empty")
