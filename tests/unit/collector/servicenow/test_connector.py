"""A whole collection from an instance in memory: states, joins, calls."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from plumbline_collector.connectors.ports import CollectionReport
from plumbline_collector.connectors.servicenow import people_reader
from plumbline_collector.connectors.servicenow.connector import ServiceNowConnector
from plumbline_collector.connectors.servicenow.network import COMMAND_AUDIT
from plumbline_collector.connectors.servicenow.plan import READS, SCHEMAS, calls_by_dataset, typical_rows
from plumbline_collector.connectors.servicenow.tables import names, property_chunks
from plumbline_contracts.events import DatasetState, DatasetSummary

from tests.unit.collector.servicenow.fakes import (
    ADMIN,
    NOW,
    Cells,
    FakeInstance,
    Rows,
    acl_row,
    denied,
    plugin_row,
    property_row,
    small_instance,
    sys_id,
    unsupported,
)


async def _collect(instance: FakeInstance) -> tuple[dict[str, DatasetSummary], Rows, CollectionReport]:
    rows = Rows()
    report = await ServiceNowConnector(instance).collect(rows, NOW)
    for name, found in rows.found.items():
        assert [problem for row in found for problem in SCHEMAS[name].violations(row)] == []
    return {summary.name: summary for summary in report.datasets}, rows, report


def _missing(summary: DatasetSummary) -> dict[str, str]:
    return {field.field: field.error.permission or "" for field in summary.missing_fields}


def _role(number: int, user: str, role: str, **cells: str) -> Cells:
    base = {"state": "active", "user.active": "true", "user.user_name": f"user{user[-4:]}"}
    return {"sys_id": sys_id(number), "user": user, "role.name": role, **base, **cells}


async def test_every_dataset_is_read_and_an_instance_without_extras_is_wholly_read() -> None:
    found, rows, report = await _collect(small_instance())
    assert list(SCHEMAS) != []
    assert set(found) == set(SCHEMAS) == set(READS)
    assert {name for name, summary in found.items() if summary.state is not DatasetState.OK} == set()
    assert rows.found["instance"][0]["patch_age_days"] == 30
    assert report.release == "glide-zurich-07-01-2025__patch6-hotfix1-10-25-2026"
    assert rows.found["record_counts"] == [
        dict.fromkeys(
            (
                "excluded_passwords",
                "allowed_java_members",
                "allowed_java_packages",
                "inactive_users",
                "inactive_unlocked_users",
            ),
            0,
        )
    ]


async def test_each_dataset_says_what_it_cost_and_the_plan_knew_it() -> None:
    instance = small_instance()
    instance.tables["ecc_agent"] = [{"sys_id": sys_id(1), "name": "mid", "user_name": "svc.mid", "version": "zurich"}]
    instance.tables["sys_user_has_role"] += [
        *(_role(100 + n, sys_id(100 + n), "snc_external") for n in range(170)),
        *(_role(1000 + n, sys_id(1000 + n), "snc_internal") for n in range(1200)),
        _role(9, sys_id(9), "mid_server", **{"user.user_name": "svc.mid"}),
    ]
    instance.tables["sys_user"] += [{**instance.tables["sys_user"][0], "sys_id": sys_id(n)} for n in range(2300)]
    found, _, _ = await _collect(instance)
    counts = dict.fromkeys((read.selection.key for reads in READS.values() for read in reads), 0)
    counts |= {"sys_user": 2301, "sys_user_has_role": 2, "ecc_agent": 1, "sys_user_has_role/mid": 1}
    counts |= {"sys_user_has_role/snc_external": 170, "sys_user_has_role/snc_internal": 1200, "sys_dictionary": 0}
    counts |= {"v_plugin": 1, "sys_user_role": 1, "sys_properties": 2, "sys_public": 1}
    assert {name: summary.calls for name, summary in found.items()} == calls_by_dataset(counts)
    assert instance.usage.calls == sum(calls_by_dataset(counts).values())


@pytest.mark.parametrize("users", [0, 60, 1000, 100_000])
def test_a_typical_collection_stays_within_its_calls(users: int) -> None:
    typical = typical_rows(users)
    calls = sum(calls_by_dataset(typical).values())
    assert calls <= sum(typical.values()) / 1000 + 70


def test_all_properties_fit_into_a_few_queries() -> None:
    chunks = property_chunks()
    assert max(len("%2C".join(chunk)) for chunk in chunks) < 7_500
    assert len({name for chunk in chunks for name in chunk}) == sum(map(len, chunks))
    assert names("plugin_ids.txt") == tuple(sorted(names("plugin_ids.txt")))


async def test_the_properties_of_every_application_are_read() -> None:
    instance = small_instance()
    instance.tables["sys_properties"] += [
        property_row(3, "glide.enforce_security_scope.x_acme_unheard_of", "false"),
        property_row(4, "glide.enforce_security_scope.sn_hr_core", "true"),
        property_row(5, "glide.enforce_security", "true"),
        property_row(6, "x_acme.impersonateCheck", "false"),
    ]
    _, rows, _ = await _collect(instance)
    found = {row["name"]: row["value"] for row in rows.found["system_properties"]}
    assert found["glide.enforce_security_scope.x_acme_unheard_of"] == "false"
    assert found["x_acme.impersonateCheck"] == "false"
    assert "glide.enforce_security_scope.sn_hr_core" in found
    assert "glide.enforce_security" not in found


async def test_a_count_that_is_refused_names_its_own_table() -> None:
    instance = small_instance()
    tables = ("blacklisted_password", "sys_whitelist_member", "sys_whitelist_package")
    instance.refusals |= dict.fromkeys(tables, denied())
    found, _, _ = await _collect(instance)
    named = {each.field: each.error.permission for each in found["record_counts"].missing_fields}
    assert named["excluded_passwords"] == "read ACL on blacklisted_password"
    assert named["allowed_java_packages"] == "read ACL on sys_whitelist_package"


async def test_a_refused_table_costs_its_dataset_alone_and_says_which_rule_to_add() -> None:
    instance = small_instance()
    instance.refusals["ip_access"] = denied()
    found, _, _ = await _collect(instance)
    error = found["ip_access_rules"].error
    assert error is not None
    assert error.permission == "read ACL on ip_access"
    assert error.remedy is not None
    assert "on ip_access and ip_access.*" in error.remedy
    others = {summary.state for name, summary in found.items() if name != "ip_access_rules"}
    assert others == {DatasetState.OK}


def _with_command_audits(*rows: tuple[str, str]) -> FakeInstance:
    """Two MID Servers, 1 and 2, and the rows of their property: agent and value."""
    instance = small_instance()
    instance.tables["ecc_agent"] = [{"sys_id": sys_id(n), "name": f"mid{n}"} for n in (1, 2)]
    cells = [{"ecc_agent": agent, "value": value} for agent, value in rows]
    named = [{"sys_id": sys_id(50 + n), "name": COMMAND_AUDIT, **row} for n, row in enumerate(cells)]
    instance.tables["ecc_agent_property"] = named
    return instance


@pytest.mark.parametrize(
    ("audits", "expected"),
    [
        ([("", "true")], [True, True]),
        ([("", "false"), (sys_id(2), "true")], [False, True]),
        ([(sys_id(2), "false"), ("", "true")], [True, False]),
        ([(sys_id(1), "true")], [True, False]),
    ],
)
async def test_a_property_without_a_mid_server_is_that_of_all(
    audits: list[tuple[str, str]], expected: list[bool]
) -> None:
    _, rows, _ = await _collect(_with_command_audits(*audits))
    assert [row["logs_commands"] for row in rows.found["mid_servers"]] == expected


class _HidingAgents(FakeInstance):
    """Shows the agent of a MID Server's property as empty."""

    async def page(
        self, table: str, query: str, fields: str, size: int, offset: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        rows, total = await super().page(table, query, fields, size, offset)
        return [row | {"ecc_agent": ""} if "ecc_agent" in row else row for row in rows], total


async def test_a_property_whose_mid_server_is_hidden_is_not_that_of_all() -> None:
    shown = _with_command_audits((sys_id(1), "true"))
    found, rows, _ = await _collect(_HidingAgents(shown.tables))
    assert _missing(found["mid_servers"])["logs_commands"] == "read ACL on ecc_agent_property"
    assert [row for row in rows.found["mid_servers"] if "logs_commands" in row] == []


async def test_failed_logins_that_are_empty_for_everybody_are_hidden() -> None:
    instance = small_instance()
    first = instance.tables["sys_user"][0]
    instance.tables["sys_user"] = [first | {"failed_attempts": ""}, first | {"sys_id": sys_id(2)}]
    found, _, _ = await _collect(instance)
    assert "failed_attempts" not in _missing(found["users"])
    instance.tables["sys_user"][1]["failed_attempts"] = ""
    found, _, _ = await _collect(instance)
    assert "failed_attempts" in _missing(found["users"])


async def test_a_table_that_the_release_does_not_have_is_unsupported() -> None:
    instance = small_instance()
    instance.refusals["sys_user_basic_auth_exception"] = unsupported()
    found, rows, _ = await _collect(instance)
    assert found["basic_auth_exceptions"].state is DatasetState.UNSUPPORTED
    assert rows.found["users"][0]["has_basic_auth_exception"] is False


async def test_a_join_that_may_not_be_read_leaves_its_fields_out() -> None:
    instance = small_instance()
    for table in ("user_multifactor_auth", "sys_user_basic_auth_exception", "sys_user_role"):
        instance.refusals[table] = denied()
    found, rows, _ = await _collect(instance)
    missing = _missing(found["users"])
    assert missing == {
        "has_mfa_method": "read ACL on user_multifactor_auth",
        "has_basic_auth_exception": "read ACL on sys_user_basic_auth_exception",
        "is_machine_account": "read ACL on sys_user_basic_auth_exception",
        "elevated_roles": "read ACL on sys_user_role",
        "holds_elevated_role": "read ACL on sys_user_role",
    }
    assert not missing.keys() & rows.found["users"][0].keys()


async def test_without_the_roles_nobody_counts_as_unprivileged() -> None:
    instance = small_instance()
    instance.tables["sys_user_has_role"][0]["role.name"] = "user_admin"
    found, rows, _ = await _collect(instance)
    assert "is_admin" in _missing(found["users"])
    assert "is_admin" not in rows.found["users"][0]
    assert found["inactive_privileged_users"].state is DatasetState.DENIED


async def test_hidden_role_rows_are_no_roles() -> None:
    instance = small_instance()
    instance.tables["sys_user_has_role"].append(_role(2, sys_id(2), "admin"))
    instance.hidden = {sys_id(2)}
    found, _, _ = await _collect(instance)
    assert "is_privileged" in _missing(found["users"])


async def test_dates_that_are_hidden_for_everyone_are_not_never() -> None:
    instance = small_instance()
    instance.tables["sys_user"][0]["last_login_time"] = ""
    found, _, _ = await _collect(instance)
    assert {"has_logged_in", "idle_days"} <= _missing(found["users"]).keys()


@pytest.mark.parametrize("table", ["sys_properties", "v_plugin", "sys_user", "sys_public"])
async def test_a_table_that_is_never_empty_and_shows_nothing_is_a_missing_right(table: str) -> None:
    instance = small_instance()
    instance.tables[table] = []
    found, _, _ = await _collect(instance)
    names_of = {
        "sys_properties": "system_properties",
        "v_plugin": "plugins",
        "sys_user": "users",
        "sys_public": "public_pages",
    }
    assert found[names_of[table]].state is DatasetState.DENIED
    checked = {summary.name: summary for summary in await ServiceNowConnector(instance).check()}
    assert checked[names_of[table]].state is DatasetState.DENIED


async def test_who_is_internal_and_external_is_found_without_reading_all_of_either() -> None:
    instance = small_instance()
    instance.tables["sys_user_has_role"] += [
        *(_role(100 + n, sys_id(n), "snc_internal") for n in range(3000)),
        _role(9000, sys_id(5), "snc_external"),
        _role(9001, sys_id(5000), "snc_external"),
    ]
    found, rows, _ = await _collect(instance)
    assert [row["sys_id"] for row in rows.found["internal_external_users"]] == [sys_id(5)]
    assert (found["internal_external_users"].state, found["internal_external_users"].calls) == (DatasetState.OK, 4)


async def test_more_holders_of_both_roles_than_are_looked_up_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people_reader, "DUAL_ROLE_USERS", 10)
    instance = small_instance()
    for role, first in (("snc_internal", 100), ("snc_external", 300)):
        instance.tables["sys_user_has_role"] += [_role(first + n, sys_id(n), role) for n in range(40)]
    found, rows, _ = await _collect(instance)
    assert found["internal_external_users"].state is DatasetState.TRUNCATED
    assert len(rows.found["internal_external_users"]) == 10


