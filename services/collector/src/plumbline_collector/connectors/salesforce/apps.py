"""Reading apps: connected apps, external client apps, the tokens that users gave them."""

from collections.abc import AsyncIterator

from plumbline_contracts.events import DatasetState, DatasetSummary, MissingField, Row

from plumbline_collector.connectors import summaries
from plumbline_collector.connectors.rows import typed
from plumbline_collector.connectors.salesforce import cells, tables
from plumbline_collector.connectors.salesforce.cells import text
from plumbline_collector.connectors.salesforce.columns import SourceColumns
from plumbline_collector.connectors.salesforce.datasets import joined
from plumbline_collector.connectors.salesforce.pages import Record, by_time
from plumbline_collector.connectors.salesforce.run import SCHEMAS, Run
from plumbline_collector.connectors.salesforce.soql import Selection
from plumbline_collector.connectors.salesforce.tables import COUNTED, Table
from plumbline_collector.errors import ReadError

POLICIES, SCOPES = "ExtlClntAppOauthPlcyCnfg", "ExtlClntAppOauthSettings"
_APP = "ExternalClientApplicationId"
_ENDLESS = "Infinite"
_OF_ACCESS = ["permitted_containers"]
_SCOPE_FIELDS = ("has_full_scope", "has_api_scope", "has_refresh_token_scope")


class Apps:
    """The readings of apps; those of tokens need the others first."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._approved: dict[str, bool] = {}
        self._internal: dict[str, bool] = {}
        self._are_known = True

    async def connected(self) -> list[DatasetSummary]:
        """`connected_apps`, with the access to each, and `app_access`."""
        containers: dict[str, int] = {}

        def remember(record: Record) -> Row:
            containers[text(record["SetupEntityId"])] = int(record[COUNTED])
            return {}

        access = await self._run.table(tables.APP_ACCESS, remember)
        is_whole = access.state is DatasetState.OK

        def add(record: Record) -> Row:
            app = text(record["Id"])
            self._approved[app] = record.get("OptionsAllowAdminApprovedUsersOnly") is True
            if (is_internal := cells.truth(record.get("OptionsIsInternal"))) is not None:
                self._internal[app] = is_internal
            return {"permitted_containers": containers.get(app, 0)} if is_whole else {}

        apps = await self._run.table(tables.CONNECTED_APPS, add, missing=self._without(access))
        self._are_known &= apps.state is DatasetState.OK
        return [apps, access]

    def _without(self, access: DatasetSummary) -> list[MissingField]:
        if access.state is DatasetState.OK or access.error is None:
            return []
        return [MissingField(field=name, state=access.state, error=access.error) for name in _OF_ACCESS]

    async def external(self) -> DatasetSummary:
        """`external_client_apps`, with policies and scopes."""
        schema, joins, missing = SCHEMAS["external_client_apps"], dict[str, Row](), list[MissingField]()
        has_both = True
        for api_object in (POLICIES, SCOPES):
            source = SourceColumns(schema, api_object)
            try:
                has_both &= await self._join(source, joins)
            except ReadError as failure:
                has_both = False
                missing += summaries.missing_fields(schema, list(source.of_field), failure)
            missing += self._run.objects.missing_fields(schema, api_object)

        def add(record: Record) -> Row:
            app = text(record["Id"])
            row = joins.get(app, {}) | (_oauth(is_on=app in joins) if has_both else {})
            self._approved[app] = row.get("is_admin_approved_only") is True
            return row

        apps = await self._run.table(tables.EXTERNAL_APPS, add, missing=missing)
        self._are_known &= apps.state is DatasetState.OK
        return apps

    async def _join(self, source: SourceColumns, joins: dict[str, Row]) -> bool:
        """Remember what one object says of each app: by app, and there are few thousand of them at most.

        False when it shows no row, which may be because the caller sees none.
        """
        columns = tuple(dict.fromkeys((_APP, *source.columns)))
        opened = await self._run.objects.open(Selection(source.api_object, columns))

        def make(record: Record) -> Row:
            row = source.copy(record, _EMPTY)
            return {**row, **(_policy(row) if source.api_object == POLICIES else {})}

        async for records in opened:
            for record, row in zip(records, typed(make, records), strict=True):
                app = text(record.get(_APP))
                joins[app] = {**joins.get(app, {}), **row}
        if not self._run.is_probe:
            opened.require_whole()
        return opened.count > 0

    async def tokens(self) -> DatasetSummary:
        """`oauth_tokens`, in batches by date, because the object ends silently after 2,500 rows."""
        table = Table("oauth_tokens", whole_with=("CustomizeApplication",), empty=_EMPTY)
        schema = SCHEMAS[table.dataset]
        try:
            expected = await self._run.client.count(schema.source)
        except ReadError as failure:
            return summaries.failed(schema, self._run.rights.judged(table.dataset, failure))
        return await self._run.table(table, self._token, pages=self._token_pages(table), expected=expected)

    async def _token_pages(self, table: Table) -> AsyncIterator[list[Record]]:
        selection = table.selection(SCHEMAS[table.dataset])
        if self._run.is_probe:
            async for records in await self._run.objects.open(selection):
                yield records
            return
        async for records in by_time(selection, self._run.objects.open, "CreatedDate", "UserId"):
            yield records

    def _token(self, record: Record) -> Row:
        created, started_at = record.get("CreatedDate"), self._run.started_at
        item = record.get("AppMenuItem") or {}
        app = text(item.get("ApplicationId"))
        row: Row = {
            "id": joined(text(record.get("AppName")), text(record.get("UserId")), text(created)),
            "is_admin_approved_app": item.get("IsUsingAdminAuthorization") is True or self._approved.get(app, False),
        }
        if self._are_known or not app or app in self._approved:
            row["is_installed_app"] = bool(record.get("AppMenuItemId")) and app in self._approved
        if app in self._internal:
            row["is_internal_app"] = self._internal[app]
        age = cells.days_since(created, started_at)
        idle = cells.days_since(record.get("LastUsedDate") or created, started_at)
        return row | ({} if age is None else {"age_days": age}) | ({} if idle is None else {"idle_days": idle})


def _oauth(*, is_on: bool) -> Row:
    """Whether an external client app uses OAuth. Without it, it can ask for no scope."""
    return {"has_oauth": True} if is_on else {"has_oauth": False, **dict.fromkeys(_SCOPE_FIELDS, False)}


def _policy(row: Row) -> Row:
    """What an external client app's policies amount to."""
    found: Row = {}
    if "permitted_users_policy" in row:
        found["is_admin_approved_only"] = row["permitted_users_policy"] == "AdminApprovedPreAuthorized"
    if "ip_relaxation_policy" in row:
        found["is_ip_enforced"] = str(row["ip_relaxation_policy"]).upper() == "ENFORCE"
    if "refresh_token_policy" in row:
        found["has_refresh_token_expiry"] = row["refresh_token_policy"] != _ENDLESS
    return found


_EMPTY = frozenset(
    {
        "refresh_token_validity_period", "refresh_token_validity_unit", "required_session_level",
        "client_credentials_user", "app_name", "app_menu_item_id", "application_id", "use_count",
    }
)  # fmt: skip
