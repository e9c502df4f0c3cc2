"""A simulated ServiceNow instance: what its tables hold, how it can be changed, and how it behaves."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, TypeVar

from plumbline_simulators.control_plane import UnknownSettingError
from plumbline_simulators.credentials import Tokens
from plumbline_simulators.servicenow.access import COLUMN_ACCESS, TABLE_ACCESS, Access, AccessRules
from plumbline_simulators.servicenow.contents import Content, Listed, Made, Row, numbered_key
from plumbline_simulators.servicenow.population import Population
from plumbline_simulators.servicenow.profiles import profile
from plumbline_simulators.servicenow.records import ACTOR, Records, now
from plumbline_simulators.servicenow.releases import Family, hardening
from plumbline_simulators.servicenow.schema import SYSTEM_COLUMNS, TABLES
from plumbline_simulators.servicenow.seeds import (
    OAUTH_CLIENT,
    PLUGINS,
    SCRIPT_ACTIONS,
    Seed,
    common_passwords,
    property_row,
    rows_of,
)
from plumbline_simulators.servicenow.selection import Database

T = TypeVar("T")
_FLAG = {"true": "true", "false": "false"}
_ACTIVE = {"active": "active", "true": "active", "inactive": "inactive", "false": "inactive"}


def _one_of(meanings: Mapping[str, T], value: Any, name: str) -> T:  # noqa: ANN401
    """What `value` means. Raises ValueError that says what there is."""
    text = str(value).lower()
    if text not in meanings:
        raise ValueError(f"{name} is {' or '.join(meanings)}, not {value!r}")
    return meanings[text]


@dataclass
class Behaviour:
    """What no table says: how this instance answers.

    `unordered`: without ORDERBY every call gets another order. `requests_per_hour` is what an active rate limit rule
    allows; `semaphores` how many requests run at once, None for any number. `token_scope` other than useraccount opens
    no table. `policy_methods` are the ways to log in that the API access policies list, `jwt_key_id` is the one JWT
    verifier there is ("" for any), `refresh_seconds` the life of a refresh token. `broken_truncation` spoils the JSON
    of a cancelled answer as well.
    """

    unordered: bool = False
    requests_per_hour: int = 100_000
    semaphores: int | None = None
    token_scope: str = "useraccount"  # noqa: S105 - the name of a scope
    policy_methods: str = "basic,oauth,api_key"
    jwt_key_id: str = ""
    refresh_seconds: float = 8_640_000.0
    broken_truncation: bool = False


class Instance:
    """One simulated instance, set up as the profile named by `seed` says, on its release or another.

    `users` counts all user records, `leavers` the inactive ones among them, `roles` the role rows (twice as many as
    users by default), `acls` the ordinary ACLs. With no users there are no rows that belong to one: no roles, no
    factors, not even an administrator. Raises ValueError for a profile or a release that does not exist.
    """

    def __init__(
        self,
        *,
        seed: str = "weak",
        users: int = 60,
        roles: int | None = None,
        now: datetime | None = None,
        release: str | None = None,
        leavers: int = 0,
        acls: int = 120,
    ) -> None:
        found = profile(seed)
        self.profile = found.on(Family(release)) if release else found
        self.seed, self.user_count, self.now = seed, users, now or datetime.now(UTC)
        is_strong = self.profile.rows == "strong"
        self.people = Population(users=users, roles=roles, leavers=leavers, is_strong=is_strong, now=self.now)
        self._seed = Seed(self.profile, self.people, self.now, acls)
        self.records = Records(rows_of(self._seed))
        self.rules = AccessRules(dict(self.profile.access), dict(self.profile.columns))
        self.behaviour, self.tokens = Behaviour(), Tokens()
        self._revision, self._database = 0, (-1, Database({}))

    @property
    def release(self) -> Family:
        """The release family that the instance runs."""
        return self.profile.release

    @property
    def access(self) -> dict[str, Access]:
        """How each table may be read, if not freely."""
        return self.rules.tables

    def expire_tokens(self) -> None:
        """Make every issued token invalid."""
        self.tokens.expire_all()

    def property_value(self, name: str) -> str | None:
        """The value of a system property; None when it has no row."""
        row = self.records.find("sys_properties", name)
        return row["value"] if row else None

    def is_on(self, name: str) -> bool:
        """Whether a property is true; one without a row is not."""
        return (self.property_value(name) or "").strip().lower() == "true"

    def is_plugin_active(self, plugin: str) -> bool:
        """Whether a plugin is active."""
        row = self.records.find("v_plugin", plugin)
        return row is not None and row["active"] == "active"

    def user(self, number: int) -> Row:
        """The sys_user row."""
        return self.people.users().row(number)

    # --- reading

    @property
    def database(self) -> Database:
        """The tables as they are now."""
        if self._database[0] != self._revision:
            self._database = self._revision, Database(self._contents())
        return self._database[1]

    def tables(self) -> Mapping[str, Content]:
        """Every table that exists on this release."""
        return self.database.tables

    def _contents(self) -> dict[str, Content]:
        passwords = Made(TABLES["blacklisted_password"], range(common_passwords(self._seed)), {}, {})
        made: list[Content] = [self.people.users(), self.people.has_roles(), self.people.factors(), passwords]
        found = {content.schema.name: content for content in made}
        for name, schema in TABLES.items():
            rows = self.records.tables.get(schema.parent or name)
            if rows is not None and self.release.is_at_least(schema.since):
                of_class = (row for row in rows.values() if schema.parent is None or row["sys_class_name"] == name)
                found[name] = Listed(schema, of_class)
        return found

    # --- changing

    def settings(self) -> dict[str, Any]:
        """Every setting by the name that `change` takes, but for those of single users, and rights that are not cut.

        Properties by their name, `plugin:ID`, `script_action:NAME`, `TABLE:LABEL.COLUMN` for cells of the other small
        tables, `access:TABLE`, `access:TABLE.COLUMN`, `access:TABLE:range`, `simulator:NAME`.
        """
        known = [name for name, stated in hardening().items() if stated.exists_on(self.release)]
        rows = self.records.tables
        found: dict[str, Any] = dict.fromkeys([*known, *self.profile.properties])
        found |= {row["name"]: row["value"] for row in rows["sys_properties"].values()}
        found |= {f"plugin:{row['id']}": row["active"] for row in rows["v_plugin"].values()}
        actions = rows["sysevent_script_action"].values()
        found |= {f"script_action:{row['name']}": row["active"] == "true" for row in actions}
        found |= self._cells()
        found |= {f"access:{name}": kind for name, kind in (*self.rules.tables.items(), *self.rules.columns.items())}
        found |= {f"access:{table}:range": "deny" for table in self.rules.without_range}
        return found | {f"simulator:{name}": value for name, value in asdict(self.behaviour).items()}

    def _cells(self) -> dict[str, str]:
        hidden = ("sys_properties", "v_plugin", "sys_plugins", "sysevent_script_action", "sys_dictionary")
        return {
            f"{table}:{TABLES[table].label(row)}.{column}": row[column]
            for table, rows in self.records.tables.items()
            if table not in hidden and not table.startswith("sys_audit")
            for row in rows.values()
            for column in sorted(TABLES[table].columns - set(SYSTEM_COLUMNS))
        }

    def change(self, name: str, value: Any) -> None:  # noqa: ANN401 - any JSON
        """Change one setting; None deletes a property's row or, for `TABLE:LABEL`, that row; an object creates it.

        Also `users.NAME.COLUMN`, `roles.NAME.ROLE` and `factors.NAME`. See `control_plane.Settable`.
        """
        kind, _, rest = name.partition(":")
        changes: dict[str, Callable[[str, str, Any], None]] = {
            "plugin": self._change_plugin,
            "script_action": self._change_script_action,
            "access": self._change_access,
            "simulator": self._change_behaviour,
        }
        subject, _, of_user = name.partition(".")
        if kind in changes and rest:
            changes[kind](name, rest, value)
        elif rest and kind in self.records.tables:
            self._change_row(name, kind, rest, value)
        elif subject in ("users", "roles", "factors"):
            self._change_people(name, subject, of_user, value)
        else:
            self._change_property(name, value)
        self._revision += 1

    def _change_property(self, name: str, value: Any) -> None:  # noqa: ANN401
        row, known = self.records.find("sys_properties", name), hardening().get(name)
        if row is None and name not in self.settings():
            raise UnknownSettingError(name)
        if value is not None:
            text = _one_of(_FLAG, value, name) if known and known.is_boolean else str(value)
            if row:
                self.records.set("sys_properties", row, "value", text)
            else:
                self.records.create("sys_properties", property_row(name, text))
        elif row:
            self.records.delete("sys_properties", row)

    def _change_plugin(self, name: str, plugin: str, value: Any) -> None:  # noqa: ANN401
        if plugin not in PLUGINS:
            raise UnknownSettingError(name)
        for table in ("v_plugin", "sys_plugins"):
            if row := self.records.find(table, plugin):
                self.records.set(table, row, "active", _one_of(_ACTIVE, value, name))

    def _change_script_action(self, name: str, action: str, value: Any) -> None:  # noqa: ANN401
        row = self.records.find("sysevent_script_action", SCRIPT_ACTIONS.get(action, ""))
        if row is None:
            raise UnknownSettingError(name)
        self.records.set("sysevent_script_action", row, "active", _one_of(_FLAG, value, name))

    def _change_row(self, name: str, table: str, rest: str, value: Any) -> None:  # noqa: ANN401
        row, columns = self.records.find(table, rest), TABLES[table].columns
        label, _, column = rest.rpartition(".")
        owner = self.records.find(table, label)
        if isinstance(value, dict):
            if unknown := set(value) - columns:
                raise ValueError(f"{table} has no column {min(unknown)}; it has {', '.join(sorted(columns))}")
            self.records.create(table, {key: str(cell) for key, cell in value.items()})
        elif row and value is None:
            self.records.delete(table, row)
        elif owner and column in columns - set(SYSTEM_COLUMNS):
            is_flag = owner[column] in _FLAG
            self.records.set(table, owner, column, _one_of(_FLAG, value, name) if is_flag else str(value))
        else:
            raise UnknownSettingError(name)

    def _change_people(self, name: str, subject: str, rest: str, value: Any) -> None:  # noqa: ANN401
        people = self.people
        username, _, last = (rest, "", "") if subject == "factors" else rest.rpartition(".")
        number = people.number_of(username)
        if number is None:
            raise UnknownSettingError(name)
        if subject == "users":
            self._change_user(name, number, last, value)
        elif subject == "factors":
            people.set_factor(number, now(), is_validated=_one_of(_FLAG, value, name) == "true")
            self.records.trace("user_multifactor_auth", numbered_key(number), "validated", "", str(value).lower())
        elif last in people.roles:
            self._change_role(number, last, is_held=_one_of(_FLAG, value, name) == "true")
        else:
            raise UnknownSettingError(name)

    def _change_user(self, name: str, number: int, column: str, value: Any) -> None:  # noqa: ANN401
        """`users.NAME.COLUMN`: any column of the user's row but its name, as text."""
        if column not in TABLES["sys_user"].columns - {"sys_id", "user_name"}:
            raise UnknownSettingError(name)
        old = self.user(number)[column]
        text = _one_of(_FLAG, value, name) if old in _FLAG else str(value)
        cells = self.people.changed.setdefault(number, {})
        cells |= {"sys_updated_on": now(), "sys_updated_by": ACTOR, column: text}
        self.records.trace("sys_user", numbered_key(number), column, old, text)

    def _change_role(self, number: int, role: str, *, is_held: bool) -> None:
        people = self.people
        if is_held and role not in people.roles_of(number):
            people.grant(number, role, now())
            (row,) = [row for row in people.rows_of_user(number) if people.held(row)[1] == role]
            self.records.trace("sys_user_has_role", numbered_key(row), "role", "", role)
        elif not is_held:
            for row in people.revoke(number, role):
                self.records.trace_deletion("sys_user_has_role", numbered_key(row), role)

    def _change_access(self, name: str, rest: str, value: Any) -> None:  # noqa: ANN401
        """`TABLE` (allow, deny, …), `TABLE.COLUMN` (allow, blank, drop) or `TABLE:range` (allow, deny)."""
        table, column, range_ = (
            rest.partition(".")[0].partition(":")[0],
            rest.partition(".")[2],
            rest.endswith(":range"),
        )
        if table not in TABLES or (column and column not in TABLES[table].columns):
            raise UnknownSettingError(name)
        if range_:
            {"deny": self.rules.without_range.add, "allow": self.rules.without_range.discard}[
                _one_of({"allow": "allow", "deny": "deny"}, value, name)
            ](table)
        elif column:
            self.rules.columns.pop(rest, None)
            if kind := _one_of({"allow": None, **{kind: kind for kind in COLUMN_ACCESS}}, value, name):
                self.rules.columns[rest] = kind
        else:
            self.rules.tables[table] = _one_of({kind: kind for kind in TABLE_ACCESS}, value, name)

    def _change_behaviour(self, name: str, key: str, value: Any) -> None:  # noqa: ANN401
        if key not in {field.name for field in fields(Behaviour)}:
            raise UnknownSettingError(name)
        old = getattr(self.behaviour, key)
        expected = int if key == "semaphores" and value is not None else type(old)
        if type(value) is not expected and value is not None:
            raise ValueError(f"{name} is {expected.__name__}, not {value!r}")
        setattr(self.behaviour, key, value)

    @property
    def oauth_client(self) -> Row | None:
        """The registry entry of the collector."""
        return self.records.find("oauth_entity", OAUTH_CLIENT)
