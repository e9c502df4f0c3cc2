"""The tables that an instance has and the columns of each. What is not named here does not exist.

Source: the product's table documentation; columns known only by the label of a form are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from plumbline_simulators.servicenow.releases import Family

SYSTEM_COLUMNS = ("sys_id", "sys_created_on", "sys_updated_on", "sys_updated_by")
DATES = frozenset(
    {"sys_created_on", "sys_updated_on", "last_login_time", "last_seen", "last_refreshed", "valid_from", "expires"}
)


@dataclass(frozen=True)
class TableSchema:
    """One table. `named_by` are the columns that people know a row by, `references` the table each reference points to.

    `parent` is the table that this one extends: its rows are the parent's rows of this class.
    """

    name: str
    columns: frozenset[str]
    named_by: str
    references: Mapping[str, str]
    since: Family = Family.XANADU
    parent: str | None = None

    def label(self, row: Mapping[str, str]) -> str:
        """What people call a row: `incident/read` for an ACL."""
        return "/".join(filter(None, (row[column] for column in self.named_by.split())))


def _table(
    name: str,
    columns: str,
    *,
    named_by: str = "name",
    since: Family = Family.XANADU,
    parent: str | None = None,
    **references: str,
) -> TableSchema:
    return TableSchema(name, frozenset(columns.split()) | set(SYSTEM_COLUMNS), named_by, references, since, parent)


_PROVIDER = "name active default sys_class_name"
_AUDIT = "tablename fieldname documentkey oldvalue newvalue user"
_SERVICE = "name http_method relative_path operation_uri requires_authentication requires_acl_authorization"

TABLES = {
    schema.name: schema
    for schema in (
        _table("sys_properties", "name value type read_roles write_roles private sys_scope", sys_scope="sys_scope"),
        _table("v_plugin", "id name active version available_version", named_by="id"),
        _table("sys_plugins", "source active", named_by="source"),
        _table(
            "sys_user_has_role",
            "user role inherited state granted_by",
            named_by="sys_id",
            user="sys_user",
            role="sys_user_role",
            granted_by="sys_user",
        ),
        _table(
            "sys_user",
            "user_name active locked_out last_login_time failed_attempts enable_multifactor_authn "
            "web_service_access_only internal_integration_user identity_type source sso_source federated_id "
            "password_needs_reset",
            named_by="user_name",
        ),
        _table("sys_user_role", "name elevated_privilege assignable_by"),
        _table(
            "sys_user_role_contains",
            "role contains",
            named_by="sys_id",
            role="sys_user_role",
            contains="sys_user_role",
        ),
        _table("sys_user_group", "name active"),
        _table("sys_user_grmember", "group user", named_by="sys_id", group="sys_user_group", user="sys_user"),
        _table("sys_group_has_role", "group role", named_by="sys_id", group="sys_user_group", role="sys_user_role"),
        _table("user_multifactor_auth", "user validated", named_by="sys_id", user="sys_user"),
        _table("multi_factor_criteria", "name active"),
        _table("sysevent_script_action", "name active"),
        _table("pwd_cred_store", "name password_policy", password_policy="password_policy"),  # noqa: S106 - a table
        _table("password_policy", "name"),
        _table("blacklisted_password", "", named_by="sys_id"),
        _table("sso_properties", _PROVIDER),
        _table("saml2_update1_properties", _PROVIDER, parent="sso_properties"),
        _table("oidc_identity_provider", _PROVIDER, parent="sso_properties"),
        _table("digest_properties", _PROVIDER, parent="sso_properties"),
        _table(
            "sys_user_basic_auth_exception",
            "user decision action_taken last_seen usage_count source",
            named_by="sys_id",
            since=Family.ZURICH,
            user="sys_user",
        ),
        _table(
            "oauth_entity",
            "name type active client_id access_token_lifespan refresh_token_lifespan redirect_url public_client "
            "default_grant_type code_challenge_method use_mutual_auth user",
            user="sys_user",
        ),
        _table(
            "sys_api_access_policy",
            "name active api api_path http_method version apply_all apply_all_methods apply_all_resources "
            "apply_all_tables apply_all_versions apply_global",
        ),
        _table("sys_ws_definition", "name active enforce_acl"),
        _table(
            "sys_ws_operation",
            f"{_SERVICE} requires_snc_internal_role enforce_acl web_service_definition active",
            web_service_definition="sys_ws_definition",
        ),
        _table("sys_cors_rule", "active", named_by="sys_id"),
        _table("sys_rate_limit_rules", "name active"),
        _table("sys_processor", "name type csrf active"),
        _table(
            "sys_security_acl",
            "name type operation admin_overrides decision_type security_attribute active condition script",
            named_by="name operation",
        ),
        _table(
            "sys_security_acl_role",
            "sys_security_acl sys_user_role",
            named_by="sys_id",
            sys_security_acl="sys_security_acl",
            sys_user_role="sys_user_role",
        ),
        _table("sys_public", "page active", named_by="page"),
        _table("sp_page", "id name public", named_by="id"),
        _table("sp_widget", "id name public", named_by="id"),
        _table("sys_script_include", "api_name name sys_scope client_callable active", sys_scope="sys_scope"),
        _table("sys_db_object", "name"),
        _table("kb_knowledge_base", "active", named_by="sys_id"),
        _table(
            "kb_uc_can_read_mtom",
            "kb_knowledge_base user_criteria",
            named_by="sys_id",
            kb_knowledge_base="kb_knowledge_base",
            user_criteria="user_criteria",
        ),
        _table(
            "kb_uc_can_contribute_mtom",
            "kb_knowledge_base user_criteria",
            named_by="sys_id",
            kb_knowledge_base="kb_knowledge_base",
            user_criteria="user_criteria",
        ),
        _table("ip_access", "type direction active range_start range_end", named_by="range_start"),
        _table("ldap_server_config", "name active server_url ssl authenticate mid_server", mid_server="ecc_agent"),
        _table("ldap_server_url", "active server_url", named_by="server_url"),
        _table("sys_certificate", "name type format valid_from expires subject issuer active"),
        _table("ecc_agent", "name status validated version host_name user_name last_refreshed stopped"),
        _table("ecc_agent_property", "name value ecc_agent", named_by="name ecc_agent", ecc_agent="ecc_agent"),
        _table("sys_dictionary", "name element internal_type audit", named_by="name element"),
        _table("sys_whitelist_member", "", named_by="sys_id"),
        _table("sys_whitelist_package", "", named_by="sys_id"),
        _table("sys_store_app", "scope version active", named_by="scope"),
        _table("sys_audit", _AUDIT, named_by="sys_id"),
        _table("sys_audit_delete", _AUDIT, named_by="sys_id"),
    )
}
"""Every table by name."""
