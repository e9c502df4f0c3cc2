"""Access rules, APIs and the network become typed rows."""

import pytest
from plumbline_collector.connectors.servicenow import access, integrations, network, releases
from plumbline_collector.connectors.servicenow.columns import Columns, DictionaryReader
from plumbline_collector.connectors.servicenow.identifiers import key
from plumbline_contracts.datasets import datasets
from plumbline_contracts.events import Product

from tests.unit.collector.servicenow.fakes import NOW, acl_row, sys_id

SCHEMAS = datasets(Product.SERVICENOW)


def test_a_rule_is_empty_when_it_asks_for_nothing() -> None:
    rule = acl_row(1, "incident")
    assert access.is_empty_acl(rule, set())
    assert not access.is_empty_acl(rule, {key(sys_id(1))})
    assert not access.is_empty_acl({**rule, "security_attribute": "UserIsAuthenticated"}, set())
    row = access.empty_acl({**rule, "decision_type": "Deny unless"})
    assert (row["denies_unless"], access.empty_acl(rule)["denies_unless"]) == (True, False)
    assert SCHEMAS["empty_acls"].violations(row) == []


def test_tables_and_scripts_are_covered_by_rules_of_their_name() -> None:
    rules = {"u_assets", "x_app_notes.*", "u_other.number", "acme.util"}
    covered = [
        access.custom_table({"sys_id": "1", "name": name}, rules)["has_acl"]
        for name in ("U_assets", "x_app_notes", "u_other")
    ]
    assert covered == [True, True, False]
    script = {"sys_id": "1", "name": "Util", "api_name": "acme.Util", "sys_scope": "acme"}
    assert access.script_include(script, rules)["has_acl"] is True
    assert "has_acl" not in access.script_include(script, None)


def test_a_knowledge_base_counts_its_criteria() -> None:
    row = access.knowledge_base({"sys_id": sys_id(1)}, {key(sys_id(1)): 2}, {})
    assert (row["read_criteria_count"], row["has_read_criteria"], row["has_contribute_criteria"]) == (2, True, False)
    assert row["title"] == sys_id(1)
    assert "has_read_criteria" not in access.knowledge_base({"sys_id": sys_id(1)}, None, {})


def test_a_rest_resource_knows_its_service() -> None:
    cells = {
        "sys_id": "1",
        "name": "list",
        "http_method": "GET",
        "operation_uri": "/api/x/list",
        "relative_path": "/list",
        "requires_authentication": "false",
        "requires_acl_authorization": "true",
        "requires_snc_internal_role": "true",
        "enforce_acl": "",
        "web_service_definition": sys_id(9),
    }
    services = {key(sys_id(9)): integrations.service({"name": "Lists", "enforce_acl": "a1"})}
    row = integrations.rest_resource(cells, services)
    assert (row["service"], row["service_has_acl"], row["has_own_acl"]) == ("Lists", True, False)
    assert (row["requires_authentication"], row["requires_acl"], row["path"]) == (False, True, "/api/x/list")
    assert SCHEMAS["rest_resources"].violations(row) == []
    assert "service_has_acl" not in integrations.rest_resource(cells, None)


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        ("https://a/cb,http://localhost:3000/cb", False),
        ("https://a\nhttp://b/cb", True),
        ("", False),
        ("HTTP://[::1]/x", False),
    ],
)
def test_plain_http_is_insecure_except_to_oneself(urls: str, expected: bool) -> None:
    assert integrations.oauth_client({"redirect_url": urls}, Columns(), set())["redirects_insecurely"] is expected


