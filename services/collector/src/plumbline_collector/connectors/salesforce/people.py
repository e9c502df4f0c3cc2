"""Reading who may do what: permission sets, profiles, users, guests."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from plumbline_contracts.events import DatasetState, DatasetSummary, MissingField, Row

from plumbline_collector.connectors import summaries
from plumbline_collector.connectors.rows import typed
from plumbline_collector.connectors.salesforce import cells, datasets, permissions, tables, users
from plumbline_collector.connectors.salesforce.cells import text
from plumbline_collector.connectors.salesforce.costs import MOST_PROFILES, MOST_VERIFIED
from plumbline_collector.connectors.salesforce.pages import Record, by_key
from plumbline_collector.connectors.salesforce.permissions import PermissionColumns
from plumbline_collector.connectors.salesforce.run import SCHEMAS, Run
from plumbline_collector.connectors.salesforce.soql import Selection, any_of, in_groups
from plumbline_collector.connectors.salesforce.tables import Table
from plumbline_collector.errors import ReadError

_GRANTS = Selection(
    "PermissionSetAssignment", ("Id", "AssigneeId", "Assignee.UserType", "PermissionSetId", "ExpirationDate"),
    "Assignee.IsActive = true", "Id",
)  # fmt: skip
_LOGINS = Selection(
    "UserLogin", ("UserId", "IsFrozen", "IsPasswordLocked"), "IsFrozen = true OR IsPasswordLocked = true", "UserId"
)
_METHODS = Selection("TwoFactorMethodsInfo", ("UserId", *users.METHODS), key="UserId")
_RESISTANT = ("U2F", "BuiltInAuthenticator", "WebAuthnRoamingAuthenticator", "PwlessPasskey")
_VERIFIED = (
    "VerificationTime = LAST_N_DAYS:90 AND Status IN ('Succeeded', 'AutomatedSuccess') "
    f"AND VerificationMethod IN ({', '.join(repr(name) for name in _RESISTANT)})"
)
_RANGE_FIELDS = [
    "login_ip_range_count", "has_login_ip_ranges", "has_unrestricted_login_range", "login_ip_addresses",
    "has_login_hours",
]  # fmt: skip
_COUNT_FIELDS = ["active_users"]
_VISIBLE = ("ViewAllUsers",)


class People:
    """The readings of who may do what. `permission_sets` comes first: the others stand on what it remembers."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.known = users.KnownOfUsers()
        self._columns = PermissionColumns({})
        self._grants_problem: ReadError | None = None
        self._verifications: DatasetSummary | None = None

    # permission sets and assignments

    async def catalogue(self) -> DatasetSummary:
        """Which of the known permissions the org has, which `permission_sets` needs."""
        try:
            self._columns = PermissionColumns(await self._run.client.columns_of("PermissionSet"))
            if not self._columns.is_whole:
                message = "the description of PermissionSet lacks permissions that every org has"
                raise ReadError(DatasetState.DENIED, "no_permissions", message)
        except ReadError as failure:
            self._deny(failure)
            raise
        lists: Row = {"existing": list(self._columns.existing), "absent": list(self._columns.absent)}
        return self._run.written("permission_catalogue", lists)

    async def permission_sets(self) -> DatasetSummary:
        """Every permission set, then every assignment; rows are written once the holders are counted."""
        if self._grants_problem is not None:
            return summaries.failed(SCHEMAS["permission_sets"], self._grants_problem)
        columns = self._columns
        kept: list[Row] = []
        table, schema = tables.PERMISSION_SETS, SCHEMAS["permission_sets"]
        copy = table.maker(schema, self._run.started_at)

        def remember(record: Record) -> None:
            mask = columns.mask(record)
            if self.known.containers is not None:
                self.known.containers.add(record, mask)
            kept.append({**copy(record), **_container(mask)})

        try:
            await self._read_sets(columns, remember)
        except ReadError as failure:
            self._deny(failure)
            return summaries.failed(schema, failure)
        await self._assignments()
        return self._written(kept)

    async def _read_sets(self, columns: PermissionColumns, remember: Callable[[Record], None]) -> None:
        base = tables.PERMISSION_SETS.selection(SCHEMAS["permission_sets"])
        wanted = tuple(dict.fromkeys((*base.columns, *columns.columns)))
        opened = await self._run.objects.open(replace(base, columns=wanted))
        async for records in opened:
            typed(remember, records)
        if not self._run.is_probe:
            opened.require_whole()
            if not opened.count:
                raise ReadError(DatasetState.DENIED, "no_rows", "PermissionSet shows no row, and it is never empty")

    def _deny(self, failure: ReadError) -> None:
        """Permission sets could not be read, so nothing is known of anybody's permissions."""
        self._grants_problem, self.known.has_permissions, self.known.containers = failure, False, None

    async def _assignments(self) -> None:
        try:
            opened = await self._run.objects.open(_GRANTS)
            async for records in opened:
                typed(partial(self.known.add_grant, started_at=self._run.started_at), records)
            if not self._run.is_probe:
                opened.require_whole()
                self._require_resolved()
            self._require_right(SCHEMAS["permission_sets"].permission, "assignments of other users")
        except ReadError as failure:
            self._grants_problem, self.known.has_permissions = failure, False

    def _require_right(self, permission: str | None, what: str) -> None:
        hidden = self._run.rights.lacking(permission, what) if permission else None
        if hidden is not None:
            raise hidden

    def _require_resolved(self) -> None:
        if self.known.unresolved:
            message = f"{self.known.unresolved} assignments name permission sets that the org does not show"
            raise ReadError(DatasetState.TRUNCATED, "hidden_rows", message)

    def _counts_missing(self, name: str, fields: list[str]) -> list[MissingField]:
        hidden = self._run.rights.hidden(_VISIBLE, "assignments of other users")
        problem = self._grants_problem or hidden
        return summaries.missing_fields(SCHEMAS[name], fields, problem) if problem else []

    def _written(self, kept: list[Row]) -> DatasetSummary:
        schema, missing = SCHEMAS["permission_sets"], self._counts_missing("permission_sets", _COUNT_FIELDS)
        if not missing and self.known.containers is not None:
            for row in kept:
                container = self.known.containers.get(str(row.get("id")))
                row["active_users"] = container.active_users if container else 0
        self._run.sink.add(schema.name, kept)
        missing += self._run.objects.missing_fields(schema, schema.source)
        hidden = self._run.rights.lacking(schema.permission, f"rows of {schema.source}")
        return summaries.read(schema, 1 if self._run.is_probe else len(kept), missing=missing, hidden=hidden)

    # profiles

    async def profiles(self) -> DatasetSummary:
        """Profiles; login ranges of privileged ones in use, a call each, at most `MOST_PROFILES`."""
        missing = self._counts_missing("profiles", [*_COUNT_FIELDS, "has_active_users"])
        ranges: dict[str, Row] = {}
        beyond: ReadError | None = None
        try:
            beyond = await self._login_ranges(ranges)
        except ReadError as failure:
            missing += summaries.missing_fields(SCHEMAS["profiles"], _RANGE_FIELDS, failure)
        has_counts = not self._counts_missing("profiles", _COUNT_FIELDS)

        def add(record: Record) -> Row:
            profile = self.known.containers.of_profile(text(record["Id"])) if self.known.containers else None
            row = _container(profile.mask) if profile else {}
            row.pop("is_administrative", None)
            if profile and self.known.containers and self.known.containers.has_standard_profiles:
                row["is_custom"] = profile.is_custom
            if profile and has_counts:
                row |= {"active_users": profile.active_users, "has_active_users": profile.active_users > 0}
            return {**row, **ranges.get(text(record["Id"]), {})}

        found = await self._run.table(tables.PROFILES, add, missing=missing)
        if beyond is None or found.state is not DatasetState.OK:
            return found
        error = summaries.dataset_error(SCHEMAS["profiles"], beyond)
        return found.model_copy(update={"state": DatasetState.TRUNCATED, "error": error})

    async def _login_ranges(self, ranges: dict[str, Row]) -> ReadError | None:
        wanted = self.known.containers.privileged_profiles() if self.known.containers else []
        for profile_id in wanted[: 1 if self._run.is_probe else MOST_PROFILES]:
            selection = Selection("Profile", ("Id", "Metadata"), any_id(profile_id), tooling=True)
            metadata = (await self._run.objects.only_record(selection)).get("Metadata")
            if not isinstance(metadata, dict):
                raise ReadError(DatasetState.DENIED, "no_metadata", "the org shows a profile without its content")
            (ranges[profile_id],) = typed(_login_limits, [metadata])
        if len(wanted) <= MOST_PROFILES:
            return None
        message = f"login ranges of {MOST_PROFILES} of {len(wanted)} privileged profiles were read"
        return ReadError(DatasetState.TRUNCATED, "most_profiles", message)

    # users

    async def verifications(self) -> DatasetSummary:
        """Phishing-resistant proofs of privileged users, whom `known` remembers."""
        schema = SCHEMAS["identity_verifications"]
        if not self.known.has_permissions:
            problem = self._grants_problem or ReadError(DatasetState.DENIED, "no_permissions", "no grants were read")
            self.known.has_verifications = False
            return summaries.failed(schema, problem)
        wanted = sorted(self.known.privileged_users())
        table = Table(schema.name, whole_with=tables.LOGINS, derive=_verification)
        found = await self._run.table(table, self._remember_proof, pages=self._proofs(wanted[:MOST_VERIFIED]))
        if len(wanted) > MOST_VERIFIED and found.state is DatasetState.OK:
            message = f"{MOST_VERIFIED} of {len(wanted)} privileged users were looked up"
            failure = ReadError(DatasetState.TRUNCATED, "most_users", message)
            error = summaries.dataset_error(schema, failure)
            found = found.model_copy(update={"state": DatasetState.TRUNCATED, "error": error})
        self._verifications = found
        self.known.has_verifications = found.state is DatasetState.OK
        return found

    def _remember_proof(self, record: Record) -> Row:
        self.known.add_verification(record["UserId"])
        return {}

    async def _proofs(self, wanted: list[str]) -> AsyncIterator[list[Record]]:
        by = ("UserId", "VerificationMethod")
        for group in [[]] if self._run.is_probe else in_groups(wanted):
            where = f"{_VERIFIED} AND {any_of('UserId', group)}" if group else _VERIFIED
            selection = Selection("VerificationHistory", by, where, group_by=by, limit=tables.MOST_GROUPS)
            async for records in await self._run.objects.open(selection):
                yield records

    async def users(self) -> DatasetSummary:
        """Active users with all that is known of them.

        Denied when none is shown, truncated when no administrator is: an org always has one.
        """
        missing = await self._joins()
        schema, shown = SCHEMAS[tables.USERS.dataset], set[bool]()

        def add(record: Record) -> Row:
            row = users.user(record, self.known, self._run.started_at)
            shown.add(_may_administrate(row))
            return row

        found = await self._run.table(tables.USERS, add, missing=missing)
        if found.state in (DatasetState.OK, DatasetState.TRUNCATED) and not found.row_count:
            failure = ReadError(DatasetState.DENIED, "no_rows", "User shows no row, and it is never empty")
            return summaries.failed(schema, failure)
        if found.state is not DatasetState.OK or True in shown or self._run.is_probe:
            return found
        message = "no administrator is among the users that the org shows, and it always has one"
        failure = ReadError(DatasetState.TRUNCATED, "no_administrator", message)
        return found.model_copy(update={"state": failure.state, "error": summaries.dataset_error(schema, failure)})

    async def _joins(self) -> list[MissingField]:
        schema = SCHEMAS["users"]
        missing: list[MissingField] = []
        if self._grants_problem is not None:
            missing += summaries.missing_fields(schema, users.PERMISSION_FIELDS, self._grants_problem)
        if self.known.containers is None and self._grants_problem is not None:
            missing += summaries.missing_fields(schema, users.PROFILE_FIELDS, self._grants_problem)
        try:
            await self._frozen()
        except ReadError as failure:
            self.known.has_logins = False
            missing += summaries.missing_fields(schema, users.LOGIN_FIELDS, failure)
        try:
            await self._methods()
        except ReadError as failure:
            self.known.has_methods = False
            missing += summaries.missing_fields(schema, users.MFA_FIELDS, failure)
        return missing + self._without_proofs()

    def _without_proofs(self) -> list[MissingField]:
        found = self._verifications
        if self.known.has_verifications or found is None or found.error is None:
            return []
        fields = users.VERIFICATION_FIELDS
        return [MissingField(field=name, state=found.state, error=found.error) for name in fields]

    async def _frozen(self) -> None:
        opened = await self._run.objects.open(_LOGINS)
        async for records in opened:
            typed(self.known.add_login, records)
        if not self._run.is_probe:
            opened.require_whole()

    async def _methods(self) -> None:
        """All rows in batches by user id, because the object ends silently after 2,500 rows."""
        expected, count = await self._run.client.count(_METHODS.api_object), 0
        if self._run.is_probe:
            await self._run.objects.open(_METHODS)
        self._require_right(SCHEMAS["users"].fields["has_mfa_method"].permission, "verification methods of other users")
        if self._run.is_probe:
            return
        async for records in by_key(_METHODS, self._run.objects.open):
            typed(self.known.add_methods, records)
            count += len(records)
        if count < expected:
            message = f"{count} of {expected} rows of TwoFactorMethodsInfo could be read"
            raise ReadError(DatasetState.TRUNCATED, "hidden_rows", message)

    # objects

    async def object_grants(self) -> DatasetSummary:
        """Who may reach all records of the core objects."""
        return await self._run.table(tables.OBJECT_GRANTS, self._grantor)

    def _grantor(self, record: Record) -> Row:
        parent = self.known.containers.get(text(record["ParentId"])) if self.known.containers else None
        return {"is_administrative": bool(parent.mask & permissions.MODIFIES_ALL)} if parent else {}