async def test_without_explicit_roles_nobody_is_asked() -> None:
    instance = small_instance()
    instance.tables["v_plugin"].append(plugin_row(2, "com.glide.explicit_roles", "inactive"))
    found, _, _ = await _collect(instance)
    summary = found["internal_external_users"]
    assert (summary.state, summary.calls) == (DatasetState.UNSUPPORTED, 0)
    assert summary.error is not None
    assert summary.error.code == "plugin_inactive"


async def test_only_rules_that_ask_for_nothing_are_empty() -> None:
    instance = small_instance()
    instance.tables["sys_security_acl"] += [
        acl_row(2, "u_a"),
        acl_row(3, "u_b"),
        acl_row(4, "u_c", active="false"),
        acl_row(5, "u_d", security_attribute="x"),
    ]
    role = {"sys_security_acl": sys_id(3), "sys_security_acl.active": "true", "sys_security_acl.condition": ""}
    instance.tables["sys_security_acl_role"] = [
        {
            "sys_id": sys_id(1),
            **role,
            "sys_security_acl.script": "",
            "sys_user_role.name": "public",
            "sys_security_acl.name": "u_b",
        }
    ]
    _, rows, _ = await _collect(instance)
    assert [row["name"] for row in rows.found["empty_acls"]] == ["u_a"]
    assert [row["name"] for row in rows.found["public_acls"]] == ["u_b"]


