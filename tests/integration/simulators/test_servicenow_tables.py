"""The Table and Aggregate APIs of the simulated instance: columns, queries, pages, rights."""

from functools import cache
from itertools import pairwise
from typing import Any

import httpx
import pytest
from plumbline_simulators.servicenow.instance import Instance
from plumbline_simulators.servicenow.schema import TABLES

from tests.integration.simulators.servicenow_requests import Asked, refused

READ_BY_A_POSTURE_RUN = {
    "sys_properties": "name,value,type,read_roles,write_roles,private,sys_updated_on,sys_updated_by,sys_scope",
    "v_plugin": "id,name,active,version,available_version",
    "sys_plugins": "source,active",
    "sys_user_has_role": "sys_id,user,user.user_name,user.active,user.locked_out,user.last_login_time,"
    "user.web_service_access_only,user.sso_source,role,role.name,inherited,granted_by,state",
    "sys_user": "user_name,active,locked_out,last_login_time,failed_attempts,enable_multifactor_authn,"
    "web_service_access_only,internal_integration_user,identity_type,source,sso_source,federated_id,"
    "password_needs_reset,sys_created_on",
    "sys_user_role": "name,elevated_privilege,assignable_by",
    "sys_user_role_contains": "role.name,contains.name",
    "sys_user_grmember": "group,user",
    "sys_group_has_role": "group,role,role.name",
    "user_multifactor_auth": "user,validated",
    "multi_factor_criteria": "sys_id,name,active",
    "sysevent_script_action": "sys_id,name,active",
    "pwd_cred_store": "name,password_policy",
    "password_policy": "name",
    "sso_properties": "name,active,default,sys_class_name",
    "saml2_update1_properties": "name,active,default,sys_class_name",
    "oidc_identity_provider": "name,active,default,sys_class_name",
    "sys_user_basic_auth_exception": "user,decision,action_taken,last_seen,usage_count,source",
    "oauth_entity": "name,type,active,client_id,access_token_lifespan,refresh_token_lifespan,redirect_url,"
    "public_client,default_grant_type,code_challenge_method,use_mutual_auth,user",
    "sys_api_access_policy": "name,api,api_path,http_method,version,apply_all,apply_global",
    "sys_ws_definition": "enforce_acl",
    "sys_ws_operation": "name,http_method,relative_path,operation_uri,requires_authentication,"
    "requires_acl_authorization,requires_snc_internal_role,enforce_acl,web_service_definition",
    "sys_cors_rule": "active",
    "sys_processor": "name,csrf,type",
    "sys_security_acl": "name,type,operation,admin_overrides,decision_type,security_attribute",
    "sys_security_acl_role": "sys_security_acl,sys_user_role,sys_user_role.name,sys_security_acl.active",
    "sys_public": "page,active",
    "sp_page": "id,name,public",
    "sp_widget": "id,name,public",
    "sys_script_include": "api_name,name,sys_scope",
    "sys_db_object": "name",
    "kb_knowledge_base": "sys_id,active",
    "kb_uc_can_read_mtom": "kb_knowledge_base,user_criteria",
    "ldap_server_config": "name,active,server_url,ssl,authenticate,mid_server",
    "ldap_server_url": "server_url",
    "sys_certificate": "name,type,format,valid_from,expires,subject,issuer",
    "ecc_agent": "name,status,validated,version,host_name,user_name,last_refreshed,stopped",
    "ecc_agent_property": "name,value",
    "sys_dictionary": "name,audit",
    "sys_store_app": "scope,version",
}
FILLED_WHEN_STRONG = {
    "ip_access": "type,direction,active,range_start,range_end",
    "sys_rate_limit_rules": "name",
    "blacklisted_password": "sys_id",
    "kb_uc_can_contribute_mtom": "kb_knowledge_base,user_criteria",
}
UNSOURCED = {
    "sys_store_app": "latest_version", "sys_db_object": "ws_access", "sys_cors_rule": "domain",
    "password_policy": "min_length", "pwd_cred_store": "enable_password_policy", "oauth_entity": "client_type",
    "sys_user": "user_password",
}  # fmt: skip


@cache
def _asked(seed: str) -> Asked:
    """One instance for each seed, which no test changes."""
    return Asked(Instance(seed=seed))


