"""The change watch: where the records of changes end now, in two calls a look.

The properties are looked at every time. The other tables take turns, and the marker keeps the last known position of
the one whose turn it is not, so that a look never differs from the one before by itself and every table is seen within
two looks. The first look of a new connector asks all of them.
"""

from collections.abc import Callable

from plumbline_contracts.events import DatasetState

from plumbline_collector.connectors.servicenow import tables
from plumbline_collector.connectors.servicenow.paging import PageSource
from plumbline_collector.connectors.servicenow.people import PRIVILEGED_ROLES
from plumbline_collector.errors import ReadError

WATCHED_ROWS = 100
"""How many of the newest properties a look takes, to find the newest that a snapshot would hold."""
HIDDEN = "-/None"
TURNS_UNTIL_TRIED_AGAIN = 10
"""After how many of its turns the record of changes is tried again where it may not be read."""
_ACTIONS, _AUDIT, _ROLES = "sysevent_script_action", "sys_audit", "sys_user_has_role"
_PRIVILEGED = tables.privileged_assignments(PRIVILEGED_ROLES)


class Watch:
    """Looks for changes through one client."""

    def __init__(self, source: PageSource) -> None:
        self._source = source
        self._order, self._positions = [_ACTIONS, _AUDIT], dict[str, str]()
        self._is_audited, self._turns = True, 0

    async def look(self) -> str:
        """Where the records end. The number of rows is part of it, so that a deletion moves it too.

        The platform itself writes properties all the time; those that no snapshot holds are passed over.
        """
        properties = await self._newest_property()
        for slot in [slot for slot in self._order if slot not in self._positions] or self._order[:1]:
            self._positions[slot] = await (self._actions() if slot == _ACTIONS else self._record())
            self._order.remove(slot)
            self._order.append(slot)
        return " ".join([properties, *(self._positions[slot] for slot in sorted(self._positions))])

    async def _actions(self) -> str:
        return f"{_ACTIONS}:{await self._newest(_ACTIONS, 'ORDERBYDESCsys_updated_on', 'sys_updated_on')}"

    async def _record(self) -> str:
        """The record of changes where it may be read, else who holds privileged roles. Rights come and go."""
        self._turns += 1
        if self._is_audited or self._turns % TURNS_UNTIL_TRIED_AGAIN == 0:
            query = f"tablenameIN{','.join(tables.AUDITED_TABLES)}^ORDERBYDESCsys_created_on"
            found = await self._newest(_AUDIT, query, "sys_created_on")
            self._is_audited = found != HIDDEN
            if self._is_audited:
                return f"{_AUDIT}:{found.partition('/')[0]}"
        query = f"{_PRIVILEGED.query}^ORDERBYDESCsys_updated_on"
        return f"{_ROLES}:{await self._newest(_ROLES, query, 'sys_updated_on')}"

    async def _newest_property(self) -> str:
        query = "ORDERBYDESCsys_updated_on"
        return await self._newest("sys_properties", query, "sys_updated_on", tables.is_wanted_property)

    async def _newest(self, table: str, query: str, column: str, wanted: Callable[[str], bool] | None = None) -> str:
        fields, size = (f"sys_id,name,{column}", WATCHED_ROWS) if wanted else (f"sys_id,{column}", 1)
        try:
            rows, total = await self._source.page(table, query, fields, size, 0)
        except ReadError as failure:
            if failure.state not in (DatasetState.DENIED, DatasetState.UNSUPPORTED):
                raise
            return HIDDEN
        moments = [str(row.get(column)) for row in rows if wanted is None or wanted(str(row.get("name")))]
        return f"{max(moments, default='-')}/{total}"
