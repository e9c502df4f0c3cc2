"""Records become typed rows, on the shapes that the vendor documents and on odd ones."""

from datetime import UTC, datetime
from typing import Any

import pytest
from plumbline_collector.connectors.salesforce import datasets, health_check, tables
from plumbline_collector.connectors.salesforce.logins import LoginTotals
from plumbline_collector.connectors.salesforce.run import SCHEMAS
from plumbline_contracts.events import Row

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
TABLES = {table.dataset: table for table in vars(tables).values() if isinstance(table, tables.Table)} | {
    table.dataset: table for table in tables.TABLES
}


def _row(dataset: str, record: dict[str, Any]) -> Row:
    schema = SCHEMAS[dataset]
    row = TABLES[dataset].maker(schema, NOW)(record)
    assert schema.violations(row) == []
    return row


CASES: list[tuple[str, dict[str, Any], Row]] = [
    ("certificates", {"ExpirationDate": "2026-11-24T09:00:00.000+0000"}, {"is_expired": True, "days_to_expiry": 0}),
    ("certificates", {"ExpirationDate": "2026-12-25"}, {"is_expired": False, "days_to_expiry": 30}),
    ("remote_sites", {"EndpointUrl": "http://erp.example.com", "NamespacePrefix": None},
     {"is_https": False, "namespace_prefix": ""}),
    ("cors_entries", {"UrlPattern": "https://*.com"}, {"is_https": True, "is_wildcard": True, "has_wildcard": True}),
    ("cors_entries", {"UrlPattern": "https://*.example.com"}, {"is_wildcard": False, "has_wildcard": True}),
    ("trusted_urls", {"EndpointUrl": "wss://chat.example.com", "Context": None}, {"is_https": True, "context": ""}),
    ("named_credentials", {"Endpoint": None}, {"has_endpoint": False, "endpoint": ""}),
    ("saml_providers", {"Version": "SAML2_0", "RequestSignatureMethod": "RSA_SHA256"},
     {"is_saml_2": True, "is_sha256": True}),
    ("saml_providers", {"Version": "SAML1_1", "RequestSignatureMethod": "RSA_SHA1"},
     {"is_saml_2": False, "is_sha256": False}),
    ("object_sharing", {"QualifiedApiName": "Case", "InternalSharingModel": "ReadWriteTransfer",
     "ExternalSharingModel": "Private"},
     {"is_core": True, "is_internally_writable": True, "is_public_external": False, "is_custom": False}),
    ("object_sharing", {"QualifiedApiName": "A__c", "InternalSharingModel": None, "ExternalSharingModel": "Read"},
     {"is_public_internal": False, "is_public_external": True, "internal_sharing_model": "", "is_custom": True}),
    ("connected_apps", {"RefreshTokenValidityPeriod": None, "MobileSessionTimeout": None, "PinLength": None},
     {"has_refresh_token_expiry": False, "is_mobile": False, "has_mobile_session_timeout": False, "pin_length": 0}),
    ("connected_apps", {"RefreshTokenValidityPeriod": 0, "MobileSessionTimeout": None, "PinLength": "6"},
     {"has_refresh_token_expiry": True, "is_mobile": True, "pin_length": 6}),
    ("sites", {"ClickjackProtectionLevel": "AllowAllFraming", "GuestUserId": None},
     {"allows_all_framing": True, "guest_user_id": ""}),
    ("packages", {"SubscriberPackage": {"Name": "Unlocked", "NamespacePrefix": None}}, {"id": "Unlocked"}),
    ("package_licences", {"Status": "Active", "ExpirationDate": "2026-11-01"}, {"is_expired": True}),
    ("package_licences", {"Status": "Active", "ExpirationDate": None}, {"is_expired": False}),
    ("tenant_secrets", {"Status": "ACTIVE", "CreatedDate": "2025-11-24T09:00:00.000+0000"},
     {"is_active": True, "age_days": 365}),
    ("public_links", {"PreferencesExpires": True, "ExpiryDate": "2026-11-01T00:00:00.000+0000"}, {"is_expired": True}),
    ("public_links", {"PreferencesExpires": False, "ExpiryDate": None, "ViewCount": None},
     {"is_expired": False, "view_count": 0}),
    ("transaction_security_policies",
     {"State": "Enabled", "ActionConfig": '{"block":true,"twoFactorAuthentication":false}', "ExecutionUserId": None},
     {"is_enabled": True, "blocks": True, "requires_mfa": False, "has_execution_user": False}),
    ("transaction_security_policies", {"State": "Disabled", "ActionConfig": {"twoFactorAuthentication": True}},
     {"is_enabled": False, "blocks": False, "requires_mfa": True}),
    ("transaction_security_policies", {"ActionConfig": None}, {"blocks": False}),
    ("organization", {"IsSandbox": False, "TrialExpirationDate": None}, {"is_production": True, "is_trial": False}),
    ("guest_object_access", {"ParentId": "0PS1", "SobjectType": "Case", "PermissionsCreate": True,
     "PermissionsEdit": False, "PermissionsDelete": False, "PermissionsViewAllRecords": False,
     "PermissionsModifyAllRecords": False, "Parent": None},
     {"id": "0PS1 / Case", "can_write": True, "can_reach_all": False, "profile_id": ""}),
    ("login_activity", {"LoginType": "Remote Access 2.0", "LoginSubType": "OauthUsernamePassword",
     "ApiType": None, "TlsProtocol": "TLS 1.1", "Status": "Success", "counted": 7},
     {"is_weak_flow": True, "is_modern_tls": False, "is_successful": True, "logins": 7, "api_type": "",
      "id": "Remote Access 2.0 / OauthUsernamePassword / - / TLS 1.1 / Success"}),
    ("session_activity", {"SessionType": "UI", "LoginType": None, "SessionSecurityLevel": "STANDARD", "counted": 3},
     {"id": "UI / - / STANDARD", "login_type": "", "sessions": 3}),
    ("login_addresses", {"IsAuthenticated": False, "ChallengeMethod": None, "counted": "2"},
     {"id": "false / -", "addresses": 2, "is_authenticated": False}),
]  # fmt: skip


