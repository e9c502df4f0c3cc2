"""The JSON Schema of an event for SIEMs: OCSF's Compliance Finding, narrowed to what Plumbline promises.

Source: the schema that the Open Cybersecurity Schema Framework publishes (Apache-2.0, https://schema.ocsf.io), as the
development dependency ocsf-json-schema carries it. Only generators and tests import this module.
"""

import json
from typing import Any

from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from plumbline_contracts.finding import OCSF_VERSION, Unmapped

Json = dict[str, Any]

CLASS = "compliance_finding"
PROFILES = ["datetime"]
_UNORDERED = ("enum", "required", "anyOf", "type")
_PROMISED: dict[str, dict[str, str]] = {
    "": {
        "activity_id": "1 Create: an episode opens; 2 Update; 3 Close",
        "activity_name": "Caption of `activity_id`",
        "type_uid": "200300 + `activity_id`",
        "type_name": "Caption of `type_uid`",
        "severity_id": "1 Informational to 5 Critical: the control's while the finding is open or fails",
        "severity": "Caption of `severity_id`",
        "status_id": "Where the finding is in its life: 1 New, 2 In Progress, 3 Suppressed, 4 Resolved, 5 Archived, "
        "6 Deleted; 0 without a result",
        "status": "Caption of `status_id`",
        "status_code": "Why it is there, such as `TO_ADDRESS` or `RISK_ACCEPTED`",
        "time": "When the cause happened, in milliseconds since 1970; also the record's time",
        "time_dt": "The same as RFC 3339 in UTC",
        "message": "Outcome, control and instance in one line",
        "metadata": "About the event",
        "finding_info": "About the finding",
        "compliance": "What was measured, whatever people decided",
        "resources": "First the instance (role 1), then exposed entities (role 3)",
        "remediation": "What to do",
        "unmapped": "What OCSF has no place for",
    },
    "metadata": {
        "uid": "Id of the event: a record that is sent again has it again. Deduplicate on it",
        "sequence": "Counts the events of the finding",
        "event_code": "Id of the control",
        "tenant_uid": "The customer organisation",
        "log_name": "`compliance-findings`",
        "profiles": '`["datetime"]`',
    },
    "finding_info": {
        "uid": "`tenant|instance|control`: constant over the life of the finding, and the record's key",
        "title": "Title of the control",
        "types": '`["SaaS Security Posture"]`',
        "created_time": "When the first event of the finding was",
        "first_seen_time": "When the snapshot began that opened the episode",
        "last_seen_time": "When the newest snapshot began that showed it",
        "modified_time": "The same as `time`",
        "modified_time_dt": "The same as `time_dt`",
        "analytic": "The control as a rule",
    },
    "compliance": {
        "control": "Id of the control",
        "category": "Identity, Apps, Data, Device or Infrastructure",
        "status_id": "1 Pass, 2 Warning (unknown), 3 Fail (or partial), 99 as `status` says, 0 not evaluated",
        "status": "Caption of `status_id`",
        "status_code": "The outcome itself: PASS, PARTIAL, FAIL, UNKNOWN, ERROR, NOT_APPLICABLE, NOT_EVALUATED",
        "checks": "The control with its nominal severity, which survives a PASS",
    },
}
"""Attributes that OCSF leaves optional and every event of ours has, with their meaning; by object, "" is the event."""


def finding_schema() -> Json:
    """The schema without `$schema` and `$id`: draft 2020-12, definitions embedded, order always the same."""
    schema = ocsf_schema()
    for place, promised in _PROMISED.items():
        _promise(schema["$defs"][place] if place else schema, promised)
    unmapped = Unmapped.model_json_schema(mode="serialization", ref_template="#/$defs/{model}")
    schema["$defs"] |= {**unmapped.pop("$defs"), "Unmapped": unmapped}
    schema["properties"]["unmapped"]["$ref"] = "#/$defs/Unmapped"
    return schema


def ocsf_schema() -> Json:
    """OCSF's own schema of the class, which takes no attribute that OCSF does not know."""
    source = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=OCSF_VERSION))
    schema: Json = _ordered(source.get_class_schema(CLASS, profiles=PROFILES))
    del schema["$schema"], schema["$id"]
    return schema


def _promise(schema: Json, promised: dict[str, str]) -> None:
    schema["required"] = sorted({*schema.get("required", ()), *promised})
    for name, meaning in promised.items():
        schema["properties"][name]["description"] = meaning


def _ordered(value: Any, key: str = "") -> Any:  # noqa: ANN401 - any JSON
    """Keys and sets of values in order: the source gives them in any."""
    if isinstance(value, dict):
        return {name: _ordered(value[name], name) for name in sorted(value)}
    if isinstance(value, list):
        items = [_ordered(each) for each in value]
        return sorted(items, key=json.dumps) if key in _UNORDERED else items
    return value
