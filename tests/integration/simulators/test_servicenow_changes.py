"""Changing the simulated instance: the row moves, its date with it, and the audit keeps who, when and from what."""

import os
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from plumbline_simulators.control_plane import UnknownSettingError
from plumbline_simulators.servicenow.instance import Instance
from plumbline_simulators.servicenow.profiles import names
from plumbline_simulators.servicenow.releases import Family, hardening

from tests.integration.parts import BIN
from tests.integration.simulators.servicenow_requests import Asked, refused

START = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def asked() -> Asked:
    return Asked(Instance(users=120, now=START))


@pytest.mark.parametrize(
    ("setting", "value", "table", "query", "column", "old", "new"),
    [
        ("glide.sm.default_mode", "deny", "sys_properties", "name=glide.sm.default_mode", "value", "allow", "deny"),
        ("plugin:com.glide.role_management", "active", "sys_plugins", "source=com.glide.role_management", "active",
         "inactive", "active"),
        ("script_action:SNC User Lockout Check", "true", "sysevent_script_action", "name=SNC User Lockout Check",
         "active", "false", "true"),
        ("users.user000009.active", "false", "sys_user", "user_name=user000009", "active", "true", "false"),
        ("users.user000009.source", "ldap:corp", "sys_user", "user_name=user000009", "source", "", "ldap:corp"),
        ("sys_public:kb_view.active", "false", "sys_public", "page=kb_view", "active", "true", "false"),
        ("sys_security_acl:x_acme_order/read.active", "false", "sys_security_acl", "name=x_acme_order", "active",
         "true", "false"),
        ("oauth_entity:Old portal.access_token_lifespan", "1800", "oauth_entity", "name=Old portal",
         "access_token_lifespan", "86400", "1800"),
        ("ldap_server_config:Corporate directory.ssl", "true", "ldap_server_config", "active=true", "ssl", "false",
         "true"),
        ("multi_factor_criteria:Role based multi-factor authentication.active", "true", "multi_factor_criteria", "",
         "active", "false", "true"),
    ],
)  # fmt: skip
def test_a_change_moves_the_row_its_date_and_the_audit(
    asked: Asked, setting: str, value: str, table: str, query: str, column: str, old: str, new: str
) -> None:
    (before,) = asked.rows(table, query)
    assert asked.change(setting, value).status_code == 200
    (after,) = asked.rows(table, query)
    assert (before[column], after[column]) == (old, new)
    assert (before["sys_updated_by"], after["sys_updated_by"]) == ("system", "admin")
    assert before["sys_updated_on"] < after["sys_updated_on"]
    (trace,) = asked.rows("sys_audit", f"tablename={table}^sys_created_on>={after['sys_updated_on']}")
    kept = {name: trace[name] for name in ("fieldname", "oldvalue", "newvalue", "documentkey", "user")}
    assert kept == {
        "fieldname": column, "oldvalue": old, "newvalue": new, "documentkey": after["sys_id"], "user": "admin",
    }  # fmt: skip


def test_a_change_that_changes_nothing_leaves_no_trace(asked: Asked) -> None:
    asked.change("glide.sm.default_mode", "allow")
    assert asked.rows("sys_audit") == []


def test_a_property_is_created_and_deleted(asked: Asked) -> None:
    name = "glide.invalid_query.returns_no_rows"
    assert asked.rows("sys_properties", f"name={name}") == []
    asked.change(name, "false")
    (row,) = asked.rows("sys_properties", f"name={name}")
    assert (row["value"], row["type"], row["sys_updated_by"]) == ("false", "boolean", "admin")
    asked.change(name, None)
    assert asked.rows("sys_properties", f"name={name}") == []
    (gone,) = asked.rows("sys_audit_delete")
    assert (gone["tablename"], gone["documentkey"], gone["oldvalue"]) == ("sys_properties", row["sys_id"], name)


def test_a_property_can_have_two_rows_and_odd_values(asked: Asked) -> None:
    asked.change("sys_properties:again", {"name": "glide.sm.default_mode", "value": " Deny "})
    rows = asked.rows("sys_properties", "name=glide.sm.default_mode", fields="sys_id,value")
    assert sorted(row["value"] for row in rows) == [" Deny ", "allow"]
    assert len({row["sys_id"] for row in rows}) == 2