@pytest.mark.parametrize(("dataset", "record", "expected"), CASES)
def test_records_become_rows(dataset: str, record: dict[str, Any], expected: Row) -> None:
    row = _row(dataset, record)
    assert {name: row.get(name) for name in expected} == expected


@pytest.mark.parametrize("dataset", sorted(TABLES))
def test_what_was_not_sent_is_absent_and_claims_nothing(dataset: str) -> None:
    row = _row(dataset, {})
    claims = {name for name, value in row.items() if value is True}
    assert not claims, "nothing was sent, so nothing is so"


@pytest.mark.parametrize(
    ("status", "expected"),
    [("Success", True), ("Invalid Password", False), ("Failed: Mobile Feature Disabled", False), ("Erfolg", None)],
)
def test_a_status_in_unknown_words_is_neither_success_nor_failure(status: str, expected: bool | None) -> None:
    assert _row("login_activity", {"Status": status}).get("is_successful") is expected


@pytest.mark.parametrize(
    ("kind", "flow", "api", "expected"),
    [
        ("Remote Access 2.0", "OauthUsernamePassword", None, True),
        ("Remote Access 2.0", "OAuth Username-Password", None, True),
        ("Other Apex API", None, "SOAP Partner", True),
        ("OtherApi", None, None, True),
        ("Partner Product", None, "SOAP Enterprise", True),
        ("Partner", None, None, True),
        ("Andere Apex-API", None, "SOAP Partner", True),
        ("Andere Apex-API", "", "Soap Enterprise", True),
        ("Remotezugriff 2.0", "OauthClientCredentials", "SOAP Partner", False),
        ("Remote Access 2.0", None, "SOAP Partner", False),
        ("Remote Access 2.0", "OauthRefreshToken", "N/A", False),
        ("Application", "UsernamePasswordUiLogin", None, False),
        ("Partner Portal", None, None, False),
        ("Anwendung", None, None, False),
    ],
)
def test_a_client_that_logs_in_with_a_password_is_known(
    kind: str, flow: str | None, api: str | None, expected: bool
) -> None:
    record = {"LoginType": kind, "LoginSubType": flow, "ApiType": api}
    assert _row("login_activity", record)["is_weak_flow"] is expected


@pytest.mark.parametrize("withheld", ["LoginType", "LoginSubType", "ApiType"])
def test_without_a_column_of_the_flow_it_is_not_told(withheld: str) -> None:
    record = {"LoginType": "Other Apex API", "LoginSubType": None, "ApiType": "SOAP Partner"}
    del record[withheld]
    assert "is_weak_flow" not in _row("login_activity", record)