def test_an_oauth_client_has_the_lives_in_force() -> None:
    cells = {
        "sys_id": "1",
        "name": "c",
        "access_token_lifespan": "",
        "refresh_token_lifespan": "100",
        "user": sys_id(1),
    }
    row = integrations.oauth_client(cells, Columns(), {key(sys_id(1))})
    assert (row["access_token_seconds"], row["refresh_token_seconds"], row["runs_as_privileged_user"]) == (
        1800,
        100,
        True,
    )
    assert "runs_as_privileged_user" not in integrations.oauth_client(cells, Columns(), None)
    known = Columns({("oauth_entity", "token_restriction"): "restrict"})
    assert integrations.oauth_client({**cells, "restrict": "true"}, known, set())["restricts_tokens"] is True


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"api_path": "/now/table"}, True),
        ({"api_path": "api/now/table/{t}"}, True),
        ({"api": "Table API", "api_path": ""}, True),
        ({"api_path": "/now/tablets"}, False),
        ({"api_path": "/now/v2/table/{tableName}"}, True),
        ({"api": "", "api_path": "", "apply_global": "true"}, True),
        ({"api": "", "api_path": "", "apply_global": "false"}, False),
        ({"api": "", "api_path": ""}, None),
        ({"api": "Attachment API", "api_path": "/now/attachment", "apply_global": "true"}, False),
        ({"api": "Table API", "api_path": "/now/table", "apply_global": "true"}, True),
        ({"api": sys_id(7), "api_path": "", "apply_global": "true"}, None),
        ({"api_path": "", "apply_global": "true"}, None),
        ({"apply_global": "true"}, None),
    ],
)
def test_a_policy_covers_the_table_api(cells: dict[str, str], expected: bool | None) -> None:
    assert integrations.api_policy({"sys_id": "1", **cells}).get("covers_table_api") is expected


def test_rules_whose_columns_are_not_known_say_no_more_than_they_show() -> None:
    assert integrations.cors_rule({"sys_id": "1", "active": "true"}, Columns()) == {
        "sys_id": "1",
        "name": "1",
        "is_active": True,
    }
    known = Columns({("sys_cors_rule", "domain"): "domain", ("sys_rate_limit_rules", "path"): "path"})
    rule = integrations.cors_rule({"sys_id": "1", "domain": "http://*.acme.com"}, known)
    assert (rule["has_wildcard"], rule["is_insecure"]) == (True, True)
    assert "has_wildcard" not in integrations.cors_rule({"sys_id": "1", "domain": ""}, known)
    assert "covers_table_api" not in integrations.rate_limit({"sys_id": "1"}, Columns())
    assert integrations.rate_limit({"sys_id": "1", "path": "/now/table"}, known)["covers_table_api"] is True


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("GET /now/v2/table/incident", True),
        ("get /api/now/v1/table", True),
        ("PATCH now/table/{tableName}/{sys_id}", True),
        ("GET /now/v2/attachment/table", False),
        ("GET /now/v2/tables", False),
        ("GET /x/now/table", False),
        (sys_id(7), None),
        ("", False),
    ],
)
def test_a_rate_limit_covers_the_table_api_by_the_resource_that_it_names(said: str, expected: bool | None) -> None:
    reader = DictionaryReader()
    reader.add({"name": "sys_rate_limit_rules", "element": "url", "column_label": "REST API resource"})
    row = integrations.rate_limit({"sys_id": "1", "url": said}, reader.columns())
    assert (row.get("api"), row.get("covers_table_api")) == (said or None, expected)
    assert SCHEMAS["rate_limits"].violations(row) == []


def test_a_path_tells_what_a_record_id_beside_it_does_not() -> None:
    known = Columns({("sys_rate_limit_rules", "api"): "web_service", ("sys_rate_limit_rules", "resource"): "url"})
    cells = {"sys_id": "1", "web_service": sys_id(7)}
    for path, expected in (("GET /now/table", True), ("GET /now/attachment", False)):
        row = integrations.rate_limit({**cells, "url": path}, known)
        assert (row["api"], row["covers_table_api"]) == (path, expected)
    assert "covers_table_api" not in integrations.rate_limit({**cells, "url": ""}, known)


