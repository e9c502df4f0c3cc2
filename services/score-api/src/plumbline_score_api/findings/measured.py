"""What was measured, and from what: the parts `compliance` and `evidences` of an event. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from plumbline_contracts.events import ControlResult, Evidence, Outcome, Product, UnknownReason
from pydantic import JsonValue
from pydantic_core import PydanticSerializationError, to_json

from plumbline_score_api.findings.captions import MEASURED, SEVERITIES, SEVERITY_IDS
from plumbline_score_api.findings.clipping import Clipper
from plumbline_score_api.findings.definitions import ControlText, Json
from plumbline_score_api.findings.facts import Facts
from plumbline_score_api.findings.state import FAILING, UNDECIDED, Telling, Verdict, rfc3339

_MOST_EVIDENCES, _MOST_PARAMETERS, _MOST_SOURCES = 5, 10, 5
_LINE, _NAME, _LABEL, _UID, _VALUE = 256, 96, 64, 160, 256
_READ = {
    Product.SALESFORCE: {"operation": "read", "service": {"name": "Salesforce API"}},
    Product.SERVICENOW: {"operation": "read", "service": {"name": "ServiceNow REST API"}},
}


def compliance(telling: Telling, facts: Facts, text: ControlText, explanation: str, clipper: Clipper) -> Json:
    """The control, its outcome whatever people decided, why, and what it is mapped to."""
    definition = facts.definition
    status_id, status = MEASURED[telling.verdict]
    nominal = SEVERITY_IDS[text.severity]
    check: Json = {
        "uid": definition.control_id,
        "name": text.name,
        "version": str(definition.version),
        "severity_id": nominal,
        "severity": SEVERITIES[nominal],
        "status_id": status_id,
        "status": status,
    }
    found: Json = {
        "control": definition.control_id,
        "category": definition.category,
        "status_id": status_id,
        "status": status,
        "status_code": telling.verdict.value,
        "checks": [check],
    }
    if text.passes_when:
        found["desc"] = text.passes_when
    if details := _reasons(telling, facts.result, text, explanation):
        found["status_details"] = [clipper.text(each, _LINE) for each in details]
    if text.standards:
        found["standards"] = text.standards
    if text.requirements:
        found["requirements"] = text.requirements
    if facts.parameters:
        found["control_parameters"] = _parameters(facts.parameters, clipper)
    if facts.result is not None and (assessments := _assessments(telling, facts.result, clipper)):
        found["assessments"] = assessments
    return found


def _reasons(telling: Telling, result: ControlResult | None, text: ControlText, explanation: str) -> list[str]:
    """Why the outcome is what it is; for one that is missing its kind, and the permissions that the control needs."""
    if result is None or not explanation:
        return []
    if telling.verdict not in UNDECIDED or result.reason is None:
        return [explanation]
    found = [result.reason.value, explanation]
    if result.reason is UnknownReason.MISSING_PERMISSION and text.permissions:
        found.append(f"It needs: {text.permissions}")
    return found


def _parameters(parameters: Mapping[str, JsonValue], clipper: Clipper) -> list[Json]:
    return [
        {"name": clipper.text(name, _LABEL) or "-", "value": clipper.text(_plain(value), _LABEL) or "-"}
        for name, value in clipper.items(sorted(parameters.items()), _MOST_PARAMETERS)
    ]


def _assessments(telling: Telling, result: ControlResult, clipper: Clipper) -> list[Json]:
    """What was compared: each part of a control of several, else expected and observed of the one."""
    if telling.verdict is not Verdict.PASS and telling.verdict not in FAILING:
        return []
    parts = [each for each in result.evidence if each.name and each.outcome in _COMPARED]
    if parts:
        return [_part(each, clipper) for each in clipper.items(parts, _MOST_EVIDENCES)]
    if result.expected is None or result.observed is None or not result.evidence:
        return []
    desc = f"expected {clipper.text(result.expected, _NAME)}; observed {clipper.text(result.observed, _NAME)}"
    name = clipper.text(result.evidence[0].source, _NAME) or result.control_id
    return [{"name": name, "desc": desc, "meets_criteria": telling.verdict is Verdict.PASS}]


_COMPARED = (Outcome.PASS, Outcome.PARTIAL, Outcome.FAIL)


def _part(evidence: Evidence, clipper: Clipper) -> Json:
    found: Json = {
        "name": clipper.text(str(evidence.name), _NAME),
        "meets_criteria": evidence.outcome is Outcome.PASS,
    }
    if evidence.observed:
        found["desc"] = f"observed {clipper.text(_observed(evidence), _NAME)}"
    return found


def evidences(telling: Telling, result: ControlResult, facts: Facts, clipper: Clipper) -> list[Json]:
    """What was read, and the values where they are told."""
    compared = result if len(result.evidence) == 1 else None
    return [
        _evidence(each, telling.last_seen_at, facts, compared, clipper)
        for each in clipper.items(result.evidence, _MOST_EVIDENCES)
    ]


def _evidence(
    evidence: Evidence, seen_at: datetime, facts: Facts, result: ControlResult | None, clipper: Clipper
) -> Json:
    """What was read; `result` is given when there is nothing else that the result stands on."""
    pointer = f"{evidence.dataset}/{evidence.name}" if evidence.name else evidence.dataset
    data: Json = {"collected_at": rfc3339(evidence.read_at or seen_at)}
    if result is not None and result.expected:
        data["expected"] = clipper.text(result.expected, _VALUE)
    observed = result.observed if result is not None and result.observed else _observed(evidence)
    if observed:
        data["observed"] = clipper.text(observed, _VALUE)
    return {
        "uid": clipper.text(f"{facts.snapshot_id or ''}#/{pointer}", _UID),
        "name": clipper.text(evidence.source or evidence.dataset, _NAME) or "-",
        "api": _READ[facts.instance.product],
        "data": data,
    }


def _observed(evidence: Evidence) -> str:
    """The values as read: one as it is, several as JSON."""
    values = evidence.observed
    return _plain(next(iter(values.values())) if len(values) == 1 else values) if values else ""


def _plain(value: object) -> str:
    """Text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    try:
        return to_json(value).decode()
    except PydanticSerializationError:  # half a surrogate pair somewhere in it
        return ascii(value)


def sources(evidence: Sequence[Evidence], clipper: Clipper) -> list[str]:
    """The API objects that were read."""
    names = list(dict.fromkeys(each.source for each in evidence if each.source))
    return [clipper.text(name, _LABEL) for name in clipper.items(names, _MOST_SOURCES)]