def any_id(record_id: str) -> str:
    """The condition that a record has this id."""
    return any_of("Id", [record_id])


def _may_administrate(row: Row) -> bool:
    """Whether a user may be the administrator whom every org has. What is not known of a user counts as yes."""
    return bool(row.get("is_privileged", True) and row.get("is_standard", True) and not row.get("is_integration"))


def _container(mask: int) -> Row:
    """What a permission set's permissions amount to."""
    return {
        "permissions": list(permissions.names_of(mask)),
        "is_privileged": bool(mask & permissions.PRIVILEGED),
        "is_administrative": bool(mask & permissions.MODIFIES_ALL),
    }


def _login_limits(metadata: Any) -> Row:  # noqa: ANN401 - a profile's Metadata
    ranges = metadata.get("loginIpRanges") or []
    ends = [(each.get("startAddress"), each.get("endAddress")) for each in ranges if isinstance(each, dict)]
    addresses = cells.addresses_of(ends) if len(ends) == len(ranges) else None
    return {
        "login_ip_range_count": len(ends),
        "has_login_ip_ranges": bool(ends),
        "has_unrestricted_login_range": any(cells.is_everywhere(start, end) for start, end in ends),
        **datasets.present(login_ip_addresses=addresses),
        "has_login_hours": bool(metadata.get("loginHours")),
    }


def _verification(record: Record, _: datetime) -> Row:
    return {"id": datasets.joined(text(record.get("UserId")), text(record.get("VerificationMethod")))}
