"""Reading guest users of sites, and the objects that they may reach."""

from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import zip_longest

from plumbline_contracts.events import DatasetState, DatasetSummary, MissingField, Row

from plumbline_collector.connectors import summaries
from plumbline_collector.connectors.salesforce import cells, datasets, permissions, tables
from plumbline_collector.connectors.salesforce.cells import text
from plumbline_collector.connectors.salesforce.pages import Record
from plumbline_collector.connectors.salesforce.run import SCHEMAS, Run
from plumbline_collector.connectors.salesforce.soql import any_of, in_groups
from plumbline_collector.connectors.salesforce.tables import Table
from plumbline_collector.connectors.salesforce.users import KnownOfUsers
from plumbline_collector.errors import ReadError


class Guests:
    """The readings of guests. What their profiles and permission sets grant, `known` remembers."""

    def __init__(self, run: Run, known: KnownOfUsers) -> None:
        self._run, self._known = run, known
        self._guest_profiles: list[str] = []
        self._api_guests = self._guest_count = self._unjudged = 0
        self._reached: dict[str, set[str]] = {"can_read": set(), "can_write": set(), "can_reach_all": set()}

    async def read(self) -> list[DatasetSummary]:
        """`guest_users`, `guest_object_access` and the totals of both."""
        people = await self._run.table(tables.GUEST_USERS, self._guest)
        if people.state not in (DatasetState.OK, DatasetState.TRUNCATED):
            copies = [SCHEMAS[name] for name in ("guest_object_access", "guest_access")]
            return [people, *(_same_fate(people, each.name, each.kind) for each in copies)]
        table = tables.GUEST_OBJECT_ACCESS
        read = await self._run.table(table, self._reach, pages=self._guest_objects(table))
        access = self._as_whole_as_known(read, people)
        if access.state not in (DatasetState.OK, DatasetState.TRUNCATED):
            return [people, access, _same_fate(access, "guest_access", "document")]
        totals = self._run.written("guest_access", self._guest_totals(), _of_totals(access.missing_fields))
        is_cut = DatasetState.TRUNCATED in (people.state, access.state)
        fate = {"state": DatasetState.TRUNCATED, "error": people.error or access.error} if is_cut else {}
        return [people, access, totals.model_copy(update=fate)]

    def _guest(self, record: Record) -> Row:
        self._guest_count += 1
        profile_id = text(record["ProfileId"])
        if profile_id and profile_id not in self._guest_profiles:
            self._guest_profiles.append(profile_id)
        profile = self._known.containers.of_profile(profile_id) if self._known.containers else None
        held = self._known.permissions_of(text(record["Id"]), profile_id) if profile else None
        if held is None:
            self._unjudged += 1
            return {"has_api_access": True} if profile and profile.mask & permissions.API_ACCESS else {}
        has_api = bool(held & permissions.API_ACCESS)
        self._api_guests += has_api
        return {"permissions": list(permissions.names_of(held)), "has_api_access": has_api}

    async def _guest_objects(self, table: Table) -> AsyncIterator[list[Record]]:
        """What guests reach by their profiles and by permission sets, both in the same query."""
        base = table.selection(SCHEMAS[table.dataset])
        held = in_groups(sorted(self._known.guest_sets or ()))
        for profiles, sets in zip_longest(in_groups(self._guest_profiles), held, fillvalue=list[str]()):
            asked = {"Parent.ProfileId": profiles, "ParentId": sets}
            where = " OR ".join(any_of(column, ids) for column, ids in asked.items() if ids)
            opened = await self._run.objects.open(replace(base, where=where))
            async for records in opened:
                yield records
            if not self._run.is_probe:
                opened.require_whole()

    def _as_whole_as_known(self, access: DatasetSummary, people: DatasetSummary) -> DatasetSummary:
        """Truncated, too, when some guests or their permission sets are not known."""
        if access.state is not DatasetState.OK:
            return access
        if people.state is DatasetState.TRUNCATED:
            return access.model_copy(update={"state": people.state, "error": people.error})
        if self._known.has_permissions and self._known.guest_sets is not None:
            return access
        message = "which permission sets guest users hold could not be read, so objects that they open may be missing"
        failure = ReadError(DatasetState.TRUNCATED, "no_assignments", message)
        error = summaries.dataset_error(SCHEMAS[access.name], failure)
        return access.model_copy(update={"state": failure.state, "error": error})

    def _reach(self, record: Record) -> Row:
        derived = datasets.object_permission(record, self._run.started_at)
        may = {"can_read": cells.truth(record.get("PermissionsRead")), **derived}
        for name, objects in self._reached.items():
            if may.get(name) is True:
                objects.add(text(record.get("SobjectType")))
        return {}

    def _guest_totals(self) -> Row:
        row: Row = {
            "guest_users": self._guest_count,
            "has_guest_users": self._guest_count > 0,
            "readable_objects": len(self._reached["can_read"]),
            "writable_objects": len(self._reached["can_write"]),
            "wholly_reachable_objects": len(self._reached["can_reach_all"]),
        }
        return row if self._unjudged else {**row, "guest_users_with_api_access": self._api_guests}


def _same_fate(summary: DatasetSummary, name: str, kind: str) -> DatasetSummary:
    """A dataset that could not be read because another could not."""
    return summary.model_copy(update={"name": name, "kind": kind, "row_count": 0, "missing_fields": []})


def _of_totals(missing: list[MissingField]) -> list[MissingField]:
    """The totals that go missing with the fields that they count."""
    counted = {
        "can_read": "readable_objects",
        "can_write": "writable_objects",
        "can_reach_all": "wholly_reachable_objects",
    }
    return [each.model_copy(update={"field": counted[each.field]}) for each in missing if each.field in counted]
