"""Documents out of the org's settings, as the Tooling API's `Metadata` gives them. Pure.

Source: Metadata API Developer Guide, SecuritySettings and the other settings types.
"""

from collections.abc import Callable, Mapping
from typing import Any

from plumbline_contracts.datasets import DatasetSchema
from plumbline_contracts.events import Row

from plumbline_collector.connectors.salesforce.cells import addresses_between, text, truth
from plumbline_collector.connectors.salesforce.columns import SourceColumns

Metadata = Mapping[str, Any]

SESSION_MINUTES = {
    "FifteenMinutes": 15, "ThirtyMinutes": 30, "SixtyMinutes": 60, "NinetyMinutes": 90, "TwoHours": 120,
    "FourHours": 240, "EightHours": 480, "TwelveHours": 720, "TwentyFourHours": 1440,
}  # fmt: skip
EXPIRATION_DAYS = {
    "Never": 0, "ThirtyDays": 30, "SixtyDays": 60, "NinetyDays": 90, "SixMonths": 180, "OneYear": 365,
}  # fmt: skip
LOCKOUT_MINUTES = {"FifteenMinutes": 15, "ThirtyMinutes": 30, "SixtyMinutes": 60, "Forever": 0}
ATTEMPTS = {"NoLimit": 0, "ThreeAttempts": 3, "FiveAttempts": 5, "TenAttempts": 10}
SINCE_VERSION = {
    ("session_settings", "untrusted_redirect"): 64,
    ("browser_settings", "enable_graphql_api_for_guest_users"): 67,
    ("my_domain_settings", "is_instanced_api_traffic_blocked"): 66,
    ("content_settings", "is_malicious_file_notifications_enabled"): 66,
}
"""(dataset, field) to the API version that brought it; older ones cannot show it."""


def document(schema: DatasetSchema, metadata: Metadata) -> Row:
    """A dataset's document out of the settings type that is its source. What the org does not show is absent."""
    row = SourceColumns(schema, schema.source).copy({"Metadata": metadata})
    derive = _DERIVED.get(schema.name)
    return {**row, **derive(metadata, row)} if derive else row


def unsupported_fields(dataset: str, version: str) -> list[str]:
    """The fields of a dataset that came with a later API version than this."""
    number = float(version)
    return [field for (name, field), since in SINCE_VERSION.items() if name == dataset and since > number]


def ip_range_rows(metadata: Metadata) -> list[Row]:
    """The rows of `trusted_ip_ranges`."""
    return [
        {
            "id": f"{text(each.get('start'))}-{text(each.get('end'))}",
            "start": text(each.get("start")),
            "end": text(each.get("end")),
            "description": text(each.get("description")),
            **_known("addresses", addresses_between(each.get("start"), each.get("end"))),
        }
        for each in _ip_ranges(metadata)
    ]


def disposition_rows(metadata: Metadata) -> list[Row]:
    """The rows of `file_dispositions`."""
    return [
        {
            "file_type": text(each.get("fileType")),
            "behavior": text(each.get("behavior")),
            **_known("is_security_risk", truth(each.get("securityRiskFileType"))),
        }
        for each in _entries(metadata.get("dispositions"))
    ]


def _known(name: str, value: bool | int | None) -> Row:
    return {} if value is None else {name: value}


def _entries(value: Any) -> list[Mapping[str, Any]]:  # noqa: ANN401 - a cell
    """A list of records; one record alone stands for a list of one, as where it was made of XML."""
    found = value if isinstance(value, list) else [value]
    return [each for each in found if isinstance(each, Mapping)]


def _ip_ranges(metadata: Metadata) -> list[Mapping[str, Any]]:
    access = metadata.get("networkAccess")
    return _entries(access.get("ipRanges")) if isinstance(access, Mapping) else []


def _session(metadata: Metadata, row: Row) -> Row:
    section = metadata.get("sessionSettings")
    nested = section.get("redirectBlockModeEnabled") if isinstance(section, Mapping) else None
    found = metadata.get("redirectBlockModeEnabled")
    is_blocked = truth(nested if found is None else found)
    derived = _number_of(row, "session_timeout", "session_timeout_minutes", SESSION_MINUTES)
    derived |= _known("redirect_block_mode_enabled", is_blocked)
    is_warned = row.get("redirection_warning")
    if is_blocked or is_warned or (is_blocked is False and is_warned is False):
        derived["are_untrusted_redirects_controlled"] = bool(is_blocked or is_warned)
    return derived


def _passwords(_: Metadata, row: Row) -> Row:
    return {
        **_number_of(row, "expiration", "expiration_days", EXPIRATION_DAYS),
        **_number_of(row, "lockout_interval", "lockout_minutes", LOCKOUT_MINUTES),
        **_number_of(row, "max_login_attempts", "max_login_attempts_count", ATTEMPTS),
    }


def _number_of(row: Row, source: str, target: str, values: Mapping[str, int]) -> Row:
    value = row.get(source)
    return {target: values[value]} if isinstance(value, str) and value in values else {}


def _network(metadata: Metadata, _: Row) -> Row:
    ranges = _ip_ranges(metadata)
    sizes = [addresses_between(each.get("start"), each.get("end")) for each in ranges]
    known = [size for size in sizes if size is not None]
    row: Row = {"range_count": len(ranges), "has_trusted_ranges": bool(ranges)}
    return row if len(known) < len(sizes) else {**row, "widest_range_addresses": max(known, default=0)}


def _browser(_: Metadata, row: Row) -> Row:
    sent, grants = (
        row.get("enable_permissions_policy"),
        (row.get("grant_camera_access"), row.get("grant_microphone_access")),
    )
    if sent is False or "Always" in grants:
        return {"are_devices_restricted": False}
    return {"are_devices_restricted": True} if sent and all(grants) else {}


def _connected_apps(metadata: Metadata, _: Row) -> Row:
    return {"is_api_access_control_available": metadata.get("enableAdminApprovedAppsOnly") is not None}


def _file_upload(metadata: Metadata, _: Row) -> Row:
    """The counts of risky file types: of none without a list, and of all whose harmlessness is not stated."""
    listed = _entries(metadata.get("dispositions"))
    if not listed:
        return {}
    risky = [each for each in listed if truth(each.get("securityRiskFileType")) is not False]
    hybrid = [text(each.get("fileType")) for each in risky if each.get("behavior") == "HYBRID"]
    executed = [each for each in risky if each.get("behavior") == "EXECUTE_IN_BROWSER"]
    return {
        "hybrid_risk_file_types": list(hybrid),
        "hybrid_risk_file_type_count": len(hybrid),
        "executed_risk_file_type_count": len(executed),
    }


_DERIVED: dict[str, Callable[[Metadata, Row], Row]] = {
    "session_settings": _session,
    "password_policies": _passwords,
    "network_access": _network,
    "browser_settings": _browser,
    "connected_app_settings": _connected_apps,
    "file_upload_settings": _file_upload,
}
