"""Reads one ServiceNow instance: every dataset, the rights to do so, and whether something changed."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from functools import partial

from plumbline_contracts.events import DatasetState, DatasetSummary, MissingField, Product

from plumbline_collector.connectors import summaries
from plumbline_collector.connectors.ports import ChangeMarker, CollectionReport, DatasetSink
from plumbline_collector.connectors.reading import DatasetReader
from plumbline_collector.connectors.servicenow import (
    access_reader,
    audit,
    integrations_reader,
    people_reader,
    settings_reader,
)
from plumbline_collector.connectors.servicenow.client import ServiceNowClient
from plumbline_collector.connectors.servicenow.plan import READS, SCHEMAS
from plumbline_collector.connectors.servicenow.probes import Probes
from plumbline_collector.connectors.servicenow.run import Run
from plumbline_collector.connectors.servicenow.watch import Watch

Reader = Callable[[Run], Awaitable[DatasetSummary]]

_FIRST: tuple[Reader, ...] = (
    settings_reader.plugins,
    settings_reader.store_apps,
    settings_reader.script_actions,
    settings_reader.password_stores,
    people_reader.mfa_criteria,
    people_reader.identity_providers,
    people_reader.elevated_roles,
    people_reader.basic_auth_exceptions,
)
_BESIDE_USERS: tuple[Reader, ...] = (
    settings_reader.record_counts,
    access_reader.empty_acls,
    access_reader.public_acls,
    access_reader.public_pages,
    access_reader.public_portal_pages,
    access_reader.public_portal_widgets,
    access_reader.client_callable_scripts,
    access_reader.custom_tables,
    access_reader.knowledge_bases,
    integrations_reader.rest_resources,
    integrations_reader.oauth_clients,
    integrations_reader.api_policies,
    integrations_reader.rate_limits,
    integrations_reader.cors_rules,
    integrations_reader.script_processors,
    integrations_reader.ip_access_rules,
    integrations_reader.ldap_servers,
    integrations_reader.certificates,
    integrations_reader.mid_servers,
)
_LAST: tuple[Reader, ...] = (
    people_reader.inactive_privileged_users,
    people_reader.built_in_accounts,
    people_reader.internal_external_users,
    people_reader.role_containments,
    people_reader.privileged_groups,
)
"""A reader is named as its dataset. What later ones need of earlier ones goes through `Run`.

The many pages of users are read beside other tables, whose turn begins with the first user: what is known of roles,
and whether an empty table can be trusted, does not depend on which of them is faster.
"""
_COUNTED = frozenset({"internal_external_users"})
"""Datasets whose selections are counted first, so that their rows are no part of a check."""


class ServiceNowConnector:
    """Reads one instance."""

    product = Product.SERVICENOW

    def __init__(self, client: ServiceNowClient) -> None:
        self._client = client
        self._watch = Watch(client)

    async def collect(self, sink: DatasetSink, started_at: datetime) -> CollectionReport:
        """Read every dataset. See `ports.Connector`."""
        await self._client.authenticate()
        run, reader = Run(self._client, sink, started_at), DatasetReader(self._client, SCHEMAS)
        audited = await self._one(reader, run, settings_reader.audited_tables)
        properties = await self._one(reader, run, settings_reader.system_properties)
        found = [audited, properties, await reader.one("instance", partial(_instance, run, properties))]
        found += await self._all(reader, run, _FIRST)
        found += await reader.together([partial(self._users, reader, run), partial(self._beside_users, reader, run)])
        found += await self._all(reader, run, _LAST)
        return CollectionReport(found, audit.newest(run.changes), run.builds.get("glide.war"))

    async def _users(self, reader: DatasetReader, run: Run) -> list[DatasetSummary]:
        try:
            return [await self._one(reader, run, people_reader.users)]
        finally:
            run.first_user.set()

    async def _beside_users(self, reader: DatasetReader, run: Run) -> list[DatasetSummary]:
        await run.first_user.wait()
        return await self._all(reader, run, _BESIDE_USERS)

    async def _all(self, reader: DatasetReader, run: Run, readers: Iterable[Reader]) -> list[DatasetSummary]:
        return [await self._one(reader, run, read) for read in readers]

    @staticmethod
    async def _one(reader: DatasetReader, run: Run, read: Reader) -> DatasetSummary:
        return await reader.one(getattr(read, "__name__", ""), partial(read, run))

    async def check(self) -> list[DatasetSummary]:
        """Try the first page of every dataset, and a row of every table that is joined to one. See `ports.Connector`.

        Hidden rows beyond the first page, and hidden columns, show in a collection alone.
        """
        await self._client.authenticate()
        reader, probes = DatasetReader(self._client, SCHEMAS), Probes(self._client)
        return [await reader.one(name, partial(self._try, name, probes)) for name in READS]

    @staticmethod
    async def _try(name: str, probes: Probes) -> DatasetSummary:
        missing, hidden = list[MissingField](), None
        for read in READS[name]:
            is_joined = bool(read.feeds) or name in _COUNTED
            failure = await (
                probes.failure(read.selection.table) if is_joined else probes.failure_of_rows(read.selection)
            )
            if failure is not None and read.feeds:
                missing += summaries.missing_fields(SCHEMAS[name], list(read.feeds), failure)
            elif failure is not None and failure.state is not DatasetState.TRUNCATED:
                return summaries.failed(SCHEMAS[name], failure)
            hidden = hidden or (None if read.feeds else failure)
        return summaries.read(SCHEMAS[name], 1, missing=missing, hidden=hidden)

    async def latest_change(self) -> ChangeMarker:
        """Where the records of changes end now. See `watch`."""
        return ChangeMarker(await self._watch.look())


async def _instance(run: Run, properties: DatasetSummary) -> DatasetSummary:
    return settings_reader.instance(run, properties)
