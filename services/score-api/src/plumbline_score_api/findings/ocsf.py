"""A telling as an OCSF Compliance Finding: one small JSON object, valid whatever the texts in it are. Pure.

Source: OCSF 1.8.0, class Compliance Finding (2003) with the datetime profile, https://schema.ocsf.io/1.8.0. Empty
values are left out, never null; a path has one JSON type for ever; numbers of points always have a decimal point.
"""

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from plumbline_contracts import ids
from plumbline_contracts.events import ControlResult, Outcome
from plumbline_contracts.finding import MOST_FINDING_BYTES, OCSF_VERSION, Transition
from pydantic_core import to_json

from plumbline_score_api.decisions.decision import Decision, Status
from plumbline_score_api.findings.captions import (
    ACTIVITIES,
    CLASS_NAME,
    CLASS_UID,
    INFORMATIONAL,
    LOW,
    PRODUCTS,
    SEVERITIES,
    SEVERITY_IDS,
    STATUSES,
)
from plumbline_score_api.findings.clipping import Clipper
from plumbline_score_api.findings.definitions import ControlText, Json, text_of
from plumbline_score_api.findings.facts import Facts, InstanceFacts
from plumbline_score_api.findings.measured import compliance, evidences, sources
from plumbline_score_api.findings.shrinking import shrink
from plumbline_score_api.findings.state import (
    FAILING,
    OPEN,
    UNDECIDED,
    UNSETTLED,
    Standing,
    Telling,
    Verdict,
    milliseconds,
    rfc3339,
    short_digest,
)
from plumbline_score_api.findings.subjects import Place, place_of, resources
from plumbline_score_api.scores.scoring import Scored, points_of

__all__ = ["Facts", "InstanceFacts", "Written", "build", "encode", "write"]

CONTRACT = "plumbline.finding/1"
LOG_NAME = "compliance-findings"
_LINE, _URL, _REASON, _ID, _NAME = 256, 200, 512, 64, 128

_STATUS = {
    Standing.PLANNED: Status.PLANNED,
    Standing.RISK_ACCEPTED: Status.RISK_ACCEPTED,
    Standing.THIRD_PARTY: Status.RESOLVED_THIRD_PARTY,
    Standing.ALTERNATE_MITIGATION: Status.RESOLVED_ALTERNATE_MITIGATION,
}
_DECIDED = {
    Standing.PLANNED: "Planned",
    Standing.RISK_ACCEPTED: "Risk accepted",
    Standing.THIRD_PARTY: "Resolved by a third party",
    Standing.ALTERNATE_MITIGATION: "Resolved by an alternate mitigation",
}
_ENDED = {
    Standing.RETIRED: "The control was retired from the catalogue.",
    Standing.DISCONNECTED: "The instance was disconnected.",
    Standing.ERASED: "The tenant was erased, or registered by mistake.",
}
_REOPENED = {
    Transition.EXCEPTION_EXPIRED: "The time of the decision is over; it is to be addressed again.",
    Transition.REOPENED: "The decision does not hold any more; it is to be addressed again.",
}
_NOTHING_LEFT = {"desc": "Nothing is left to do."}


class Written(NamedTuple):
    """An event, and the same as the value of a record."""

    event: Json
    record: bytes