def test_roles_are_granted_and_revoked(asked: Asked) -> None:
    query = "user.user_name=user000009^role.name=admin"
    asked.change("roles.user000009.admin", "true")
    asked.change("roles.user000009.admin", "true")
    (row,) = asked.rows("sys_user_has_role", query)
    assert row["sys_updated_on"] > f"{START + timedelta(days=1)}"
    assert row in asked.rows("sys_user_has_role", "role.name=admin")
    asked.change("roles.user000009.admin", "false")
    assert asked.rows("sys_user_has_role", query) == []
    assert row["sys_id"] not in {kept["sys_id"] for kept in asked.rows("sys_user_has_role", fields="sys_id")}
    (gone,) = asked.rows("sys_audit_delete", "tablename=sys_user_has_role")
    assert (gone["documentkey"], gone["oldvalue"]) == (row["sys_id"], "admin")
    asked.change("roles.user000009.admin", "true")
    assert asked.rows("sys_user_has_role", query, fields="sys_id") == [{"sys_id": row["sys_id"]}]


def test_a_role_held_since_the_start_can_be_revoked(asked: Asked) -> None:
    count = len(asked.rows("sys_user_has_role", "role.name=admin"))
    asked.change("roles.user000003.admin", "false")
    assert len(asked.rows("sys_user_has_role", "role.name=admin")) == count - 1
    assert int(asked.page("sys_user_has_role", limit=1).headers["X-Total-Count"]) == 2 * 120 + 5 - 1


def test_second_factors_come_and_go(asked: Asked) -> None:
    asked.change("factors.user000009", "true")
    asked.change("factors.user000008", "false")
    names = {row["user.user_name"] for row in asked.rows("user_multifactor_auth", "validated=true",
                                                         fields="user.user_name")}  # fmt: skip
    assert "user000009" in names
    assert "user000008" not in names
    unfinished = asked.rows("user_multifactor_auth", "validated=false", fields="user.user_name")
    assert {"user.user_name": "user000003"} in unfinished


def test_a_table_that_is_not_audited_leaves_no_trace(asked: Asked) -> None:
    asked.change("sys_ws_operation:x_acme_status GET.requires_authentication", "true")
    (row,) = asked.rows("sys_ws_operation", "name=x_acme_status GET")
    assert (row["requires_authentication"], row["sys_updated_by"]) == ("true", "admin")
    assert asked.rows("sys_audit", "tablename=sys_ws_operation") == []
    assert asked.rows("sys_dictionary", "name=sys_ws_operation^internal_type=collection")[0]["audit"] == "false"


def test_rows_are_created_and_deleted_by_name(asked: Asked) -> None:
    asked.change("sys_public:x", {"page": "x_acme_page", "active": "true"})
    (row,) = asked.rows("sys_public", "page=x_acme_page")
    assert {trace["fieldname"] for trace in asked.rows("sys_audit", "tablename=sys_public")} == {"page", "active"}
    asked.change("sys_public:x_acme_page", None)
    assert asked.rows("sys_public", "page=x_acme_page") == []
    assert asked.rows("sys_audit_delete")[0]["documentkey"] == row["sys_id"]


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("sys_public:nowhere.active", "true", UnknownSettingError),
        ("sys_public:kb_view.sys_id", "1", UnknownSettingError),
        ("sys_public:kb_view.active", "perhaps", ValueError),
        ("sys_public:x", {"no_column": "1"}, ValueError),
        ("sys_nowhere:x", None, UnknownSettingError),
        ("roles.user000009.no_role", "true", UnknownSettingError),
        ("roles.nobody.admin", "true", UnknownSettingError),
        ("roles.user000009.admin", "1", ValueError),
        ("factors.nobody", "true", UnknownSettingError),
        ("users.user000009.user_name", "x", UnknownSettingError),
        ("access:sys_nowhere", "deny", UnknownSettingError),
        ("access:sys_user.no_column", "blank", UnknownSettingError),
        ("access:sys_user", "perhaps", ValueError),
        ("access:sys_user.active", "deny", ValueError),
        ("access:sys_user:range", "blank", ValueError),
        ("simulator:nothing", 1, UnknownSettingError),
        ("simulator:unordered", "yes", ValueError),
        ("simulator:semaphores", "4", ValueError),
        ("no.such.property", "true", UnknownSettingError),
    ],
)
def test_what_does_not_fit_changes_nothing(name: str, value: Any, error: type[Exception]) -> None:
    instance = Instance()
    before = instance.settings()
    with pytest.raises(error):
        instance.change(name, value)
    assert instance.settings() == before


