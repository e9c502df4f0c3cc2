"""What stands in the change log. Pure."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from plumbline_score_api.history.changing import ControlChange, Kind, Point


class ChangeKind(StrEnum):
    """What happened."""

    SCORE_CHANGED = "score_changed"
    FINDING_CHANGED = "finding_changed"
    STATUS_CHANGED = "status_changed"
    STALENESS_CHANGED = "staleness_changed"


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

    The controls of an instance that was never evaluated before are no news one by one.
    """
    found = [each for change in point.changes if point.seq > 1 for each in _of_control(point, change)]
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