def write(telling: Telling, facts: Facts) -> Written:
    """The event and its record, in at most 8,000 bytes.

    What is cut to fit is marked with `metadata.is_truncated`. Raises ValueError when `facts` are of another finding.
    """
    finding = ids.finding_uid(facts.tenant, facts.instance.id, facts.definition.control_id)
    if finding != telling.finding:
        raise ValueError(f"The telling is of {telling.finding}, the facts are of {finding}; give those of one finding.")
    if telling.verdict is Verdict.NOT_EVALUATED:
        facts = replace(facts, result=None, entities=())
    text, place, clipper = text_of(facts.definition), place_of(facts.instance), Clipper()
    event = _event(telling, facts, text, place, clipper)
    record, lost = encode(event), clipper.lost_bytes + text.lost_bytes + place.lost_bytes
    counts = event["unmapped"].get("counts")
    is_partial = counts is not None and counts["listed"] < counts["exposed"]
    if lost or is_partial or len(record) > MOST_FINDING_BYTES:
        event["metadata"] |= {"is_truncated": True, "untruncated_size": -(-(len(record) + lost) // 1000)}
        record = shrink(event, encode, MOST_FINDING_BYTES)
    return Written(event, record)


def build(telling: Telling, facts: Facts) -> Json:
    """The event alone, as `write` makes it. Parts of it are shared with other events: do not change it."""
    return write(telling, facts).event


def encode(event: Json) -> bytes:
    """One line of compact JSON in UTF-8."""
    return to_json(event)


def _event(telling: Telling, facts: Facts, text: ControlText, place: Place, clipper: Clipper) -> Json:
    result = facts.result
    explanation = result.explanation if result is not None else ""
    evaluation = clipper.text(facts.evaluation_id, _ID) if facts.evaluation_id else None
    severity = _severity(telling, text)
    at, told_at = milliseconds(telling.at), rfc3339(telling.at)
    activity, subjects = ACTIVITIES[telling.activity], resources(facts, place, clipper)
    event: Json = {
        "activity_id": int(telling.activity),
        "activity_name": activity,
        "category_uid": 2,
        "category_name": "Findings",
        "class_uid": CLASS_UID,
        "class_name": CLASS_NAME,
        "type_uid": CLASS_UID * 100 + telling.activity,
        "type_name": f"{CLASS_NAME}: {activity}",
        "severity_id": severity,
        "severity": SEVERITIES[severity],
        "status_id": int(telling.status),
        "status": STATUSES[telling.status],
        "status_code": telling.standing.value,
        "time": at,
        "time_dt": told_at,
        "timezone_offset": 0,
        "message": clipper.text(_message(telling, facts, explanation), _LINE),
        "metadata": _metadata(telling, facts, evaluation),
        "finding_info": _finding_info(telling, facts, text, clipper, at, told_at),
        "compliance": compliance(telling, facts, text, explanation, clipper),
        "resources": subjects,
        "remediation": text.remediation if _is_unsettled(telling) else _NOTHING_LEFT,
        "unmapped": _unmapped(telling, facts, place, evaluation, len(subjects) - 1, clipper),
    }
    if detail := _detail(telling, facts.decision):
        event["status_detail"] = detail
    if result is not None and result.evidence:
        event["evidences"] = evidences(telling, result, facts, clipper)
    return event


def _is_unsettled(telling: Telling) -> bool:
    """Whether somebody may have something to do, be it to let it be read."""
    return telling.standing in UNSETTLED or telling.verdict in UNDECIDED


def _severity(telling: Telling, text: ControlText) -> int:
    """The control's while something may be wrong; a result that is missing where nothing was open is low."""
    nominal = SEVERITY_IDS[text.severity]
    if telling.verdict in FAILING or (telling.verdict in UNDECIDED and telling.standing in OPEN):
        return nominal
    return LOW if telling.verdict in UNDECIDED else INFORMATIONAL


def _detail(telling: Telling, decision: Decision | None) -> str | None:
    """What people's decisions or an end made of the finding; None where the outcome says all."""
    standing = telling.standing
    if standing in _DECIDED:
        until = f" until {decision.expires_at:%Y-%m-%d}" if decision is not None and decision.expires_at else ""
        return f"{_DECIDED[standing]}{until}."
    return _ENDED.get(standing) or _REOPENED.get(telling.transition)


def _message(telling: Telling, facts: Facts, explanation: str) -> str:
    product = PRODUCTS[facts.instance.product]
    what = explanation or _ENDED.get(telling.standing) or facts.definition.title
    return f"{telling.verdict} {facts.definition.control_id} on {facts.instance.id} ({product}): {what}"


def _metadata(telling: Telling, facts: Facts, evaluation: str | None) -> Json:
    found: Json = {
        "version": OCSF_VERSION,
        "profiles": ["datetime"],
        "uid": telling.event_uid,
        "sequence": telling.sequence,
        "event_code": facts.definition.control_id,
        "tenant_uid": facts.tenant,
        "log_name": LOG_NAME,
        "product": {"name": "Plumbline", "vendor_name": "Plumbline", "version": facts.product_version},
    }
    if evaluation is not None:
        found["correlation_uid"] = evaluation
    return found


def _finding_info(telling: Telling, facts: Facts, text: ControlText, clipper: Clipper, at: int, told_at: str) -> Json:
    found: Json = {
        "uid": telling.finding,
        "title": text.title,
        "types": ["SaaS Security Posture"],
        "created_time": milliseconds(telling.created_at),
        "first_seen_time": milliseconds(telling.first_seen_at),
        "last_seen_time": milliseconds(telling.last_seen_at),
        "modified_time": at,
        "modified_time_dt": told_at,
        "analytic": text.analytic,
    }
    if text.why:
        found["desc"] = text.why
    if text.tags:
        found["tags"] = text.tags
    if text.attacks:
        found["attacks"] = text.attacks
    if facts.api_url:
        path = f"/v1/recommendations/{facts.instance.id}/{facts.definition.control_id}"
        found["src_url"] = clipper.text(facts.api_url.rstrip("/"), _URL) + path
    if facts.result is not None and (names := sources(facts.result.evidence, clipper)):
        found["data_sources"] = names
    return found


def _unmapped(
    telling: Telling, facts: Facts, place: Place, evaluation: str | None, listed: int, clipper: Clipper
) -> Json:
    """What OCSF has no place for, flat enough to be searched."""
    result = facts.result
    found: Json = {
        "contract": CONTRACT,
        "transition": telling.transition.value,
        "episode": telling.episode,
        "cause_id": clipper.text(telling.cause_id, _NAME),
        "instance": place.instance,
        "catalogue_version": str(facts.definition.catalogue_generation),
        "score": _score(telling, result),
    }
    if telling.standing_before is not None and telling.status_before is not None and telling.verdict_before is not None:
        found["previous"] = {"status_id": int(telling.status_before), "outcome": telling.verdict_before.value}
    if facts.snapshot_id:
        found["snapshot_id"] = clipper.text(facts.snapshot_id, _ID)
    if evaluation is not None:
        found["evaluation_id"] = evaluation
    if result is not None:
        found["counts"] = _counts(result, listed)
    if facts.decision is not None and facts.decision.status is not None:
        found["disposition"] = _disposition(facts.decision, facts, clipper)
    return found


def _score(telling: Telling, result: ControlResult | None) -> Json:
    """As the instance's score has it. What is gone leaves both sides."""
    if result is None:
        return {"points": 0.0, "points_max": 0.0}
    status = _STATUS.get(telling.standing, Status.TO_ADDRESS)
    points, most = _points(result.outcome, result.points, result.max_points, status)
    return {"points": points, "points_max": most}


@lru_cache(maxsize=4096)
def _points(outcome: Outcome, points: float, most: float, status: Status) -> tuple[float, float]:
    found = points_of(Scored(outcome, points, most, status=status))
    return round(float(found.current), 4), round(float(found.maximum), 4)


def _counts(result: ControlResult, listed: int) -> Json:
    found: Json = {"exposed": max(result.exposed, listed), "listed": listed}
    if result.compliant is not None:
        found["compliant"] = result.compliant
    if result.total is not None:
        found["total"] = result.total
    return found


def _disposition(decision: Decision, facts: Facts, clipper: Clipper) -> Json:
    assert decision.status is not None
    opaque = f"u-{short_digest(f'{facts.tenant}|{decision.author}')}"
    found: Json = {
        "state": decision.status.value,
        "by": (facts.names_are_allowed and clipper.text(decision.author, _NAME)) or opaque,
        "at": rfc3339(decision.decided_at),
    }
    if decision.expires_at is not None:
        found["expires_at"] = rfc3339(decision.expires_at)
    if decision.note:
        found["reason"] = clipper.text(decision.note, _REASON)
    if decision.reason:
        found["ticket"] = clipper.text(decision.reason, _NAME)
    return found
