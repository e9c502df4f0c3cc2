"""Rows of both products become typed rows that fit their schemas."""

from datetime import UTC, datetime

import pytest
from plumbline_collector.connectors.salesforce import datasets as salesforce
from plumbline_collector.connectors.servicenow import datasets as servicenow
from plumbline_contracts.datasets import datasets
from plumbline_contracts.events import Product

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
SF, SN = datasets(Product.SALESFORCE), datasets(Product.SERVICENOW)
METADATA = {
    "enableAdminLoginAsAnyUser": True,
    "passwordPolicies": {
        "complexity": "AlphaNumeric", "expiration": "Never", "historyRestriction": "3", "lockoutInterval": "Forever",
        "maxLoginAttempts": "NoLimit", "minimumPasswordLength": "8", "obscureSecretAnswer": False, "newOne": 1,
    },
    "sessionSettings": {"sessionTimeout": "TwoHours", "enableCSRFOnGet": True, "enableSMSIdentity": None},
    "singleSignOnSettings": None,
}  # fmt: skip


def test_settings_become_documents_of_their_schema() -> None:
    passwords = salesforce.password_policies(METADATA, frozenset(SF["password_policies"].fields))
    assert passwords["minimum_password_length"] == 8
    assert (passwords["expiration_days"], passwords["lockout_minutes"], passwords["max_login_attempts_count"]) == (
        0,
        0,
        0,
    )
    assert SF["password_policies"].violations(passwords) == []
    session = salesforce.session_settings(METADATA, frozenset(SF["session_settings"].fields))
    assert session == {"session_timeout": "TwoHours", "session_timeout_minutes": 120, "enable_csrf_on_get": True}
    assert salesforce.single_sign_on_settings(METADATA, frozenset(SF["single_sign_on_settings"].fields)) == {}


def test_a_value_that_nobody_knows_has_no_number() -> None:
    changed = {"sessionSettings": {"sessionTimeout": "FortyHours"}}
    row = salesforce.session_settings(changed, frozenset(SF["session_settings"].fields))
    assert row == {"session_timeout": "FortyHours"}


def test_every_setting_of_the_catalogue_has_a_name_of_the_api() -> None:
    for name, spec in SF["session_settings"].fields.items():
        api_name = spec.source.rsplit(".", 1)[-1]
        assert spec.source.startswith("derived") or salesforce.field_name(api_name) == name


def _record(**fields: object) -> dict[str, object]:
    profile = {"Name": "Sales User", "UserLicense": {"LicenseDefinitionKey": "SFDC"}}
    base = {
        "Id": "005000000000001AAA", "Username": "ann@example.com", "UserType": "Standard", "Profile": profile,
        "LastLoginDate": "2026-11-14T08:59:00.000+0000", "CreatedDate": "2025-11-24T09:00:00.000+0000",
    }  # fmt: skip
    return {**base, **fields}


def test_a_user_carries_what_the_joins_know() -> None:
    known = salesforce.KnownOfUsers()
    known.frozen = {"005000000000001AAA"}
    known.add_grant({"AssigneeId": "005000000000001AAA", "PermissionSet": {"PermissionsViewAllData": True}})
    known.add_grant({"AssigneeId": "005000000000001AAA", "PermissionSet": {"PermissionsModifyAllData": True}})
    known.add_methods({"UserId": "005000000000001AAA", "HasTotp": True, "HasSecurityKey": False})
    row = salesforce.user(_record(), known, NOW)
    assert (row["is_frozen"], row["idle_days"], row["age_days"]) == (True, 10, 365)
    assert row["privileged_permissions"] == ["ModifyAllData", "ViewAllData"]
    assert (row["mfa_methods"], row["has_phishing_resistant_mfa"]) == (["totp"], False)
    assert SF["users"].violations(row) == []


def test_a_user_who_never_logged_in_is_idle_since_creation() -> None:
    row = salesforce.user(_record(LastLoginDate=None), salesforce.KnownOfUsers(), NOW)
    assert (row["has_logged_in"], row["idle_days"]) == (False, 365)


def test_what_a_join_could_not_read_is_absent_and_not_false() -> None:
    known = salesforce.KnownOfUsers()
    known.methods = known.privileges = None
    row = salesforce.user(_record(), known, NOW)
    assert not {"mfa_methods", "has_mfa_method", "is_privileged"} & row.keys()


@pytest.mark.parametrize(
    ("licence", "expected"), [("SFDC", False), ("PID_Salesforce_Integration", True), ("PID_API_Only", True)]
)
def test_integration_users_are_known_by_their_licence(licence: str, expected: bool) -> None:
    profile = {"Name": "P", "UserLicense": {"LicenseDefinitionKey": licence}}
    row = salesforce.user(_record(Profile=profile), salesforce.KnownOfUsers(), NOW)
    assert row["is_integration"] is expected


@pytest.mark.parametrize(
    ("build", "family", "rank"),
    [
        ("glide-zurich-07-01-2025__patch0", "zurich", 26),
        ("glide-australia-02-11-2026__patch0", "australia", 27),
        ("glide-elsewhere-01-01-2030", "elsewhere", None),
    ],
)
def test_the_release_is_read_from_the_build(build: str, family: str, rank: int | None) -> None:
    row = servicenow.instance({"glide.war": build})
    assert (row.get("family"), row.get("family_rank")) == (family, rank)


def test_a_withheld_value_is_absent_and_an_empty_one_stays() -> None:
    assert servicenow.system_property({"sys_id": "1", "name": "a", "value": ""})["value"] == ""
    assert "value" not in servicenow.system_property({"sys_id": "1", "name": "a"})


def test_a_servicenow_user_carries_what_the_joins_know() -> None:
    known = servicenow.KnownOfUsers()
    known.add_role({"user": "u1", "role.name": "admin"})
    known.add_role({"user": "u1", "role.name": "catalog_admin"})
    known.add_factor({"user": "u1", "validated": "true"})
    known.add_factor({"user": "u2", "validated": "false"})
    raw = {
        "sys_id": "u1", "user_name": "ann", "locked_out": "false", "last_login_time": "2026-11-14 08:59:00",
        "sys_created_on": "2025-11-24 09:00:00", "web_service_access_only": "false",
        "internal_integration_user": "false", "sso_source": "",
    }  # fmt: skip
    row = servicenow.user(raw, known, NOW)
    assert (row["privileged_roles"], row["is_admin"], row["has_mfa_method"]) == (["admin"], True, True)
    assert (row["idle_days"], row["is_integration"], row["is_sso_bound"]) == (10, False, False)
    assert SN["users"].violations(row) == []
    assert servicenow.user({**raw, "sys_id": "u2"}, known, NOW)["has_mfa_method"] is False
