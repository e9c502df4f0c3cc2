"""What stands in exports: the columns of each, in their order, and how a record comes about. Pure.

Columns are added at the end and never renamed: spreadsheets and scripts find them by place and by name.
"""

from collections.abc import Iterator
from typing import Any

from plumbline_contracts.events import ExposedEntity, Outcome

from plumbline_score_api.audit.schemas import AuditEntry
from plumbline_score_api.decisions.decision import Status
from plumbline_score_api.decisions.schemas import view
from plumbline_score_api.exports.lines import Record
from plumbline_score_api.history.changing import ControlChange, InsightsChange
from plumbline_score_api.history.schemas import HistoryPoint
from plumbline_score_api.pictures.picture import Recommendation

RECOMMENDATIONS = (
    "rank", "product", "instance", "control_id", "aliases", "title", "category", "severity", "outcome", "reason",
    "status", "points", "max_points", "points_achieved", "points_left", "compliant", "total", "exposed", "explanation",
    "observed", "user_impact", "implementation_cost", "is_stale", "is_regressed", "first_seen_at", "changed_at",
    "evaluated_at", "decided_by", "decided_at", "decision_holds", "decision_expires_at", "assignee", "decision_reason",
    "note", "frameworks", "threats", "description", "implementation_steps",
)  # fmt: skip
EXPOSED = (
    "product", "instance", "control_id", "title", "severity", "outcome", "status", "entity_type", "entity_id",
    "entity_name", "detail", "exposed", "is_cut", "evaluated_at",
)  # fmt: skip
_OUTCOMES = {f"outcome_{outcome.value.lower()}": outcome.value for outcome in Outcome}
_STATUSES = {f"status_{status.value}": status.value for status in Status}
HISTORY = (
    "at", "day", "current", "max", "percentage", "coverage", "planned", "achievable", "points", "max_points",
    *_OUTCOMES, *_STATUSES, "regressed", "stale", "is_complete",
)  # fmt: skip
CHANGES = (
    "at", "kind", "instance", "control_id", "outcome_before", "outcome_after", "status_before", "status_after",
    "insights_before", "insights_after", "points", "max_points", "by", "note",
)  # fmt: skip
AUDIT = (
    "at", "who", "identity", "action", "instance", "control_id", "before", "after", "note", "detail", "entry_id",
)  # fmt: skip


def of_recommendation(item: Recommendation, rank: int) -> Record:
    """A recommendation, with what was decided and what to do."""
    control, definition, decision = item.control, item.definition, view(item.decision, item.reopened)
    return {
        **control.model_dump(
            include={
                "control_id", "outcome", "reason", "points", "max_points", "compliant", "total", "exposed",
                "explanation", "observed", "first_seen_at", "evaluated_at", "changed_at",
            }
        ),
        **definition.model_dump(
            include={
                "aliases", "title", "category", "severity", "user_impact", "implementation_cost", "threats",
                "description",
            }
        ),
        "rank": rank,
        "product": item.product,
        "instance": item.instance,
        "status": item.status,
        "points_achieved": item.points.current,
        "points_left": item.points.left,
        "is_stale": control.stale_since is not None,
        "is_regressed": control.regressed_at is not None,
        "decided_by": decision and decision.author,
        "decided_at": decision and decision.decided_at,
        "decision_holds": decision and decision.holds,
        "decision_expires_at": decision and decision.expires_at,
        "assignee": decision and decision.assignee,
        "decision_reason": decision and decision.reason,
        "note": decision and decision.note,
        "frameworks": [f"{name}:{each}" for name, ids in definition.frameworks.items() for each in ids],
        "implementation_steps": definition.remediation.steps,
    }  # fmt: skip


def of_entity(item: Recommendation, entity: ExposedEntity) -> Record:
    """An entity that does not comply, with what it is exposed by."""
    control, definition = item.control, item.definition
    return {
        "product": item.product,
        "instance": item.instance,
        "control_id": control.control_id,
        "title": definition.title,
        "severity": definition.severity,
        "outcome": control.outcome,
        "status": item.status,
        "entity_type": entity.type,
        "entity_id": entity.id,
        "entity_name": entity.name,
        "detail": entity.detail,
        "exposed": control.exposed,
        "is_cut": control.exposed > control.exposed_listed,
        "evaluated_at": control.evaluated_at,
    }


def of_point(point: HistoryPoint) -> Record:
    """A scope at one moment, or as a day ended."""
    counts = {name: point.outcomes.get(value, 0) for name, value in _OUTCOMES.items()}
    counts |= {name: point.statuses.get(value, 0) for name, value in _STATUSES.items()}
    return {**point.model_dump(include=set(HISTORY)), **counts}


def of_changes(point: HistoryPoint) -> Iterator[Record]:
    """What changed at a moment, one record each."""
    for change in point.insights:
        yield {**_EMPTY, "at": point.at, **_of_insights(change)}
    for control in point.changes:
        yield {**_EMPTY, "at": point.at, **_of_control(control)}


_EMPTY: dict[str, Any] = dict.fromkeys(CHANGES)


def _of_insights(change: InsightsChange) -> Record:
    named = change.model_dump(include={"instance", "points", "max_points", "by", "note"})
    return {**named, "kind": "insights", "insights_before": change.before, "insights_after": change.after}


def _of_control(change: ControlChange) -> Record:
    old, new = change.before, change.after
    return {
        **change.model_dump(include={"instance", "control_id", "kind", "points", "max_points", "by", "note"}),
        "outcome_before": old and old.outcome,
        "outcome_after": new and new.outcome,
        "status_before": old and old.status,
        "status_after": new and new.status,
    }


def of_entry(entry: AuditEntry) -> Record:
    """An entry of the audit trail."""
    return entry.model_dump()
