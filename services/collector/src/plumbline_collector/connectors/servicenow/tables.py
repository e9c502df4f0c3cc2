"""What is read of which ServiceNow table: one selection each. Pure.

Small tables are read whole, large ones by query. Nothing is asked for row by row.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from plumbline_collector.connectors.servicenow.columns import LABELS
from plumbline_collector.connectors.servicenow.network import COMMAND_AUDIT
from plumbline_collector.connectors.servicenow.people import BUILT_IN_ACCOUNTS, PRIVILEGED_ROLES
from plumbline_collector.connectors.servicenow.queries import (
    Condition,
    Either,
    EndsWith,
    Equals,
    Is,
    IsEmpty,
    OneOf,
    Selection,
    StartsWith,
    in_chunks,
)

BUILD_PROPERTIES = ("glide.war", "glide.buildtag.last", "glide.buildname", "glide.buildtag")
NAMES_PER_QUERY = 100
"""How many property names one query holds."""
IDS_PER_QUERY = 150
"""How many record ids one query holds: an id has 32 characters, and the comma after it takes three."""
TABLES_PER_QUERY = 75
"""How many custom tables one query for their access rules names, each twice."""
SCRIPT_ACTIONS = ("5e44f9bf0a0a0a0a019a6440b2137767", "d92636b2975301008e00958e3b297567")
AUDITED_TABLES = (
    "sys_user", "sys_user_has_role", "sys_user_role", "sys_user_role_contains", "sys_properties", "sys_security_acl",
    "oauth_entity", "sys_public", "ip_access", "sys_ws_operation",
)  # fmt: skip

_ACTIVE = Is("active")
_STATE_ACTIVE = Equals("state", "active")


def of_table(table: str, columns: str, *where: Condition, name: str = "", is_never_empty: bool = False) -> Selection:
    """A selection."""
    return Selection(table, columns, where, name, is_never_empty)


@cache
def names(file: str) -> tuple[str, ...]:
    """The names in a list that ships with the package, one a line; `#` begins a comment."""
    lines = (Path(__file__).parent / file).read_text(encoding="utf-8").splitlines()
    return tuple(line for line in map(str.strip, lines) if line and not line.startswith("#"))


_ACTIVE_PLUGIN = (Equals("active", "active"), Equals("active", "true"))
PLUGINS = of_table(
    "v_plugin",
    "id,name,active,version,available_version",
    Either((OneOf("id", names("plugin_ids.txt")), *_ACTIVE_PLUGIN)),
    is_never_empty=True,
)
OLD_PLUGINS = of_table(
    "sys_plugins",
    "source,name,active,version,available_version",
    Either((OneOf("source", names("plugin_ids.txt")), *_ACTIVE_PLUGIN)),
    is_never_empty=True,
)
SCRIPT_ACTION_ROWS = of_table("sysevent_script_action", "name,active", OneOf("sys_id", SCRIPT_ACTIONS))
STORE_APPS = of_table("sys_store_app", "scope,version", _ACTIVE)
DICTIONARY_COLUMNS = of_table(
    "sys_dictionary", "name,element,column_label", OneOf("name", tuple(LABELS)), name="columns"
)
AUDITS = of_table(
    "sys_dictionary", "name,audit", OneOf("name", AUDITED_TABLES), Equals("internal_type", "collection"), name="audit"
)
CREDENTIAL_STORES = of_table("pwd_cred_store", "name,password_policy")
PASSWORD_POLICIES = of_table("password_policy", "name")
USERS = of_table(
    "sys_user",
    "user_name,locked_out,last_login_time,failed_attempts,enable_multifactor_authn,web_service_access_only,"
    "internal_integration_user,identity_type,source,sso_source,federated_id,password_needs_reset,sys_created_on",
    _ACTIVE,
    is_never_empty=True,
)
BUILT_IN = of_table(
    "sys_user",
    "user_name,active,locked_out,last_login_time,sys_created_on",
    OneOf("user_name", BUILT_IN_ACCOUNTS),
    name="built_in",
)
INACTIVE_USERS = of_table("sys_user", "active", Is("active", value=False), name="inactive")
UNLOCKED_USERS = of_table(
    "sys_user", "active,locked_out", Is("active", value=False), Is("locked_out", value=False), name="inactive_unlocked"
)
FACTORS = of_table("user_multifactor_auth", "user,validated", Is("validated"))
BASIC_AUTH_EXCEPTIONS = of_table(
    "sys_user_basic_auth_exception", "user,user.user_name,decision,action_taken,last_seen,usage_count,source"
)
ELEVATED_ROLES = of_table("sys_user_role", "name,assignable_by", Is("elevated_privilege"), is_never_empty=True)
ROLE_CONTAINMENTS = of_table(
    "sys_user_role_contains", "role.name,contains.name", OneOf("contains.name", ("admin", "security_admin"))
)
GROUP_ROLES = of_table("sys_group_has_role", "group,group.name,role.name", OneOf("role.name", PRIVILEGED_ROLES))
MFA_CRITERIA = of_table("multi_factor_criteria", "name,active")
IDENTITY_PROVIDERS = of_table("sso_properties", "name,active,default,sys_class_name")
EXCLUDED_PASSWORDS = of_table("blacklisted_password", "")
JAVA_MEMBERS, JAVA_PACKAGES = of_table("sys_whitelist_member", ""), of_table("sys_whitelist_package", "")
OAUTH_CLIENTS = of_table(
    "oauth_entity",
    "name,type,active,access_token_lifespan,refresh_token_lifespan,redirect_url,public_client,default_grant_type,"
    "code_challenge_method,use_mutual_auth,user",
)
API_POLICIES = of_table(
    "sys_api_access_policy",
    "name,active,api,api_path,http_method,version,apply_global,apply_all_methods,apply_all_resources,apply_all_tables,"
    "apply_all_versions",
)
REST_RESOURCES = of_table(
    "sys_ws_operation",
    "name,http_method,relative_path,operation_uri,requires_authentication,requires_acl_authorization,"
    "requires_snc_internal_role,enforce_acl,web_service_definition",
    _ACTIVE,
)
REST_SERVICES = of_table("sys_ws_definition", "name,enforce_acl")
CORS_RULES = of_table("sys_cors_rule", "name,active")
RATE_LIMITS = of_table("sys_rate_limit_rules", "name,active")
SCRIPT_PROCESSORS = of_table("sys_processor", "name,csrf", Equals("type", "script"), _ACTIVE)
_NO_SCRIPT = (IsEmpty("condition"), IsEmpty("script"))
EMPTY_ACLS = of_table(
    "sys_security_acl",
    "name,type,operation,admin_overrides,decision_type,security_attribute",
    _ACTIVE,
    *_NO_SCRIPT,
    name="empty",
)
ROLES_OF_EMPTY_ACLS = of_table(
    "sys_security_acl_role",
    "sys_security_acl",
    Is("sys_security_acl.active"),
    IsEmpty("sys_security_acl.condition"),
    IsEmpty("sys_security_acl.script"),
    name="empty",
)
PUBLIC_ACLS = of_table(
    "sys_security_acl_role",
    "sys_security_acl,sys_security_acl.name,sys_security_acl.type,sys_security_acl.operation",
    Equals("sys_user_role.name", "public"),
    Is("sys_security_acl.active"),
    name="public",
)
SCRIPT_ACLS = of_table(
    "sys_security_acl", "name", Equals("type", "client_callable_script_include"), _ACTIVE, name="scripts"
)
PUBLIC_PAGES = of_table("sys_public", "page", _ACTIVE, is_never_empty=True)
PUBLIC_PORTAL_PAGES = of_table("sp_page", "id,name", Is("public"))
PUBLIC_PORTAL_WIDGETS = of_table("sp_widget", "id,name", Is("public"))
CALLABLE_SCRIPTS = of_table("sys_script_include", "api_name,name,sys_scope", Is("client_callable"), _ACTIVE)
CUSTOM_TABLES = of_table("sys_db_object", "name", StartsWith("name", ("u_", "x_")))
KNOWLEDGE_BASES = of_table("kb_knowledge_base", "title", _ACTIVE)
READ_CRITERIA = of_table("kb_uc_can_read_mtom", "kb_knowledge_base,user_criteria")
CONTRIBUTE_CRITERIA = of_table("kb_uc_can_contribute_mtom", "kb_knowledge_base,user_criteria")
IP_RULES = of_table("ip_access", "type,direction,active,range_start,range_end")
LDAP_SERVERS = of_table("ldap_server_config", "name,active,server_url,ssl,authenticate,mid_server")
LDAP_URLS = of_table("ldap_server_url", "active,server,server_url,url")
CERTIFICATES = of_table("sys_certificate", "name,type,format,valid_from,expires,subject,issuer", _ACTIVE)
MID_SERVERS = of_table("ecc_agent", "name,status,validated,version,user_name,last_refreshed,stopped")
MID_PROPERTIES = of_table("ecc_agent_property", "name,value,ecc_agent", Equals("name", COMMAND_AUDIT))


SCOPE_PROPERTIES, IMPERSONATION_PROPERTIES = "glide.enforce_security_scope.", ".impersonateCheck"
"""How the properties begin, and end, of which every application may bring one of its own."""


def is_wanted_property(name: str) -> bool:
    """Whether a snapshot holds the property."""
    is_of_application = name.startswith(SCOPE_PROPERTIES) or name.endswith(IMPERSONATION_PROPERTIES)
    return is_of_application or name in _wanted_properties()


@cache
def _wanted_properties() -> frozenset[str]:
    return frozenset((*BUILD_PROPERTIES, *names("property_names.txt")))


@cache
def properties() -> tuple[Selection, ...]:
    """System properties: by name, a query's worth at a time, and in the last query those of single applications."""
    columns = "value,type,read_roles,write_roles,private,sys_scope,sys_updated_on,sys_updated_by"
    *others, last = (OneOf("name", chunk) for chunk in property_chunks())
    scoped = (StartsWith("name", (SCOPE_PROPERTIES,)), EndsWith("name", IMPERSONATION_PROPERTIES))
    conditions: tuple[Condition, ...] = (*others, Either((last, *scoped)))
    return tuple(replace(of_table("sys_properties", columns, each), is_proven=True) for each in conditions)


