"""The rows of the small tables at first: one instance that is kept well, and one that is not. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from plumbline_simulators.credentials import Credentials
from plumbline_simulators.servicenow.contents import Row, numbered_key
from plumbline_simulators.servicenow.identity import role_key, stamp, sys_id
from plumbline_simulators.servicenow.population import MID_USER, PRIVILEGED_ROLES, Population
from plumbline_simulators.servicenow.profiles import Profile
from plumbline_simulators.servicenow.releases import build_properties
from plumbline_simulators.servicenow.schema import TABLES

OAUTH_CLIENT = "Plumbline"
TABLE_POLICY = "Table GET"
TABLE_API_ACL = "Table API"
SCRIPT_ACTIONS = {
    "SNC User Lockout Check": "5e44f9bf0a0a0a0a019a6440b2137767",
    "SNC User Lockout Check with Auto Unlock": "d92636b2975301008e00958e3b297567",
}
MFA_CRITERION = "d427668b73003300fdbd04fbc4f6a7b6"
CHAT_PAGE = "04b1905473222300e985658b4cf6a7ef"
PLUGINS = {
    "com.glide.high_security": "High Security Settings",
    "com.glide.role_management": "Contextual Security: Role Management",
    "com.snc.system_security": "Security Jump Start",
    "com.glide.explicit_roles": "Explicit Roles",
    "com.snc.integration.multifactor.authentication": "Integration - Multifactor Authentication",
    "com.snc.integration.sso.multi.installer": "Integration - Multiple Provider Single Sign-On Installer",
    "com.snc.ipauthenticator": "IP Range Based Authentication",
    "com.glide.email_filter": "Email Filters",
    "com.glide.limit.concurrent.sessions": "Limit Concurrent Sessions",
    "com.glide.security.audit": "Identity and Access Audit",
    "com.snc.snc_access_control": "ServiceNow Access Control",
    "com.glide.rest.policy": "REST API Access Policies",
    "com.glide.rest.auth.scope": "REST API Auth Scope",
    "com.glide.tokenbased_auth": "API Key and HMAC Authentication",
    "com.snc.adaptive_authentication": "Adaptive Authentication",
    "com.glide.password_policy": "Password Policy",
    "com.snc.platform.security.oauth": "OAuth 2.0",
    "com.glide.now.platform.encryption": "Now Platform Encryption",
}
_ALLOWED_ADDRESSES = (
    ("127.0.0.0", "127.255.255.255"),
    ("::1", "::1"),
    ("192.0.2.0", "192.0.2.255"),
    ("198.51.100.0", "198.51.100.255"),
)
"""Who reaches the well kept instance: callers on the same machine, and two of the networks that documents use."""
_NOT_AUDITED_WHEN_WEAK = ("sys_user_role_contains", "sys_ws_operation")
_COMMON_PASSWORDS = 5_000
_FILLER_TABLES = ("incident", "problem", "change_request", "sc_request", "cmdb_ci", "kb_knowledge", "task")
_OPERATIONS = ("read", "write", "create", "delete")
_GUARDS = {4: {"condition": "active=true"}, 8: {"script": "answer = true;"}}


@dataclass(frozen=True)
class Seed:
    """What the rows depend on."""

    profile: Profile
    people: Population
    now: datetime
    acls: int

    @property
    def is_strong(self) -> bool:
        """Whether the rows are those of the well kept instance."""
        return self.profile.rows == "strong"

    def yes(self, *, strong: bool, weak: bool) -> str:
        """A flag that depends on how the instance is kept."""
        return str(strong if self.is_strong else weak).lower()

    def day(self, days: int) -> str:
        """A date so many days from now."""
        return stamp(self.now + timedelta(days=days))


Rows = Mapping[str, list[Row]]
Maker = Callable[[Seed], Iterator[tuple[str, Row]]]


def rows_of(seed: Seed) -> dict[str, list[Row]]:
    """The rows of every table that is held as a list, with all their columns."""
    found: dict[str, list[Row]] = {
        name: [] for name, schema in TABLES.items() if schema.parent is None and name not in MADE
    }
    for make in _MAKERS:
        for table, cells in make(seed):
            found[table].append(complete(table, cells, seed.day(-200)))
    return found


MADE = ("sys_user", "sys_user_has_role", "user_multifactor_auth", "blacklisted_password")


def complete(table: str, cells: Mapping[str, str], at: str) -> Row:
    """A row with every column of its table, empty where nothing is said, and a sys_id that its name gives."""
    schema = TABLES[table]
    row = dict.fromkeys(schema.columns, "") | {"sys_created_on": at, "sys_updated_on": at, "sys_updated_by": "system"}
    row |= cells
    row["sys_id"] = row["sys_id"] or sys_id(f"{table}/{schema.label(row) or sorted(row.items())}")
    return row


def _properties(seed: Seed) -> Iterator[tuple[str, Row]]:
    build = build_properties(seed.profile.release, seed.now - timedelta(days=seed.profile.patched_days_ago))
    for name, value in (seed.profile.property_values() | build).items():
        yield "sys_properties", property_row(name, value)


def property_row(name: str, value: str) -> Row:
    """The cells of a property."""
    kind = "boolean" if value in ("true", "false") else "string"
    rights = {"read_roles": "admin", "write_roles": "security_admin"}
    return {"name": name, "value": value, "type": kind, "private": "false", "sys_scope": "global", **rights}


def _plugins(seed: Seed) -> Iterator[tuple[str, Row]]:
    for number, (plugin, name) in enumerate(PLUGINS.items()):
        active = "inactive" if plugin in seed.profile.inactive_plugins else "active"
        newer = "1.1.0" if not seed.is_strong and number % 5 == 4 else ""
        yield "sys_plugins", {"source": plugin, "active": active}
        yield (
            "v_plugin",
            {"id": plugin, "name": name, "active": active, "version": "1.0.0", "available_version": newer},
        )
    yield "sys_store_app", {"scope": "sn_si", "version": "13.2.1", "active": "true"}
    yield "sys_store_app", {"scope": "x_acme_portal", "version": "1.0.4", "active": "true"}


def _sign_in(seed: Seed) -> Iterator[tuple[str, Row]]:
    for name, key in SCRIPT_ACTIONS.items():
        active = seed.yes(strong="Auto" in name, weak=False)
        yield "sysevent_script_action", {"sys_id": key, "name": name, "active": active}
    criterion = {"sys_id": MFA_CRITERION, "name": "Role based multi-factor authentication"}
    yield "multi_factor_criteria", criterion | {"active": seed.yes(strong=True, weak=False)}
    policy = sys_id("password_policy/Default Strong")
    yield "password_policy", {"sys_id": policy, "name": "Default Strong"}
    yield "pwd_cred_store", {"name": "Local ServiceNow Instance", "password_policy": policy}
    if not seed.is_strong:
        yield "pwd_cred_store", {"name": "Warehouse directory", "password_policy": ""}
    saml = {"name": "Corporate SAML", "default": "true", "sys_class_name": "saml2_update1_properties"}
    yield "sso_properties", saml | {"active": "true"}
    oidc = {"name": "Partner OIDC", "default": "false", "sys_class_name": "oidc_identity_provider"}
    yield "sso_properties", oidc | {"active": seed.yes(strong=True, weak=False)}


def _roles(seed: Seed) -> Iterator[tuple[str, Row]]:
    for role in seed.people.roles:
        elevated = str(role == "security_admin").lower()
        cells = {"sys_id": role_key(role), "name": role, "elevated_privilege": elevated}
        yield "sys_user_role", cells | {"assignable_by": "admin" if role in PRIVILEGED_ROLES else ""}
    contains = [("admin", "user_admin"), ("admin", "itil"), ("itil", "snc_internal")]
    if not seed.is_strong:
        contains.append(("x_legacy_ops", "admin"))
    for role, contained in contains:
        yield "sys_user_role_contains", {"role": role_key(role), "contains": role_key(contained)}
    groups = {"Service Desk": "itil", "Platform Administrators": "user_admin"}
    for name, role in groups.items():
        group = sys_id(f"sys_user_group/{name}")
        yield "sys_user_group", {"sys_id": group, "name": name, "active": "true"}
        yield "sys_group_has_role", {"group": group, "role": role_key(role)}
        members = [number for number in (2, 3, 13) if number < seed.people.count]
        for number in members:
            yield "sys_user_grmember", {"group": group, "user": numbered_key(number)}


def _machine_accounts(seed: Seed) -> Iterator[tuple[str, Row]]:
    decided = seed.yes(strong=True, weak=False)
    for number in [n for n in (5, 22, 41) if n < seed.people.count]:
        cells = {"user": numbered_key(number), "decision": "no_grant" if seed.is_strong else "", "usage_count": "17"}
        cells |= {"action_taken": decided, "last_seen": seed.day(-number), "source": "hybrid_user_tracking"}
        yield "sys_user_basic_auth_exception", cells


def _oauth(seed: Seed) -> Iterator[tuple[str, Row]]:
    base = {"type": "client", "active": "true", "public_client": "false", "use_mutual_auth": "false"}
    base |= {"access_token_lifespan": "1800", "refresh_token_lifespan": "8640000"}
    own = {"name": OAUTH_CLIENT, "client_id": Credentials.client_id, "default_grant_type": "client_credentials"}
    yield "oauth_entity", base | own | {"access_token_lifespan": "3600", "user": numbered_key(0)}
    yield "oauth_entity", base | {"name": "Corporate portal", "redirect_url": "https://portal.example.com/callback"}
    if seed.is_strong:
        return
    old = {"name": "Old portal", "redirect_url": "http://portal.example.com/callback"}
    yield "oauth_entity", base | old | {"access_token_lifespan": "86400", "refresh_token_lifespan": "31536000"}
    yield "oauth_entity", base | {"name": "Mobile app", "public_client": "true", "code_challenge_method": ""}


def _interfaces(seed: Seed) -> Iterator[tuple[str, Row]]:
    policy = {"name": TABLE_POLICY, "api": "Table API", "api_path": "/now/table", "http_method": "get"}
    applied = dict.fromkeys(("apply_all_methods", "apply_all_resources", "apply_all_versions"), "true")
    yield "sys_api_access_policy", policy | applied | {"active": "true", "apply_all": "true", "apply_global": "true"}
    yield from _scripted_rest(seed)
    yield "sys_processor", {"name": "ExportReport", "type": "script", "csrf": "true", "active": "true"}
    yield "sys_cors_rule", {"active": seed.yes(strong=False, weak=True)}
    if seed.is_strong:
        yield "sys_rate_limit_rules", {"name": "Table API for everyone", "active": "true"}
    else:
        yield "sys_processor", {"name": "LegacyImport", "type": "script", "csrf": "false", "active": "true"}


def _scripted_rest(seed: Seed) -> Iterator[tuple[str, Row]]:
    for service in ("x_acme_orders", "x_acme_status"):
        definition = sys_id(f"sys_ws_definition/{service}")
        acl = "Scripted REST External Default"
        yield "sys_ws_definition", {"sys_id": definition, "name": service, "active": "true", "enforce_acl": acl}
        for number, method in enumerate(("GET", "POST", "DELETE")):
            path = f"/{method.lower()}"
            is_guarded = seed.is_strong or (service == "x_acme_orders" and number < 2)
            guards = ("requires_authentication", "requires_acl_authorization", "requires_snc_internal_role")
            yield (
                "sys_ws_operation",
                {
                    **dict.fromkeys(guards, str(is_guarded).lower()),
                    "name": f"{service} {method}",
                    "http_method": method,
                    "relative_path": path,
                    "operation_uri": f"/api/{service}{path}",
                    "enforce_acl": acl if is_guarded else "",
                    "web_service_definition": definition,
                    "active": "true",
                },
            )


def _access_rules(seed: Seed) -> Iterator[tuple[str, Row]]:
    """ACLs: those with a role, a condition or a script, and on the weak instance those with nothing or for anyone."""
    for number in range(seed.acls):
        table, operation = _FILLER_TABLES[number % len(_FILLER_TABLES)], _OPERATIONS[number // 7 % len(_OPERATIONS)]
        name = f"{table}.field_{number // 28:04d}" if number >= len(_FILLER_TABLES) * len(_OPERATIONS) else table
        guard = _GUARDS.get(number % 9, {})
        yield from _acl(name, operation, () if guard else ("itil",), **guard)
    yield from _acl("x_acme_order", "read", ("itil",))
    yield from _acl("AcmeOrderUtils", "execute", ("itil",), type="client_callable_script_include")
    yield from _acl(TABLE_API_ACL, "execute", ("snc_platform_rest_api_access",), type="REST_Endpoint", active="false")
    yield from _acl("x_acme_order.secret", "read", (), decision_type="deny_unless", security_attribute="local_user")
    if not seed.is_strong:
        yield from _acl("x_acme_note", "read", ())
        yield from _acl("u_visitor", "read", ("public",))
        yield from _acl("StatusProcessor", "execute", ("public",), type="processor")


def _acl(name: str, operation: str, roles: Iterable[str], **cells: str) -> Iterator[tuple[str, Row]]:
    base = {"type": "record", "admin_overrides": "true", "decision_type": "allow_if", "active": "true"}
    key = sys_id(f"sys_security_acl/{name}/{operation}")
    yield "sys_security_acl", {"sys_id": key, "name": name, "operation": operation, **base, **cells}
    for role in roles:
        yield "sys_security_acl_role", {"sys_security_acl": key, "sys_user_role": role_key(role)}


def _public_surface(seed: Seed) -> Iterator[tuple[str, Row]]:
    for page in ("login", "logout", "login_cancel"):
        yield "sys_public", {"page": page, "active": "true"}
    yield "sys_public", {"page": "kb_view", "active": seed.yes(strong=False, weak=True)}
    chat = {"sys_id": CHAT_PAGE, "page": "sn_va_web_client_app_embed"}
    yield "sys_public", chat | {"active": seed.yes(strong=False, weak=True)}
    yield "sp_page", {"id": "landing", "name": "Landing", "public": "true"}
    yield "sp_page", {"id": "acme_orders", "name": "Orders", "public": seed.yes(strong=False, weak=True)}
    yield "sp_widget", {"id": "widget-login", "name": "Login", "public": "true"}
    yield "sp_widget", {"id": "widget-simple-list", "name": "Simple List", "public": seed.yes(strong=False, weak=True)}
    script = {"client_callable": "true", "active": "true", "sys_scope": "x_acme"}
    includes = ["AcmeOrderUtils"] if seed.is_strong else ["AcmeOrderUtils", "AcmeLookup"]
    for name in includes:
        yield "sys_script_include", script | {"api_name": f"x_acme.{name}", "name": name}
    for table in ["x_acme_order"] if seed.is_strong else ["x_acme_order", "x_acme_note", "u_visitor", "u_scratch"]:
        yield "sys_db_object", {"name": table}
    yield "sys_db_object", {"name": "incident"}


def _knowledge(seed: Seed) -> Iterator[tuple[str, Row]]:
    for name in ("IT", "HR"):
        base, criteria = sys_id(f"kb_knowledge_base/{name}"), sys_id(f"user_criteria/{name}")
        yield "kb_knowledge_base", {"sys_id": base, "active": "true"}
        if seed.is_strong or name == "HR":
            yield "kb_uc_can_read_mtom", {"kb_knowledge_base": base, "user_criteria": criteria}
        if seed.is_strong:
            yield "kb_uc_can_contribute_mtom", {"kb_knowledge_base": base, "user_criteria": criteria}


def _network(seed: Seed) -> Iterator[tuple[str, Row]]:
    if seed.is_strong:
        everyone = {"type": "deny", "range_start": "0.0.0.0", "range_end": "255.255.255.255"}  # noqa: S104 - a range of addresses, nothing listens
        yield "ip_access", everyone | {"direction": "inbound", "active": "true"}
        for start, end in _ALLOWED_ADDRESSES:
            allowed = {"type": "allow", "range_start": start, "range_end": end}
            yield "ip_access", allowed | {"direction": "inbound", "active": "true"}
    secure = seed.yes(strong=True, weak=False)
    url = f"{'ldaps' if seed.is_strong else 'ldap'}://directory.example.com"
    directory = {"name": "Corporate directory", "active": "true", "server_url": url, "ssl": secure}
    yield "ldap_server_config", directory | {"authenticate": "true"}
    yield "ldap_server_url", {"active": "true", "server_url": url}
    yield from _certificates(seed)
    yield from _mid_servers(seed)
    if not seed.is_strong:
        yield "sys_whitelist_package", {}


def _certificates(seed: Seed) -> Iterator[tuple[str, Row]]:
    ends = {"corp-ca": 400, "sso-signing": 200 if seed.is_strong else 12, "partner": 300 if seed.is_strong else -20}
    for name, days in ends.items():
        yield (
            "sys_certificate",
            {
                "name": name,
                "type": "trust_store",
                "format": "pem",
                "active": "true",
                "valid_from": seed.day(days - 730),
                "expires": seed.day(days),
                "subject": f"CN={name},O=Example",
                "issuer": "CN=Example CA,O=Example",
            },
        )
    yield "sys_certificate", {"name": "retired", "active": "false", "expires": seed.day(-900), "format": "pem"}


def _mid_servers(seed: Seed) -> Iterator[tuple[str, Row]]:
    build = build_properties(seed.profile.release, seed.now - timedelta(days=seed.profile.patched_days_ago))
    current = build["glide.war"].removeprefix("glide-")
    for number, name in enumerate(("mid-eu-1", "mid-eu-2")):
        key, is_kept = sys_id(f"ecc_agent/{name}"), seed.is_strong or number == 0
        yield (
            "ecc_agent",
            {
                "sys_id": key,
                "name": name,
                "status": "Up" if is_kept else "Down",
                "validated": str(is_kept).lower(),
                "version": current if is_kept else "xanadu-07-02-2024__patch1-10-12-2024",
                "host_name": f"{name}.example.com",
                "user_name": MID_USER,
                "last_refreshed": seed.day(0 if is_kept else -40),
                "stopped": "false",
            },
        )
        audit = {"name": "mid.log.command_audit.enable", "ecc_agent": key}
        yield "ecc_agent_property", audit | {"value": seed.yes(strong=True, weak=False)}


def _dictionary(seed: Seed) -> Iterator[tuple[str, Row]]:
    for name, schema in TABLES.items():
        is_audited = seed.is_strong or name not in _NOT_AUDITED_WHEN_WEAK
        yield "sys_dictionary", {"name": name, "internal_type": "collection", "audit": str(is_audited).lower()}
        for column in sorted(schema.columns):
            kind = "reference" if column in schema.references else "string"
            yield "sys_dictionary", {"name": name, "element": column, "internal_type": kind, "audit": "false"}


_MAKERS: tuple[Maker, ...] = (
    _properties, _plugins, _sign_in, _roles, _machine_accounts, _oauth, _interfaces, _access_rules, _public_surface,
    _knowledge, _network, _dictionary,
)  # fmt: skip


def common_passwords(seed: Seed) -> int:
    """How many excluded passwords the instance holds."""
    return _COMMON_PASSWORDS if seed.is_strong else 0