@pytest.mark.parametrize("seed", names())
def test_every_setting_takes_the_value_that_it_has(seed: str) -> None:
    instance = Instance(seed=seed)
    before = instance.settings()
    for name, value in before.items():
        instance.change(name, value)
    assert instance.settings() == before
    assert list(instance.tables()["sys_audit"].rows()) == []


# --- releases and profiles


@pytest.mark.parametrize("family", list(Family))
def test_a_release_names_itself_and_knows_its_own_tables_and_properties(family: Family) -> None:
    asked = Asked(Instance(seed="hardened", release=family))
    build = {row["name"]: row["value"] for row in asked.rows("sys_properties", "nameSTARTSWITHglide.")}
    assert build["glide.war"].startswith(f"glide-{family}-")
    assert build["glide.war"].startswith(build["glide.buildtag.last"])
    assert build["glide.buildname"].lower() == family
    answer = asked.page("sys_user_basic_auth_exception")
    if family.is_at_least(Family.ZURICH):
        assert answer.status_code == 200
    else:
        assert refused(answer) == (400, "Invalid table sys_user_basic_auth_exception", None)
    held = {row["name"] for row in asked.rows("sys_properties", fields="name")}
    for name, stated in hardening().items():
        assert (name in held) == stated.exists_on(family)


def test_properties_come_and_go_with_releases() -> None:
    old, new = (Instance(seed="hardened", release=release) for release in ("xanadu", "brazil"))
    assert old.property_value("glide.script.use.sandbox") == "true"
    assert new.property_value("glide.script.use.sandbox") is None
    assert old.property_value("glide.security.scripting_governance.enabled") is None
    assert new.property_value("glide.security.scripting_governance.enabled") == "true"


@pytest.mark.parametrize("seed", ["xanadu", "zurich", "australia"])
def test_a_new_instance_has_what_ships_and_no_more(seed: str) -> None:
    instance = Instance(seed=seed)
    assert instance.release == seed
    shipped = {n: s.shipped for n, s in hardening().items() if s.exists_on(instance.release) and s.shipped is not None}
    held = {row["name"]: row["value"] for row in instance.records.tables["sys_properties"].values()}
    assert shipped.items() <= held.items()
    assert "glide.authenticate.multifactor" not in held


@pytest.mark.parametrize("seed", ["weak", "strong"])
def test_references_lead_to_rows_that_exist(seed: str) -> None:
    tables = Instance(seed=seed, users=200).tables()
    for name, table in tables.items():
        for column, target in table.schema.references.items():
            if target in tables:
                pointed_at = {row[column] for row in table.rows()} - {""}
                dangling = {key for key in pointed_at if tables[target].number_of(key) is None}
                assert not dangling, f"{name}.{column}"


def test_the_last_users_can_have_left() -> None:
    asked = Asked(Instance(users=100, leavers=10))
    left = asked.rows("sys_user", "active=false", fields="user_name")
    assert [row["user_name"] for row in left] == [f"user{number:06d}" for number in range(90, 100)]


def test_an_instance_can_have_as_many_access_rules_as_a_real_one() -> None:
    asked = Asked(Instance(acls=10_000))
    empty = "active=true^conditionISEMPTY^scriptISEMPTY^security_attributeISEMPTY"
    rules = {row["sys_id"] for row in asked.rows("sys_security_acl", empty, fields="sys_id")}
    with_role = {row["sys_security_acl"] for row in asked.rows("sys_security_acl_role", limit=20_000)}
    assert 7_000 < len(rules) < 10_000
    assert len(rules - with_role) == 1  # the weak instance has one that nothing guards


def test_the_command_names_the_profiles_that_there_are() -> None:
    command = [str(BIN / "plumbline-simulator"), "serve", "--product=servicenow", "--port=1", "--profile=tokyo"]
    done = subprocess.run(command, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there are australia" in done.stderr


def test_a_profile_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="there are australia, hardened"):
        Instance(seed="tokyo")
