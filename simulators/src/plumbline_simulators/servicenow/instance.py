"""The data of a simulated ServiceNow instance: properties, plugins, users and roles, made from their number."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar

from plumbline_simulators.control_plane import UnknownSettingError
from plumbline_simulators.credentials import Tokens
from plumbline_simulators.tables import Row, Table, generated, listed

T = TypeVar("T")
Seed = Literal["weak", "strong", "restricted"]
Access = Literal["allow", "deny", "trim"]

_STRONG_PROPERTIES = {
    "glide.authenticate.multifactor": "true",
    "glide.basicauth.required.jsonv2": "true",
    "glide.basicauth.required.soap": "true",
    "glide.basicauth.required.unl": "true",
    "glide.basicauth.required.scriptedprocessor": "true",
    "glide.ui.concourse.onmessage_enforce_same_origin": "true",
    "glide.enable.password_policy": "true",
    "glide.http.cache_control": "private",
    "glide.login.no_blank_password": "true",
    "glide.script.ccsi.ispublic": "false",
    "glide.script.secure.ajaxgliderecord": "true",
    "glide.script.use.sandbox": "true",
    "glide.sm.default_mode": "deny",
    "glide.soap.require_content_type_xml": "true",
    "glide.soap.strict_security": "true",
    "glide.ui.session_timeout": "30",
    "glide.security.use_csrf_token": "true",
    "glide.ui.user_cookie.max_life_span_in_days": "30",
    "glide.basicauth.required.csv": "true",
    "glide.basicauth.required.xml": "true",
}
_WEAK_CHANGES: dict[str, str | None] = {
    "glide.authenticate.multifactor": "false",
    "glide.basicauth.required.jsonv2": None,
    "glide.basicauth.required.unl": "false",
    "glide.basicauth.required.scriptedprocessor": None,
    "glide.ui.concourse.onmessage_enforce_same_origin": "false",
    "glide.enable.password_policy": None,
    "glide.login.no_blank_password": "false",
    "glide.script.ccsi.ispublic": "true",
    "glide.sm.default_mode": "allow",
    "glide.soap.require_content_type_xml": None,
    "glide.soap.strict_security": "false",
    "glide.ui.session_timeout": "120",
    "glide.ui.user_cookie.max_life_span_in_days": None,
}
_PLUGINS = {
    "com.glide.high_security": "High Security Settings",
    "com.glide.role_management": "Contextual Security: Role Management",
    "com.snc.system_security": "Security Jump Start",
    "com.glide.explicit_roles": "Explicit Roles",
    "com.snc.integration.multifactor.authentication": "Integration - Multifactor Authentication",
}
_SCRIPT_ACTIONS = {
    "SNC User Lockout Check": "5e44f9bf0a0a0a0a019a6440b2137767",
    "SNC User Lockout Check with Auto Unlock": "d92636b2975301008e00958e3b297567",
}
PRIVILEGED_ROLES = ("admin", "security_admin", "user_admin", "oauth_admin", "impersonator", "web_service_admin")


def _sys_id(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _one_of(meanings: dict[str, T], value: Any, name: str) -> T:  # noqa: ANN401
    """What `value` means. Raises ValueError that says what there is."""
    text = str(value).lower()
    if text not in meanings:
        raise ValueError(f"{name} is {' or '.join(meanings)}, not {value!r}")
    return meanings[text]


def stamp(moment: datetime) -> str:
    """A date as the Table API writes it, UTC."""
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def user_key(number: int) -> str:
    """The sys_id of user `number`; ids ascend with the number."""
    return f"{number:032x}"


def user_number(sys_id: str) -> int:
    """The inverse of `user_key`; -1 for anything else."""
    try:
        return int(sys_id, 16)
    except ValueError:
        return -1


class Instance:
    """One simulated instance. `users` counts all user records, `roles` the role rows (as many by default).

    With no users there are no rows that belong to one: no roles, no factors, not even an administrator.
    """

    def __init__(
        self, *, seed: Seed = "weak", users: int = 60, roles: int | None = None, now: datetime | None = None
    ) -> None:
        self.seed = seed
        self.user_count = users
        self.role_count = users if roles is None else roles
        self.now = now or datetime.now(UTC)
        self.tokens = Tokens()
        family = "australia-02-11-2026" if seed == "strong" else "zurich-07-01-2025"
        stated: dict[str, str | None] = dict(_STRONG_PROPERTIES)
        if seed != "strong":
            stated |= _WEAK_CHANGES
        stated |= {"glide.war": f"glide-{family}__patch0-02-24-2026", "glide.buildtag.last": f"glide-{family}__patch0"}
        changed = self.now - timedelta(days=200)
        self.properties = {n: (v, changed, "system") for n, v in stated.items() if v is not None}
        inactive = set() if seed == "strong" else {"com.glide.role_management"}
        self.plugins = {name: ("inactive" if name in inactive else "active", changed) for name in _PLUGINS}
        self.script_actions = {name: (seed == "strong" and "Auto" in name, changed) for name in _SCRIPT_ACTIONS}
        self.user_changes: dict[str, dict[str, str]] = {}
        self.access: dict[str, Access] = {}
        if seed == "restricted":
            self.access = {"user_multifactor_auth": "deny", "sysevent_script_action": "deny", "sys_properties": "trim"}

    def expire_tokens(self) -> None:
        """Make every issued token invalid."""
        self.tokens.expire_all()

    def settings(self) -> dict[str, Any]:
        """Setting name to value: properties by name, `plugin:ID`, `script_action:NAME`."""
        found: dict[str, Any] = dict.fromkeys(_STRONG_PROPERTIES)
        found |= {name: value for name, (value, _, _) in self.properties.items()}
        found |= {f"plugin:{name}": state for name, (state, _) in self.plugins.items()}
        return found | {f"script_action:{name}": active for name, (active, _) in self.script_actions.items()}

    def change(self, name: str, value: Any) -> None:  # noqa: ANN401 - any JSON
        """Change one setting; None deletes a property's row. See `control_plane.Settable`."""
        now = datetime.now(UTC)
        if name.startswith("users."):
            self._change_user(name, value)
        elif name not in self.settings():
            raise UnknownSettingError(name)
        elif name.startswith("plugin:"):
            state = _one_of(
                {"active": "active", "true": "active", "inactive": "inactive", "false": "inactive"}, value, name
            )
            self.plugins[name.removeprefix("plugin:")] = (state, now)
        elif name.startswith("script_action:"):
            active = _one_of({"true": True, "false": False}, value, name)
            self.script_actions[name.removeprefix("script_action:")] = (active, now)
        elif value is None:
            self.properties.pop(name, None)
        else:
            is_boolean = _STRONG_PROPERTIES.get(name) in ("true", "false")
            text = _one_of({"true": "true", "false": "false"}, value, name) if is_boolean else str(value)
            self.properties[name] = (text, now, "admin")

    def _change_user(self, name: str, value: Any) -> None:  # noqa: ANN401
        """`users.NAME.FIELD`: any column of the user's row, as text."""
        username, _, field = name.removeprefix("users.").rpartition(".")
        digits = username.removeprefix("user")
        special = {self.username(0): 0, self.username(1): 1}
        number = special.get(username, int(digits) if digits.isdecimal() else -1)
        if not 0 <= number < self.user_count or self.username(number) != username or field not in USER_COLUMNS[2:]:
            raise UnknownSettingError(name)
        is_boolean = self.user(number)[field] in ("true", "false")
        text = _one_of({"true": "true", "false": "false"}, value, name) if is_boolean else str(value)
        self.user_changes.setdefault(username, {})[field] = text

    def is_hidden(self, table: str, row: Row) -> bool:
        """Whether an access rule trims this row from the answer."""
        trimmed = table == "sys_properties" and row["name"].startswith(("glide.basicauth.", "glide.soap."))
        return self.access.get(table) == "trim" and trimmed

    def username(self, number: int) -> str:
        """The login name of user `number`; 0 is the integration user."""
        return "plumbline.integration" if number == 0 else ("admin" if number == 1 else f"user{number:06d}")

    def roles_of(self, number: int) -> tuple[str, ...]:
        """The roles of user `number`."""
        admins = 3 if self.seed == "strong" else 8
        if 1 <= number <= admins:
            return ("admin", "security_admin") if number == 1 else ("admin",)
        if number % 400 == 13:
            return ("user_admin",)
        return ("itil",) if number else ("x_plumbline_reader",)

    def user(self, number: int) -> Row:
        """The sys_user row."""
        never = number % 89 == 7
        idle = number % 25 if self.seed == "strong" or number % 3 else 200 + number % 100
        row = {
            "sys_id": user_key(number),
            "user_name": self.username(number),
            "name": f"User {number}",
            "active": "true",
            "locked_out": "true" if number % 60 == 59 else "false",
            "last_login_time": "" if never or not number else stamp(self.now - timedelta(days=idle, hours=1)),
            "failed_attempts": "0",
            "enable_multifactor_authn": "false",
            "web_service_access_only": "true" if number == 0 or number % 71 == 70 else "false",
            "internal_integration_user": "true" if number == 0 else "false",
            "identity_type": "Machine" if number == 0 else "Human",
            "source": "",
            "sso_source": "sso:corp" if self.seed == "strong" or number % 5 == 2 else "",
            "federated_id": "",
            "password_needs_reset": "false",
            "sys_created_on": stamp(self.now - timedelta(days=40 + number % 900)),
            "sys_updated_on": stamp(self.now - timedelta(days=30)),
        }
        return row | self.user_changes.get(row["user_name"], {})

    def role_row(self, number: int) -> Row:
        """The sys_user_has_role row: every user once, users with two roles again at the end."""
        user = self.user(number % self.user_count)
        held = self.roles_of(number % self.user_count)
        role = held[min(number // self.user_count, len(held) - 1)]
        return {
            "sys_id": user_key(number),
            "user": user["sys_id"],
            "user.user_name": user["user_name"],
            "user.active": user["active"],
            "user.locked_out": user["locked_out"],
            "role": _sys_id(role),
            "role.name": role,
            "inherited": "false",
            "state": "active",
            "granted_by": "",
            "sys_updated_on": stamp(self.now - timedelta(days=90)),
        }

    def factor(self, number: int) -> Row | None:
        """The user_multifactor_auth row; None for users without a factor."""
        if number == 0 or (self.seed != "strong" and number % 4):
            return None
        return {"sys_id": user_key(number), "user": user_key(number), "validated": "true"}

    def _property_rows(self) -> Iterator[Row]:
        for name, (value, changed, by) in self.properties.items():
            boolean = value in ("true", "false")
            yield {
                "sys_id": _sys_id(name),
                "name": name,
                "value": value,
                "type": "boolean" if boolean else "string",
                "read_roles": "admin",
                "write_roles": "security_admin",
                "private": "false",
                "sys_scope": "global",
                "sys_updated_on": stamp(changed),
                "sys_updated_by": by,
            }

    def tables(self) -> dict[str, Table]:
        """Every table that can be read."""
        plugins = [
            {"sys_id": _sys_id(name), "id": name, "source": name, "name": _PLUGINS[name], "active": state,
             "version": "1.0.0", "available_version": "", "sys_updated_on": stamp(changed)}
            for name, (state, changed) in self.plugins.items()
        ]  # fmt: skip
        actions = [
            {"sys_id": _SCRIPT_ACTIONS[name], "name": name, "active": str(active).lower(),
             "sys_updated_on": stamp(changed), "sys_updated_by": "admin"}
            for name, (active, changed) in self.script_actions.items()
        ]  # fmt: skip
        roles = [
            {"sys_id": _sys_id(role), "name": role, "elevated_privilege": str(role == "security_admin").lower()}
            for role in (*PRIVILEGED_ROLES, "itil")
        ]
        count = self.user_count
        made = [
            listed("sys_properties", PROPERTY_COLUMNS, self._property_rows(), "sys_id"),
            listed("v_plugin", PLUGIN_COLUMNS, plugins, "sys_id"),
            listed("sys_plugins", PLUGIN_COLUMNS, plugins, "sys_id"),
            listed("sysevent_script_action", SCRIPT_COLUMNS, actions, "sys_id"),
            listed("sys_user_role", ROLE_COLUMNS, roles, "sys_id"),
            generated("sys_user", USER_COLUMNS, count, self.user, "sys_id", user_number),
            generated(
                "sys_user_has_role",
                HAS_ROLE_COLUMNS,
                max(self.role_count, count + 2) if count else 0,
                self.role_row,
                "sys_id",
                user_number,
            ),
            generated("user_multifactor_auth", FACTOR_COLUMNS, count, self.factor, "sys_id", user_number),
        ]
        return {table.name: table for table in made}


PROPERTY_COLUMNS = (
    "sys_id", "name", "value", "type", "read_roles", "write_roles", "private", "sys_scope", "sys_updated_on",
    "sys_updated_by",
)  # fmt: skip
PLUGIN_COLUMNS = ("sys_id", "id", "source", "name", "active", "version", "available_version", "sys_updated_on")
SCRIPT_COLUMNS = ("sys_id", "name", "active", "sys_updated_on", "sys_updated_by")
ROLE_COLUMNS = ("sys_id", "name", "elevated_privilege")
USER_COLUMNS = (
    "sys_id", "user_name", "name", "active", "locked_out", "last_login_time", "failed_attempts",
    "enable_multifactor_authn", "web_service_access_only", "internal_integration_user", "identity_type", "source",
    "sso_source", "federated_id", "password_needs_reset", "sys_created_on", "sys_updated_on",
)  # fmt: skip
HAS_ROLE_COLUMNS = (
    "sys_id", "user", "user.user_name", "user.active", "user.locked_out", "role", "role.name", "inherited", "state",
    "granted_by", "sys_updated_on",
)  # fmt: skip
FACTOR_COLUMNS = ("sys_id", "user", "validated")