async def test_rules_whose_roles_are_hidden_are_not_called_empty() -> None:
    instance = small_instance()
    instance.tables["sys_security_acl"].append(acl_row(2, "u_a"))
    instance.refusals["sys_security_acl_role"] = denied()
    found, rows, _ = await _collect(instance)
    assert found["empty_acls"].state is DatasetState.DENIED
    assert "empty_acls" not in rows.found


async def test_a_query_part_that_is_left_out_brings_no_foreign_rows() -> None:
    instance = small_instance()
    instance.tables["sys_user"].append({**instance.tables["sys_user"][0], "sys_id": sys_id(2), "active": "false"})
    instance.ignores = {"active"}
    found, rows, _ = await _collect(instance)
    assert [row["sys_id"] for row in rows.found["users"]] == [ADMIN]
    assert found["users"].state is DatasetState.OK


async def test_changes_of_secrets_travel_without_values() -> None:
    instance = small_instance()
    instance.tables["sys_properties"].append(property_row(3, "glide.authenticate.sso.saml2.keystore", "x"))

    def change(number: int, table: str, record: str, column: str) -> Cells:
        cells = {"tablename": table, "documentkey": record, "fieldname": column, "oldvalue": "a", "newvalue": "b"}
        return {"sys_id": sys_id(number), **cells, "user": "eve", "sys_created_on": f"2026-11-2{number} 08:00:00"}

    instance.tables["sys_audit"] = [
        change(1, "sys_properties", sys_id(2), "value"),
        change(2, "sys_properties", sys_id(3), "value"),
        change(3, "oauth_entity", sys_id(9), "client_secret"),
        change(0, "sys_properties", sys_id(77), "value"),
    ]
    _, _, report = await _collect(instance)
    entries = {entry.subject: entry for entry in report.audit_entries if entry.actor == "eve"}
    plain, hidden = entries["glide.ui.session_timeout"], entries["glide.authenticate.sso.saml2.keystore"]
    assert (plain.old_value, plain.new_value, plain.action) == ("a", "b", "sys_properties.value")
    assert [(e.old_value, e.new_value) for e in (hidden, entries[sys_id(9)], entries[sys_id(77)])] == [(None, None)] * 3
    assert [entry.at for entry in report.audit_entries] == sorted((e.at for e in report.audit_entries), reverse=True)