@pytest.fixture(scope="module")
def weak() -> Asked:
    """An instance that no test changes."""
    return Asked(Instance(users=700))


@pytest.mark.parametrize(
    ("seed", "table", "fields"),
    [
        *(("weak", *entry) for entry in READ_BY_A_POSTURE_RUN.items()),
        *(("strong", *entry) for entry in (READ_BY_A_POSTURE_RUN | FILLED_WHEN_STRONG).items()),
    ],
)
def test_every_table_of_a_posture_run_has_rows_with_every_column(seed: str, table: str, fields: str) -> None:
    (row,) = _asked(seed).rows(table, fields=fields, limit=1)
    assert set(row) == set(fields.split(","))
    assert all(isinstance(value, str) for value in row.values())


@pytest.mark.parametrize("table", ["digest_properties", "sys_whitelist_member", "sys_audit", "sys_audit_delete"])
def test_tables_that_are_empty_at_first_exist(weak: Asked, table: str) -> None:
    answer = weak.page(table)
    assert (answer.json(), answer.headers["X-Total-Count"]) == ({"result": []}, "0")


@pytest.mark.parametrize(("table", "column"), UNSOURCED.items())
def test_a_column_without_a_source_is_left_out_silently(weak: Asked, table: str, column: str) -> None:
    (row,) = weak.rows(table, fields=f"sys_id,{column}", limit=1)
    assert set(row) == {"sys_id"}


def test_the_dictionary_names_every_column_that_there_is(weak: Asked) -> None:
    rows = weak.rows("sys_dictionary", "internal_type!=collection", fields="name,element")
    assert {(row["name"], row["element"]) for row in rows} == {
        (name, column) for name, schema in TABLES.items() for column in schema.columns
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("user_name=admin", {"admin"}),
        ("user_nameINadmin,user000009,nobody", {"admin", "user000009"}),
        ("user_nameSTARTSWITHuser00000", {f"user00000{n}" for n in range(2, 10)}),
        ("user_nameENDSWITH00009", {"user000009"}),
        ("user_nameLIKEERV", {"mid.server"}),
        ("user_nameISEMPTY", set()),
        ("user_name=admin^ORuser_name=user000009", {"admin", "user000009"}),
        ("user_name=admin^active=true^ORactive=false", {"admin"}),
        ("user_name=admin^active=false^NQuser_name=user000009", {"user000009"}),
        ("web_service_access_only=true^identity_type!=Human", {"plumbline.integration"}),
        ("failed_attempts>9^failed_attempts<13^failed_attempts>=12^failed_attempts<=12^user_name<user000100",
         {"user000040"}),
        ("sys_created_onBEFORE1999-01-01", set()),
        ("user_nameINadmin,itil^user_nameNOT INitil", {"admin"}),
        ("user_name=admin^sys_created_on<javascript:gs.daysAgoStart(3)", {"admin"}),
        ("user_name=admin^sys_created_on>javascript:gs.dateGenerate('2001-01-01','00:00:00')", {"admin"}),
    ],
)  # fmt: skip
def test_an_encoded_query_finds_what_it_says(weak: Asked, query: str, found: set[str]) -> None:
    assert {row["user_name"] for row in weak.rows("sys_user", query, fields="user_name")} == found


def test_not_empty_and_not_in_are_the_rest(weak: Asked) -> None:
    everyone = len(weak.rows("sys_user", fields="sys_id"))
    bound = weak.rows("sys_user", "sso_sourceISNOTEMPTY", fields="sso_source")
    unbound = weak.rows("sys_user", "sso_sourceISEMPTY", fields="sso_source")
    others = weak.rows("sys_user", "user_nameNOT INadmin,itil", fields="sys_id")
    assert 0 < len(bound) < everyone == 700
    assert len(bound) + len(unbound) == everyone
    assert len(others) == everyone - 2
    assert {row["sso_source"] for row in unbound} == {""}


