"""Settings blobs become documents of their schema."""

from typing import Any

import pytest
from plumbline_collector.connectors.salesforce import settings
from plumbline_contracts.datasets import datasets
from plumbline_contracts.events import Product, Row

SF = datasets(Product.SALESFORCE)
METADATA = {
    "enableAdminLoginAsAnyUser": True,
    "passwordPolicies": {
        "complexity": "AlphaNumeric", "expiration": "Never", "historyRestriction": "3", "lockoutInterval": "Forever",
        "maxLoginAttempts": "NoLimit", "minimumPasswordLength": "8", "obscureSecretAnswer": False, "newOne": 1,
    },
    "sessionSettings": {"sessionTimeout": "TwoHours", "enableCSRFOnGet": True, "enableSMSIdentity": None},
    "singleSignOnSettings": None,
}  # fmt: skip


def _document(name: str, metadata: dict[str, Any]) -> Row:
    row = settings.document(SF[name], metadata)
    assert SF[name].violations(row) == []
    return row


def test_settings_become_documents_of_their_schema() -> None:
    passwords = _document("password_policies", METADATA)
    assert passwords["minimum_password_length"] == 8
    numbers = [passwords[name] for name in ("expiration_days", "lockout_minutes", "max_login_attempts_count")]
    assert numbers == [0, 0, 0]
    session = _document("session_settings", METADATA)
    assert session == {"session_timeout": "TwoHours", "session_timeout_minutes": 120, "enable_csrf_on_get": True}
    assert _document("single_sign_on_settings", METADATA) == {}
    assert _document("login_access_policies", METADATA) == {"enable_admin_login_as_any_user": True}


def test_a_value_that_nobody_knows_has_no_number() -> None:
    row = _document("session_settings", {"sessionSettings": {"sessionTimeout": "FortyHours"}})
    assert row == {"session_timeout": "FortyHours"}


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"redirectBlockModeEnabled": True, "sessionSettings": {"redirectionWarning": False}}, True),
        ({"sessionSettings": {"redirectionWarning": True}}, True),
        ({"sessionSettings": {"redirectionWarning": False, "redirectBlockModeEnabled": False}}, False),
        ({"sessionSettings": {"redirectionWarning": False}}, None),
        ({"sessionSettings": {}}, None),
    ],
)
def test_redirects_are_controlled_only_when_that_is_known(metadata: dict[str, Any], expected: bool | None) -> None:
    assert _document("session_settings", metadata).get("are_untrusted_redirects_controlled") is expected


@pytest.mark.parametrize(
    ("access", "count", "widest"),
    [
        (None, 0, 0),
        ({"ipRanges": None}, 0, 0),
        ({"ipRanges": [{"start": "203.0.113.0", "end": "203.0.113.255"}]}, 1, 256),
        ({"ipRanges": {"start": "0.0.0.0", "end": "255.255.255.255"}}, 1, 2**32),
        ({"ipRanges": [{"start": "::", "end": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}]}, 1, 2**63 - 1),
        ({"ipRanges": [{"start": "odd", "end": "203.0.113.255"}]}, 1, None),
    ],
)
def test_trusted_ranges_are_counted_and_measured(access: Any, count: int, widest: int | None) -> None:
    row = _document("network_access", {"networkAccess": access})
    assert (row["range_count"], row["has_trusted_ranges"]) == (count, count > 0)
    assert row.get("widest_range_addresses") == widest
    for each in settings.ip_range_rows({"networkAccess": access}):
        assert SF["trusted_ip_ranges"].violations(each) == []


def test_file_types_that_are_risky_and_hybrid_are_counted() -> None:
    dispositions = [
        {"fileType": "SVG", "behavior": "HYBRID", "securityRiskFileType": True},
        {"fileType": "HTML", "behavior": "EXECUTE_IN_BROWSER", "securityRiskFileType": True},
        {"fileType": "PDF", "behavior": "HYBRID", "securityRiskFileType": False},
    ]
    row = _document("file_upload_settings", {"noHtmlUploadAsAttachment": True, "dispositions": dispositions})
    assert (row["hybrid_risk_file_types"], row["hybrid_risk_file_type_count"]) == (["SVG"], 1)
    assert row["executed_risk_file_type_count"] == 1
    rows = settings.disposition_rows({"dispositions": dispositions})
    assert [each["file_type"] for each in rows] == ["SVG", "HTML", "PDF"]


def test_a_type_of_unknown_risk_counts_and_a_list_that_is_not_there_has_nothing_to_count() -> None:
    row = _document("file_upload_settings", {"dispositions": [{"fileType": "SWF", "behavior": "HYBRID"}]})
    assert row["hybrid_risk_file_type_count"] == 1
    unread: list[dict[str, Any]] = [{}, {"dispositions": None}, {"dispositions": []}]
    for metadata in unread:
        assert "hybrid_risk_file_type_count" not in _document("file_upload_settings", metadata)


def test_a_setting_that_support_must_open_is_told_from_one_that_is_off() -> None:
    assert _document("connected_app_settings", {}) == {"is_api_access_control_available": False}
    row = _document("connected_app_settings", {"enableAdminApprovedAppsOnly": False})
    assert row == {"enable_admin_approved_apps_only": False, "is_api_access_control_available": True}


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"enablePermissionsPolicy": True, "grantCameraAccess": "Never", "grantMicrophoneAccess": "TrustedUrls"}, True),
        ({"enablePermissionsPolicy": True, "grantCameraAccess": "Always", "grantMicrophoneAccess": "Never"}, False),
        ({"enablePermissionsPolicy": False}, False),
        ({"enablePermissionsPolicy": True}, None),
    ],
)
def test_devices_are_restricted_only_when_all_of_it_is_known(metadata: dict[str, Any], expected: bool | None) -> None:
    assert _document("browser_settings", metadata).get("are_devices_restricted") is expected


def test_older_api_versions_lack_what_came_later() -> None:
    assert settings.unsupported_fields("my_domain_settings", "65.0") == ["is_instanced_api_traffic_blocked"]
    assert settings.unsupported_fields("my_domain_settings", "66.0") == []