async def test_check_tries_every_table_a_few_times_at_most() -> None:
    instance = small_instance()
    instance.refusals["sys_user_has_role"] = denied()
    found = {summary.name: summary for summary in await ServiceNowConnector(instance).check()}
    assert sum(instance.calls.values()) < 80
    assert set(instance.calls) == {read.selection.table for reads in READS.values() for read in reads}
    assert "is_admin" in _missing(found["users"])
    assert found["internal_external_users"].state is DatasetState.DENIED


async def test_check_sees_rows_that_are_hidden_on_the_first_page() -> None:
    instance = small_instance()
    instance.tables["ip_access"] = [{"sys_id": sys_id(number), "type": "deny"} for number in range(3)]
    instance.hidden = {sys_id(1)}
    found = {summary.name: summary for summary in await ServiceNowConnector(instance).check()}
    summary = found["ip_access_rules"]
    assert summary.state is DatasetState.TRUNCATED
    assert summary.error is not None
    assert summary.error.permission == "read ACL on ip_access"


async def test_privileged_users_of_another_domain_are_missed() -> None:
    instance = small_instance()
    instance.tables["sys_user_has_role"].append(_role(70, sys_id(70), "admin"))
    found, rows, _ = await _collect(instance)
    assert len(rows.found["users"]) == 1
    assert found["users"].state is DatasetState.TRUNCATED
    assert found["users"].error is not None
    assert "1 active users who hold a privileged role" in found["users"].error.message