@pytest.mark.parametrize(
    ("table", "query", "count"),
    [
        ("sys_user_has_role", "role.nameINadmin,security_admin^state=active^user.active=true", 9),
        ("sys_user_has_role", "user.user_name=admin^role.name=security_admin", 1),
        ("sys_user_has_role", "state=inactive", 0),
        ("sys_user_has_role", "user.user_nameSTARTSWITHadmin", 3),
        ("sys_user_role_contains", "contains.nameINadmin,security_admin", 1),
        ("sys_security_acl_role", "sys_user_role.name=public^sys_security_acl.active=true", 2),
        ("ecc_agent_property", "ecc_agent.name=mid-eu-1", 1),
        ("sys_ws_operation", "web_service_definition.name=x_acme_status^requires_authentication=false", 3),
    ],
)
def test_dot_walks_follow_references_in_queries(weak: Asked, table: str, query: str, count: int) -> None:
    answer = weak.page(table, query)
    assert (len(answer.json()["result"]), answer.headers["X-Total-Count"]) == (count, str(count))


@pytest.mark.parametrize("invalid", ["no_such_column=1", "user.name=x", "active", "active=javascript:gs.now()"])
def test_an_invalid_part_is_ignored_or_empties_the_answer_as_the_property_says(invalid: str) -> None:
    asked = Asked()
    query = f"user_name=admin^{invalid}"
    assert len(asked.rows("sys_user", query)) == 1
    assert len(asked.rows("sys_user", invalid)) == 60
    asked.change("glide.invalid_query.returns_no_rows", "true")
    assert asked.rows("sys_user", query) == []


def test_rows_come_in_the_order_asked_for(weak: Asked) -> None:
    keys = [row["sys_id"] for row in weak.rows("sys_properties", "ORDERBYsys_id", fields="sys_id")]
    assert keys == sorted(keys)
    assert [row["sys_id"] for row in weak.rows("sys_properties", "ORDERBYDESCsys_id", fields="sys_id")] == keys[::-1]
    rows = weak.rows("sys_public", "ORDERBYDESCactive^ORDERBYpage", fields="active,page")
    assert rows == sorted(rows, key=lambda row: (row["active"] != "true", row["page"]))


def test_without_an_order_every_call_may_have_another() -> None:
    asked = Asked(Instance(users=500))
    asked.change("simulator:unordered", True)
    pages = [[row["sys_id"] for row in asked.rows("sys_user", fields="sys_id", limit=100)] for _ in range(2)]
    assert pages[0] != pages[1]
    ordered = [asked.rows("sys_user", "ORDERBYsys_id", fields="sys_id", limit=100) for _ in range(2)]
    assert ordered[0] == ordered[1]


def _by_key(asked: Asked, table: str, query: str, size: int) -> list[str]:
    found: list[str] = []
    while page := asked.rows(table, f"sys_id>{found[-1]}^{query}" if found else query, fields="sys_id", limit=size):
        found += [row["sys_id"] for row in page]
    return found


def _by_offset(asked: Asked, table: str, query: str, size: int) -> list[str]:
    found: list[str] = []
    while page := asked.rows(table, query, fields="sys_id", limit=size, offset=len(found)):
        found += [row["sys_id"] for row in page]
    return found


@pytest.mark.parametrize("table", ["sys_user", "sys_user_has_role", "sys_security_acl", "user_multifactor_auth"])
def test_keyset_and_offset_paging_find_the_same_rows_once(weak: Asked, table: str) -> None:
    by_key, by_offset = (read(weak, table, "ORDERBYsys_id", 64) for read in (_by_key, _by_offset))
    assert by_key == by_offset
    assert all(one < next_one for one, next_one in pairwise(by_key))
    assert len(by_key) == int(weak.page(table, limit=1).headers["X-Total-Count"])


def _links(answer: httpx.Response) -> dict[str, str]:
    parts = (part.rpartition(";rel=") for part in answer.headers["Link"].split(",<"))
    return {name.strip('"'): httpx.URL(url.strip("<>")).params["sysparm_offset"] for url, _, name in parts}


def test_links_lead_to_the_other_pages_and_before_the_first(weak: Asked) -> None:
    assert _links(weak.page("sys_user", limit=1)) == {"first": "0", "prev": "-1", "next": "1", "last": "699"}
    assert _links(weak.page("sys_user", limit=300)) == {"first": "0", "prev": "-300", "next": "300", "last": "600"}
    assert _links(weak.page("sys_user", limit=300, offset=600)) == {"first": "0", "prev": "300"}
    assert "Link" not in weak.page("sys_user", limit=1, suppress_pagination_header="true").headers


