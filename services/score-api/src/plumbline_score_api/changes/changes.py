"""What stands in the change log. Pure."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from plumbline_contracts.events import InstanceStatus, RunSummary
from pydantic import BaseModel, ConfigDict, Field

from plumbline_score_api.history.changing import TENANT, ControlChange, InsightsChange, Kind, Point, instance_scope


class ChangeKind(StrEnum):
    """What happened."""

    SCORE_CHANGED = "score_changed"
    FINDING_CHANGED = "finding_changed"
    STATUS_CHANGED = "status_changed"
    STALENESS_CHANGED = "staleness_changed"
    INSIGHTS_CHANGED = "insights_changed"
    COLLECTION_STARTED = "collection_started"
    COLLECTION_FINISHED = "collection_finished"
    COLLECTION_FAILED = "collection_failed"
    COMPLIANCE_FINDING = "compliance_finding"


class Change(BaseModel):
    """One entry. `event_id` is the same whenever it is written again."""

    model_config = ConfigDict(frozen=True)

    event_id: str
    kind: ChangeKind
    at: datetime
    scope: str
    instance: str | None = None
    control_id: str | None = None
    data: dict[str, Any] = Field(default_factory=dict)


def changes_of(point: Point, instance: str | None) -> list[Change]:
    """What a point of the history says to those who listen.

    The controls of an instance that was never evaluated before are no news one by one, and insights are news once: of
    their product, not of the tenant too.
    """
    found = [each for change in point.changes if point.seq > 1 for each in _of_control(point, change)]
    if point.scope != TENANT:
        found += [_of_insights(point, change) for change in point.insights]
    if point.points or point.max_points:
        data = {
            **point.totals.score.model_dump(mode="json"),
            "points": point.points,
            "max_points": point.max_points,
            "insights": [change.model_dump(mode="json", exclude_none=True) for change in point.insights],
        }
        found.append(_change(point, "score", ChangeKind.SCORE_CHANGED, instance, None, data))
    if instance is not None and point.stale_instances:
        stale = {"is_stale": point.stale_instances > 0, "stale": point.totals.stale}
        found.append(_change(point, "staleness", ChangeKind.STALENESS_CHANGED, instance, None, stale))
    return found


def change_of_finding(instance: str, control_id: str, uid: str, at: datetime, event: dict[str, Any]) -> Change:
    """An event of a finding, as SIEMs read it."""
    return Change(
        event_id=f"finding/{uid}",
        kind=ChangeKind.COMPLIANCE_FINDING,
        at=at,
        scope=instance_scope(instance),
        instance=instance,
        control_id=control_id,
        data=event,
    )


def _of_control(point: Point, change: ControlChange) -> list[Change]:
    data = change.model_dump(mode="json", exclude={"instance", "control_id"})
    old, new = change.before, change.after
    kinds = []
    if change.kind not in (Kind.STATUS, Kind.MAPPED):
        kinds.append(ChangeKind.FINDING_CHANGED)
    if old is not None and new is not None and old.status is not new.status:
        kinds.append(ChangeKind.STATUS_CHANGED)
    name = change.control_id
    return [_change(point, f"{name}/{kind}", kind, change.instance, name, data) for kind in kinds]


def _of_insights(point: Point, change: InsightsChange) -> Change:
    data = change.model_dump(mode="json", exclude={"instance"})
    name = change.instance
    return _change(point, f"insights/{name}", ChangeKind.INSIGHTS_CHANGED, name, None, data)


def changes_of_status(before: InstanceStatus | None, after: InstanceStatus) -> list[Change]:
    """What a newer status of an instance says of its collections.

    The end of a collection is told once, whichever status brings it; of several that ended between two statuses only
    the last is known.
    """
    found = []
    run = after.last_run
    has_ended = run is not None and (before is None or before.last_run != run)
    if run is not None and has_ended:
        found.append(_of_run(after, run))
    if after.is_collecting and (before is None or not before.is_collecting or has_ended):
        kind, data = ChangeKind.COLLECTION_STARTED, {"product": after.product.value, "health": after.health.value}
        found.append(_of_instance(after, f"{after.updated_at.isoformat()}/{kind}", kind, after.updated_at, data))
    return found


def _of_run(status: InstanceStatus, run: RunSummary) -> Change:
    kind = ChangeKind.COLLECTION_FINISHED if run.succeeded else ChangeKind.COLLECTION_FAILED
    data = {
        "product": status.product.value,
        "health": status.health.value,
        "consecutive_failures": status.consecutive_failures,
        **run.model_dump(mode="json", exclude={"succeeded"}),
    }
    name = f"{run.request_id}/{run.started_at.isoformat()}/{kind}"
    return _of_instance(status, name, kind, run.completed_at, data)


def _of_instance(status: InstanceStatus, name: str, kind: ChangeKind, at: datetime, data: dict[str, Any]) -> Change:
    scope = instance_scope(status.instance)
    event_id = f"{scope}/collection/{name}"
    return Change(event_id=event_id, kind=kind, at=at, scope=scope, instance=status.instance, data=data)


def _change(
    point: Point, name: str, kind: ChangeKind, instance: str | None, control_id: str | None, data: dict[str, Any]
) -> Change:
    return Change(
        event_id=f"{point.scope}/{point.seq}/{name}",
        kind=kind,
        at=point.at,
        scope=point.scope,
        instance=instance,
        control_id=control_id,
        data=data,
    )