def privileged_assignments(roles: tuple[str, ...]) -> Selection:
    """Who holds these roles, inherited ones included."""
    columns = "user,user.user_name,user.active"
    return of_table("sys_user_has_role", columns, OneOf("role.name", roles), _STATE_ACTIVE, is_never_empty=True)


def holders(role: str) -> Selection:
    """Who holds a role."""
    columns = "user,user.user_name"
    return of_table("sys_user_has_role", columns, Equals("role.name", role), _STATE_ACTIVE, name=role)


def holders_among(users: tuple[str, ...], role: str) -> Selection:
    """Which of certain users hold a role, of which some holder was seen."""
    found = holders(role)
    return replace(found, where=(*found.where, OneOf("user", users)), name="lookup", is_proven=True)


def roles_of(user_names: tuple[str, ...], name: str) -> Selection:
    """Every role that certain users hold."""
    return of_table(
        "sys_user_has_role", "user,role.name", OneOf("user.user_name", user_names), _STATE_ACTIVE, name=name
    )


def members(groups: tuple[str, ...]) -> Selection:
    """Who is in certain groups."""
    return of_table("sys_user_grmember", "group", OneOf("group", groups))


def table_acls(tables: tuple[str, ...]) -> Selection:
    """The access rules of certain tables, and of all their columns at once."""
    named = tuple(name for table in tables for name in (table, f"{table}.*"))
    return of_table("sys_security_acl", "name", OneOf("name", named), Equals("type", "record"), _ACTIVE, name="tables")


AUDIT_COLUMNS = "sys_id,tablename,fieldname,documentkey,oldvalue,newvalue,user,sys_created_on"
AUDIT_DAYS = 7
"""How far back the record of changes is read."""


def audit_query(started_at: datetime) -> str:
    """The newest changes of audited security tables, newest first."""
    since = (started_at - timedelta(days=AUDIT_DAYS)).strftime("%Y-%m-%d %H:%M:%S")
    return f"tablenameIN{','.join(AUDITED_TABLES)}^sys_created_on>={since}^ORDERBYDESCsys_created_on"


@cache
def property_chunks() -> tuple[tuple[str, ...], ...]:
    """The names of all properties that are read by name, a query's worth at a time."""
    wanted = dict.fromkeys((*BUILD_PROPERTIES, *names("property_names.txt")))
    return tuple(in_chunks(wanted, NAMES_PER_QUERY))