def test_without_a_count_there_is_neither_total_nor_last_page(weak: Asked) -> None:
    answer = weak.page("sys_user", limit=300, no_count="true")
    assert "X-Total-Count" not in answer.headers
    assert set(_links(answer)) == {"first", "prev", "next"}


@pytest.mark.parametrize("wrong", [{"offset": -1}, {"offset": "x"}, {"limit": "many"}])
def test_a_page_that_is_no_number_is_refused(weak: Asked, wrong: dict[str, Any]) -> None:
    assert weak.page("sys_user", **wrong).status_code == 400


def test_a_page_holds_ten_thousand_rows_unless_asked_otherwise() -> None:
    assert len(Asked(Instance(users=10_050)).rows("sys_user", fields="sys_id")) == 10_000


def test_nothing_found_is_an_empty_list_and_in_the_first_version_404(weak: Asked) -> None:
    nobody = {"sysparm_query": "user_name=nobody"}
    for path in ("table/sys_user", "v2/table/sys_user"):
        answer = weak.get(path, nobody)
        assert (answer.status_code, answer.json(), answer.headers["X-Total-Count"]) == (200, {"result": []}, "0")
    words = ("No Record found", "Record doesn't exist or ACL restricts the record retrieval")
    assert refused(weak.get("v1/table/sys_user", nobody)) == (404, *words)
    assert refused(weak.get("table/sys_user/0123")) == (404, *words)
    key = weak.rows("sys_public", limit=1)[0]["sys_id"]
    assert weak.get(f"table/sys_public/{key}").json()["result"]["sys_id"] == key


@pytest.mark.parametrize("path", ["table", "tables/sys_user", "stats/sys_user/more/of/it", "pa/scorecards"])
def test_what_is_no_resource_is_refused(weak: Asked, path: str) -> None:
    assert refused(weak.get(path)) == (400, "Requested URI does not represent any resource", None)


def _scope(asked: Asked, **parameters: str) -> Any:
    query = "name=glide.sm.default_mode"
    return asked.page("sys_properties", query, fields="sys_scope", **parameters).json()["result"][0]["sys_scope"]


def test_references_and_display_values_come_as_asked(weak: Asked) -> None:
    link = "https://dev1.service-now.com/api/now/table/sys_scope/global"
    assert _scope(weak) == {"link": link, "value": "global"}
    assert _scope(weak, exclude_reference_link="true") == "global"
    assert _scope(weak, display_value="true") == {"display_value": "Global", "link": link}
    assert _scope(weak, display_value="all") == {"display_value": "Global", "value": "global", "link": link}
    both = {"display_value": "Global", "value": "global"}
    assert _scope(weak, display_value="all", exclude_reference_link="true") == both


def test_display_values_name_rows_and_move_dates(weak: Asked) -> None:
    fields = {"fields": "role,granted_by,sys_updated_on,user.last_login_time", "limit": 1, "display_value": "all"}
    (row,) = weak.rows("sys_user_has_role", "user.user_name=admin", **fields)
    assert row["role"]["display_value"] == "admin"
    assert row["granted_by"] == {"display_value": "", "value": ""}
    for name in ("sys_updated_on", "user.last_login_time"):
        assert row[name]["display_value"] < row[name]["value"]


@pytest.mark.parametrize(
    ("access", "message", "detail"),
    [
        ("deny", "Operation Failed", "ACL Exception Query Failed due to security constraints"),
        ("insufficient", "Insufficient rights to query records", "No permission to read table 'sys_public'"),
        ("elevated", "User Not Authorized", None),
    ],
)
def test_a_table_is_refused_in_one_of_the_products_ways(access: str, message: str, detail: str | None) -> None:
    asked = Asked()
    asked.change("access:sys_public", access)
    assert refused(asked.page("sys_public")) == (403, message, detail)
    assert refused(asked.get("stats/sys_public", {"sysparm_count": "true"})) == (403, message, detail)
    asked.change("access:sys_public", "allow")
    assert asked.rows("sys_public")