@pytest.mark.parametrize(
    ("start", "end", "is_any", "is_large"),
    [
        ("0.0.0.0", "255.255.255.255", True, True),
        ("10.0.0.0", "10.255.255.255", False, False),
        ("10.0.0.0", "11.0.0.0", False, True),
        ("1.2.3.4", "", False, False),
        ("here", "there", None, None),
        ("1.2.3.4", "::1", None, None),
        ("2001:db8::", "2001:db8::1ff:ffff", False, False),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", True, False),
        ("2001:db8::", "2001:db9::", True, True),
        ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", True, True),
    ],
)
def test_address_ranges_are_measured(start: str, end: str, is_any: bool | None, is_large: bool | None) -> None:
    row = network.ip_rule({"sys_id": "1", "type": "Allow", "range_start": start, "range_end": end})
    assert (row.get("is_any_address"), row.get("is_large_range"), row["type"]) == (is_any, is_large, "allow")


def _urls(*rows: dict[str, str]) -> network.LdapUrls:
    urls = network.LdapUrls()
    for row in rows:
        urls.add(row)
    return urls


@pytest.mark.parametrize(
    ("cells", "more", "expected"),
    [
        ({"ssl": "true", "server_url": "ldap://a"}, [], True),
        ({"ssl": "false", "server_url": "ldaps://a"}, [], True),
        ({"ssl": "false", "server_url": "ldaps://a"}, [{"server": "1", "url": "ldap://b"}], False),
        ({"ssl": "false", "server_url": "ldaps://a"}, [{"server": "2", "url": "ldap://b"}], True),
        ({"ssl": "false", "server_url": "ldaps://a"}, [{"server_url": "ldap://b", "active": "false"}], True),
        ({"ssl": "false", "server_url": "ldaps://a"}, [{"server_url": "ldap://b", "active": "true"}], False),
        ({"ssl": "false", "server_url": ""}, [], False),
        ({"ssl": ""}, [], None),
    ],
)
def test_an_ldap_server_uses_tls_on_every_address(
    cells: dict[str, str], more: list[dict[str, str]], expected: bool | None
) -> None:
    assert network.ldap_server({"sys_id": "1", **cells}, _urls(*more)).get("uses_tls") is expected


def test_an_ldap_server_whose_other_addresses_are_hidden_is_not_judged() -> None:
    urls = _urls()
    urls.is_known = False
    assert "uses_tls" not in network.ldap_server({"sys_id": "1", "ssl": "false", "server_url": "ldaps://a"}, urls)


@pytest.mark.parametrize(
    ("expires", "days", "is_expired"),
    [
        ("2026-12-24 09:00:00", 30, False),
        ("2026-11-24 08:59:59", -1, True),
        ("2026-11-24 09:00:00", 0, False),
        ("", None, None),
    ],
)
def test_certificates_count_their_days(expires: str, days: int | None, is_expired: bool | None) -> None:
    row = network.certificate(
        {"sys_id": "1", "name": "ca", "expires": expires, "valid_from": "2024-12-01 00:00:00"}, NOW
    )
    assert (row.get("expires_in_days"), row.get("is_expired"), row["is_not_yet_valid"]) == (days, is_expired, False)


def test_a_mid_server_carries_its_user_and_build() -> None:
    cells = {
        "sys_id": "m1",
        "name": "mid",
        "status": "Up",
        "validated": "true",
        "stopped": "false",
        "user_name": "Svc.Mid",
        "version": "zurich-07-01-2025__patch6-hotfix1-05-12-2026_05-13-2026_0906.zip",
        "last_refreshed": "2026-11-23 09:00:00",
    }
    build = releases.build("glide-zurich-07-01-2025__patch6-02-24-2026")
    roles = {"svc.mid": {"mid_server", "admin"}}
    row = network.mid_server(cells, roles=roles, audits={"m1": True}, build=build, started_at=NOW)
    assert (row["is_on_instance_build"], row["logs_commands"], row["unrefreshed_days"]) == (True, True, 1)
    assert (row["user_roles"], row["has_privileged_user"], row["has_only_mid_server_role"]) == (
        ["admin", "mid_server"],
        True,
        False,
    )
    assert SCHEMAS["mid_servers"].violations(row) == []
    older = network.mid_server(
        {**cells, "version": "zurich-07-01-2025__patch5"}, roles=None, audits=None, build=build, started_at=NOW
    )
    assert older["is_on_instance_build"] is False
    assert not {"user_roles", "logs_commands"} & older.keys()