def test_logins_are_added_up_and_an_unknown_status_counts_against() -> None:
    totals = LoginTotals()
    for kind, flow, tls, status, size in (
        ("Remote Access 2.0", "OauthUsernamePassword", "TLS 1.2", "Erfolg", 3),
        ("Other Apex API", None, "TLS 1.0", "Success", 2),
        ("Remote Access 2.0", "OauthUsernamePassword", "TLS 1.3", "Invalid Password", 5),
        ("Application", None, "Unknown", "Success", 10),
    ):
        record = {"LoginType": kind, "LoginSubType": flow, "ApiType": None, "TlsProtocol": tls, "Status": status}
        totals.add(_row("login_activity", {**record, "counted": size}))
    found = totals.document()
    assert SCHEMAS["login_statistics"].violations(found) == []
    assert found == {"logins": 20, "modern_tls_logins": 8, "modern_tls_percent": 80.0, "weak_flow_logins": 5}


def test_logins_of_unknown_protocol_are_no_share_of_modern_ones() -> None:
    totals = LoginTotals()
    totals.add(_row("login_activity", {"TlsProtocol": "Unbekannt", "Status": "Success", "counted": 4}))
    assert totals.document() == {"logins": 4, "modern_tls_logins": 0}
    assert LoginTotals().document() == {"logins": 0, "modern_tls_logins": 0, "weak_flow_logins": 0}


def test_totals_of_withheld_columns_are_absent() -> None:
    totals = LoginTotals()
    totals.add(_row("login_activity", {"LoginType": "x", "counted": 4}))
    assert totals.document() == {"logins": 4}


@pytest.mark.parametrize(
    ("raw", "is_on", "number"),
    [
        ("true", True, None),
        ("Disabled", False, None),
        ("1", True, 1),
        ("0", False, 0),
        ("8", None, 8),
        ("x", None, None),
    ],
)
def test_health_check_values_are_read_in_each_form(raw: str, is_on: bool | None, number: float | None) -> None:
    record = {"DurableId": "SessionSettings.csrfPost", "Setting": "CSRF-Schutz", "OrgValueRaw": raw}
    row = _row("health_check_risks", record)
    assert (row.get("org_value_is_on"), row.get("org_value_number")) == (is_on, number)
    assert row["is_known"] is True


def test_an_unknown_health_check_setting_is_kept() -> None:
    row = _row("health_check_risks", {"DurableId": "New.setting", "RiskType": "HIGH_RISK"})
    assert (row["is_known"], row["meets_standard"]) == (False, False)
    assert len(health_check.KEYS) == 45


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"Score": "68", "CustomBaselineId": None},
         {"score": 68, "custom_baseline_id": "", "has_custom_baseline": False}),
        ({"Score": None, "CustomBaselineId": "0Hc1"}, {"custom_baseline_id": "0Hc1", "has_custom_baseline": True}),
        ({}, {}),
    ],
)  # fmt: skip
def test_a_score_that_is_not_given_is_absent(record: dict[str, Any], expected: Row) -> None:
    assert health_check.document(record, {}) == expected


@pytest.mark.parametrize(
    ("display", "subject", "old", "new"),
    [
        ('Changed Session timeout from "Two Hours" to "Eight Hours"', "Session timeout", "Two Hours", "Eight Hours"),
        (
            "Changed email for user Ann from a@x.example to b@x.example",
            "email for user Ann",
            "a@x.example",
            "b@x.example",
        ),
        ("Password policy moved from 8 to 12", None, "8", "12"),
        ("Created new user Ann", None, None, None),
        ("Changed A from  to on", "A", "", "on"),
    ],
)
def test_a_change_gives_old_and_new_value_where_its_words_do(
    display: str, subject: str | None, old: str | None, new: str | None
) -> None:
    record = {"CreatedDate": "2026-11-24T09:00:00.000+0000", "Action": "a", "Display": display, "CreatedBy": None}
    entry = datasets.audit_entry(record)
    assert entry is not None
    assert (entry.subject, entry.old_value, entry.new_value, entry.actor) == (subject, old, new, "unknown")


def test_a_delegate_is_named_beside_the_actor() -> None:
    record = {
        "CreatedDate": "2026-11-24T09:00:00.000+0000",
        "CreatedBy": {"Username": "support@example.com"},
        "DelegateUser": "ann@example.com",
    }
    entry = datasets.audit_entry(record)
    assert entry is not None
    assert "support@example.com" in entry.actor
    assert "ann@example.com" in entry.actor
    assert datasets.audit_entry({"CreatedDate": None}) is None