@pytest.mark.parametrize("table", ["sys_properties", "sys_user", "sys_public"])
def test_rows_are_trimmed_after_limit_and_count(table: str) -> None:
    asked = Asked()
    whole = {row["sys_id"] for row in asked.rows(table, fields="sys_id")}
    asked.change(f"access:{table}", "trim")
    answer = asked.page(table, "ORDERBYsys_id", fields="sys_id", limit=1000)
    seen = {row["sys_id"] for row in answer.json()["result"]}
    assert seen < whole
    assert int(answer.headers["X-Total-Count"]) == len(whole)
    first = asked.rows(table, "ORDERBYsys_id", fields="sys_id", limit=len(whole) // 2)
    assert len(first) < len(whole) // 2


def test_a_column_is_blanked_or_left_out_and_cannot_be_searched() -> None:
    asked = Asked()
    asked.change("access:sys_user.failed_attempts", "blank")
    asked.change("access:sys_user.sso_source", "drop")
    (row,) = asked.rows("sys_user", "user_name=admin", fields="user_name,failed_attempts,sso_source")
    assert row == {"user_name": "admin", "failed_attempts": ""}
    (walked,) = asked.rows("sys_user_has_role", limit=1, fields="user.sso_source,user.failed_attempts")
    assert walked == {"user.failed_attempts": ""}
    words = (
        "Insufficient rights to query records",
        "Field(s) present in the query do not have permission to be read",
    )
    for query in ("failed_attempts>5", "active=true^sso_sourceISEMPTY", "ORDERBYsso_source"):
        assert refused(asked.page("sys_user", query)) == (403, *words)
    assert refused(asked.page("sys_user_has_role", "user.sso_sourceISEMPTY")) == (403, *words)
    assert refused(asked.get("stats/sys_user", {"sysparm_group_by": "sso_source"})) == (403, *words)


def test_a_dot_walk_into_a_table_without_rights_shows_nothing() -> None:
    asked = Asked()
    asked.change("access:sys_user", "deny")
    (row,) = asked.rows("sys_user_has_role", "role.name=security_admin", fields="role.name,user.user_name")
    assert row == {"role.name": "security_admin", "user.user_name": ""}


def test_range_queries_can_be_denied_apart_from_equality() -> None:
    asked = Asked()
    asked.change("access:sys_user:range", "deny")
    ranges = ("sys_id>0", "user_nameLIKEadm", "user_nameSTARTSWITHa", "sys_updated_on>=2020", "ORDERBYsys_id",
              "sys_created_onBEFORE2020", "user_nameENDSWITHn", "active=true^sys_id<=9")  # fmt: skip
    for query in ranges:
        assert asked.page("sys_user", query).status_code == 403
    for query in ("user_name=admin", "user_nameINadmin,itil", "user_name!=admin", "sso_sourceISEMPTY"):
        assert asked.rows("sys_user", query)
    assert asked.rows("sys_public", "ORDERBYsys_id")


def test_counts_come_for_all_and_by_group(weak: Asked) -> None:
    count = {"sysparm_count": "true"}
    found = weak.get("stats/sys_user", {**count, "sysparm_query": "locked_out=true"}).json()
    assert found == {"result": {"stats": {"count": "11"}}}
    assert weak.get("stats/sys_user", {**count, "sysparm_group_by": "locked_out"}).json()["result"] == [
        {"stats": {"count": "689"}, "groupby_fields": [{"field": "locked_out", "value": "false"}]},
        {"stats": {"count": "11"}, "groupby_fields": [{"field": "locked_out", "value": "true"}]},
    ]
    latest = weak.get("stats/sys_properties", {"sysparm_max_fields": "sys_updated_on"}).json()["result"]["stats"]
    newest = max(row["sys_updated_on"] for row in weak.rows("sys_properties"))
    assert latest == {"max": {"sys_updated_on": newest}}


@pytest.mark.parametrize(("seed", "count"), [("strong", "5000"), ("weak", "0")])
def test_common_passwords_are_counted(seed: str, count: str) -> None:
    found = _asked(seed).get("stats/blacklisted_password", {"sysparm_count": "true"})
    assert found.json()["result"]["stats"]["count"] == count


def test_the_batch_api_is_refused_as_every_other_write(weak: Asked) -> None:
    assert weak.client.post("/api/now/v1/batch", json={"rest_requests": []}).status_code == 405
    assert weak.requests["POST refused"] == 1