async def test_a_privileged_user_who_was_switched_off_meanwhile_is_not_missed() -> None:
    instance = small_instance()
    instance.tables["sys_user_has_role"].append(_role(70, sys_id(70), "admin"))
    switched_off = {**instance.tables["sys_user"][0], "sys_id": sys_id(70), "active": "false"}
    instance.tables["sys_user"].append(switched_off)
    found, _, _ = await _collect(instance)
    assert found["users"].state is DatasetState.OK


async def test_rows_that_a_deleted_user_left_behind_cost_nothing() -> None:
    instance = small_instance()
    instance.tables["sys_user_has_role"].append(_role(70, "", "admin"))
    instance.tables["user_multifactor_auth"] = [{"sys_id": sys_id(1), "user": "", "validated": "true"}]
    found, rows, _ = await _collect(instance)
    assert _missing(found["users"]) == {}
    assert (rows.found["users"][0]["is_admin"], rows.found["users"][0]["has_mfa_method"]) == (True, False)


@pytest.mark.parametrize("table", ["sys_user_has_role", "user_multifactor_auth"])
async def test_rows_whose_user_is_blanked_are_no_rows_of_nobody(table: str) -> None:
    instance = small_instance()
    instance.tables["sys_user_has_role"].append(_role(70, sys_id(70), "admin"))
    instance.tables["user_multifactor_auth"] = [{"sys_id": sys_id(70), "user": ADMIN, "validated": "true"}]
    honest = instance.page

    async def blanked(
        name: str, query: str, fields: str, size: int, offset: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        rows, total = await honest(name, query, fields, size, offset)
        return [{**row, "user": ""} if name == table and row["sys_id"] == sys_id(70) else row for row in rows], total

    instance.page = blanked  # type: ignore[method-assign, assignment]
    found, _, _ = await _collect(instance)
    unknown = {"sys_user_has_role": "is_admin", "user_multifactor_auth": "has_mfa_method"}[table]
    assert _missing(found["users"])[unknown] == f"read ACL on {table}"


@pytest.mark.parametrize("refused", [None, "sys_user"])
async def test_small_tables_wait_for_the_first_user_and_not_for_the_last(refused: str | None) -> None:
    """What an empty table may mean depends on who was seen, and never on which of two reads is faster."""
    instance = small_instance()
    instance.tables["sys_user"] += [{**instance.tables["sys_user"][0], "sys_id": sys_id(n)} for n in range(4000)]
    instance.refusals = {refused: denied()} if refused else {}
    honest, order = instance.page, list[str]()

    async def slow(
        name: str, query: str, fields: str, size: int, offset: int
    ) -> tuple[list[dict[str, Any]], int | None]:
        for _ in range(50 if "user_name" in fields else 0):
            await asyncio.sleep(0)
        order.append("user" if name == "sys_user" and "user_name" in fields else name)
        return await honest(name, query, fields, size, offset)

    instance.page = slow  # type: ignore[method-assign, assignment]
    found, _, _ = await _collect(instance)
    assert set(found) == set(SCHEMAS)
    first_small = order.index("blacklisted_password")
    users = [place for place, name in enumerate(order) if name == "user"]
    assert users[0] < first_small
    if not refused:
        assert first_small < users[3], "pages of users are still to come"
        assert instance.calls["blacklisted_password"] == 1


def test_every_field_that_a_read_feeds_is_a_field() -> None:
    fed: Mapping[str, set[str]] = {
        name: {field for read in reads for field in read.feeds} for name, reads in READS.items()
    }
    assert all(fields <= SCHEMAS[name].fields.keys() for name, fields in fed.items())
