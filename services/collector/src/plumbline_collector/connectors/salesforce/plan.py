"""Which Salesforce calls give which datasets, in which order."""

import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

from plumbline_contracts.events import AuditEntry, DatasetSummary, Product

from plumbline_collector.connectors.ports import ChangeMarker, CollectionReport, DatasetSink
from plumbline_collector.connectors.reading import DatasetReader, Reading
from plumbline_collector.connectors.salesforce import org, tables
from plumbline_collector.connectors.salesforce.apps import Apps
from plumbline_collector.connectors.salesforce.client import SalesforceClient
from plumbline_collector.connectors.salesforce.costs import calls_by_dataset, typical_rows
from plumbline_collector.connectors.salesforce.guests import Guests
from plumbline_collector.connectors.salesforce.people import People
from plumbline_collector.connectors.salesforce.run import SCHEMAS, NoSink, Run
from plumbline_collector.connectors.salesforce.sites import sites
from plumbline_collector.errors import ReadError

__all__ = [
    "CALLS_OF_FIRST_LOOK",
    "CALLS_PER_LOOK",
    "SCHEMAS",
    "SalesforceConnector",
    "calls_by_dataset",
    "typical_rows",
]

CALLS_PER_LOOK = 1
CALLS_OF_FIRST_LOOK = 1
_SECURITY = (*org.SECURITY_DOCUMENTS, "trusted_ip_ranges")
_PEOPLE = ("guest_users", "guest_object_access", "guest_access")


class SalesforceConnector:
    """Reads one org."""

    product = Product.SALESFORCE

    def __init__(self, client: SalesforceClient) -> None:
        self._client = client
        self._reader = DatasetReader(client, SCHEMAS)

    async def collect(self, sink: DatasetSink, started_at: datetime) -> CollectionReport:
        """Read every dataset. See `ports.Connector`."""
        run = Run(self._client, sink, started_at)
        entries: list[AuditEntry] = []
        found = await self._all(run, entries)
        return CollectionReport(found, entries, self._client.version)

    async def check(self) -> list[DatasetSummary]:
        """Try a row of every dataset and of what is joined to it. See `ports.Connector`."""
        return await self._all(Run(self._client, NoSink(), datetime.now(UTC), is_probe=True), [])

    async def latest_change(self) -> ChangeMarker:
        """The newest entry of the setup audit trail, and the newest API version: a release moves it too."""
        await self._client.authenticate()
        served = await self._client.choose_version()
        newest = max(served, key=_release)
        return ChangeMarker(f"{await org.latest_change(Run(self._client, NoSink(), datetime.now(UTC)))} {newest}")

    async def _all(self, run: Run, entries: list[AuditEntry]) -> list[DatasetSummary]:
        await self._client.authenticate()
        await self._choose_version()
        people, one = People(run), self._one
        found = await one("collector_permissions", partial(org.collector_permissions, run))()
        found += await one("permission_catalogue", people.catalogue)()
        found += await one("permission_sets", people.permission_sets)()
        found += await one("community_settings", partial(org.settings_document, run, "community_settings"))()
        found += await self._reader.together(self._independent(run, entries))
        found += await self._reader.together(self._dependent(run, people))
        places = {name: place for place, name in enumerate(SCHEMAS)}
        return sorted(map(run.rights.advised, found), key=lambda summary: places[summary.name])

    async def _choose_version(self) -> None:
        """An org that does not say what it serves is asked in the default version."""
        with contextlib.suppress(ReadError):
            await self._client.choose_version()

    def _independent(self, run: Run, entries: list[AuditEntry]) -> list[Reading]:
        """Readings that need nothing of another."""
        one, several = self._one, self._several
        return [
            one("organization", partial(org.organization, run)),
            several(_SECURITY, partial(org.security_settings, run)),
            several(("file_upload_settings", "file_dispositions"), partial(org.file_upload_settings, run)),
            *(
                one(name, partial(org.settings_document, run, name))
                for name in org.SETTINGS_DOCUMENTS
                if name != "community_settings"
            ),
            several(("health_check", "health_check_risks"), partial(org.health, run)),
            several(("login_activity", "login_statistics"), partial(org.logins, run)),
            one("object_sharing", partial(org.object_sharing, run)),
            one("mfa_registrations", partial(org.mfa_registrations, run)),
            one("setup_changes", partial(org.setup_changes, run, entries)),
            one("sites", partial(sites, run)),
            *(one(table.dataset, partial(run.table, table)) for table in tables.TABLES),
        ]

    def _dependent(self, run: Run, people: People) -> list[Reading]:
        """Readings that stand on what `people` remembers of permissions."""
        one, several, apps = self._one, self._several, Apps(run)
        return [
            one("profiles", people.profiles),
            self._in_turn(one("identity_verifications", people.verifications), one("users", people.users)),
            several(_PEOPLE, Guests(run, people.known).read),
            one("object_grants", people.object_grants),
            self._in_turn(
                several(("connected_apps", "app_access"), apps.connected),
                one("external_client_apps", apps.external),
                one("oauth_tokens", apps.tokens),
            ),
        ]

    def _one(self, name: str, read: Callable[[], Awaitable[DatasetSummary]]) -> Reading:
        async def reading() -> list[DatasetSummary]:
            return [await self._reader.one(name, read)]

        return reading

    def _several(self, names: tuple[str, ...], read: Reading) -> Reading:
        return partial(self._reader.several, names, read)

    @staticmethod
    def _in_turn(*readings: Reading) -> Reading:
        """Readings of which each needs the one before."""

        async def reading() -> list[DatasetSummary]:
            return [summary for each in readings for summary in await each()]

        return reading


def _release(version: str) -> float:
    try:
        return float(version)
    except ValueError:
        return 0.0
