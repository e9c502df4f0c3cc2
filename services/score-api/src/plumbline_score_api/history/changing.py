"""What changed between two states of an instance, or of the instances that count. Pure.

A state is what stands for every control; the difference of two states is exactly what lies between their scores, so
the points of a history always add up.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum

from plumbline_contracts.events import Insights, Outcome
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from plumbline_score_api.decisions.decision import Status
from plumbline_score_api.pictures.picture import InstancePicture, Recommendation, Summary
from plumbline_score_api.scores.scoring import Points, total


class Kind(StrEnum):
    """What happened to a control."""

    GAINED = "gained"
    LOST = "lost"
    ADDED = "added"
    RETIRED = "retired"
    STATUS = "status"
    CHANGED = "changed"


class State(BaseModel):
    """What stands for one control on one instance."""

    model_config = ConfigDict(frozen=True)

    outcome: Outcome
    status: Status
    is_stale: bool
    current: float
    maximum: float


class Score(BaseModel):
    """The sums of a scope at one moment."""

    model_config = ConfigDict(frozen=True)

    current: float = 0.0
    max: float = 0.0
    measured: float = 0.0
    planned: float = 0.0
    achievable: float = 0.0
    percentage: float = 0.0


class Totals(BaseModel):
    """A scope at one moment: score, the same per category, and counts."""

    model_config = ConfigDict(frozen=True)

    score: Score = Score()
    categories: dict[str, Score] = Field(default_factory=dict)
    outcomes: dict[str, int] = Field(default_factory=dict)
    statuses: dict[str, int] = Field(default_factory=dict)
    regressed: int = 0
    stale: int = 0


class ControlChange(BaseModel):
    """What happened to one control on one instance, and what that did to the instance's score."""

    model_config = ConfigDict(frozen=True)

    instance: str
    control_id: str
    kind: Kind
    before: State | None
    after: State | None
    points: float = Field(description="Achieved points after, less those before")
    max_points: float = Field(description="Possible points after, less those before")
    by: str | None = Field(default=None, description="Who decided, where a status changed")
    note: str | None = None


class InsightsChange(BaseModel):
    """An instance came to count, or ceased to, and what that did to the score of the scope."""

    model_config = ConfigDict(frozen=True)

    instance: str
    before: Insights | None
    after: Insights
    points: float
    max_points: float
    by: str | None = None
    note: str | None = None


class Part(BaseModel):
    """What one instance adds to a scope of several, as of its point `seq`."""

    model_config = ConfigDict(frozen=True)

    seq: int
    totals: Totals


class Source(BaseModel):
    """The point of an instance that made a point of its product and of the tenant."""

    model_config = ConfigDict(frozen=True)

    instance: str
    seq: int


class Point(BaseModel):
    """A scope after one change. Points of a scope are numbered from 1, and their moments never go back.

    What changed stands in `changes` for an instance, and in the point `source` of an instance, or in `insights`, for a
    scope of several.
    """

    model_config = ConfigDict(frozen=True)

    scope: str
    seq: int
    at: datetime
    totals: Totals
    points: float = Field(description="Achieved points, less those of the point before")
    max_points: float
    changes: list[ControlChange] = Field(default_factory=list)
    insights: list[InsightsChange] = Field(default_factory=list)
    source: Source | None = None


STATES = TypeAdapter(dict[str, State])
PARTS = TypeAdapter(dict[str, Part])
CHOICES = TypeAdapter(dict[str, Insights])
TENANT = "tenant"


def product_scope(product: str) -> str:
    """The name of a product's scope."""
    return f"product:{product}"


def instance_scope(instance: str) -> str:
    """The name of an instance's scope."""
    return f"instance:{instance}"


def states_of(picture: InstancePicture) -> dict[str, State]:
    """What stands for every control of an instance."""
    return {item.control.control_id: _state(item) for item in picture.items}


def _state(item: Recommendation) -> State:
    return State(
        outcome=item.control.outcome,
        status=item.status,
        is_stale=item.control.stale_since is not None,
        current=item.points.current,
        maximum=item.points.maximum,
    )


def totals_of(picture: InstancePicture) -> Totals:
    """The sums of an instance."""
    summary = picture.summary
    return Totals(
        score=score_of(summary.points),
        categories={name: score_of(part.points) for name, part in picture.categories.items()},
        **_counts(summary),
    )


def _counts(summary: Summary) -> dict[str, object]:
    return {
        "outcomes": dict(sorted(summary.outcomes.items())),
        "statuses": dict(sorted(summary.statuses.items())),
        "regressed": summary.regressed,
        "stale": summary.stale,
    }


def score_of(points: Points) -> Score:
    """Points as a score."""
    return Score(
        current=points.current,
        max=points.maximum,
        measured=points.measured,
        planned=points.planned,
        achievable=points.achievable,
        percentage=points.percentage,
    )


def _points(score: Score) -> Points:
    return Points(score.current, score.max, score.measured, score.planned, score.achievable)


def add(parts: Iterable[Totals]) -> Totals:
    """The sums of a scope of several instances."""
    found = list(parts)
    names = sorted({name for part in found for name in part.categories})
    summary = Summary.sum(Summary(_points(p.score), p.outcomes, p.statuses, p.stale, p.regressed) for p in found)
    return Totals(
        score=score_of(summary.points),
        categories={
            name: score_of(total(_points(part.categories[name]) for part in found if name in part.categories))
            for name in names
        },
        **_counts(summary),
    )


def between(
    instance: str,
    before: Mapping[str, State],
    after: Mapping[str, State],
    authors: Mapping[str, tuple[str, str | None]],
) -> list[ControlChange]:
    """What happened to an instance's controls. `authors` says who decided about a control, and his note."""
    names = sorted(before.keys() | after.keys())
    return [
        _change(instance, name, before.get(name), after.get(name), authors)
        for name in names
        if before.get(name) != after.get(name)
    ]


def _change(
    instance: str, name: str, old: State | None, new: State | None, authors: Mapping[str, tuple[str, str | None]]
) -> ControlChange:
    kind = kind_of(old, new)
    by, note = authors.get(name, (None, None)) if kind is Kind.STATUS else (None, None)
    return ControlChange(
        instance=instance,
        control_id=name,
        kind=kind,
        before=old,
        after=new,
        points=round((new.current if new else 0.0) - (old.current if old else 0.0), 3),
        max_points=round((new.maximum if new else 0.0) - (old.maximum if old else 0.0), 3),
        by=by,
        note=note,
    )


def kind_of(old: State | None, new: State | None) -> Kind:
    """What lies between two different states of a control."""
    if old is None or new is None:
        return Kind.ADDED if old is None else Kind.RETIRED
    if old.outcome is new.outcome and old.status is not new.status:
        return Kind.STATUS
    if new.current == old.current:
        return Kind.CHANGED
    return Kind.GAINED if new.current > old.current else Kind.LOST


def merge(changes: Iterable[ControlChange]) -> list[ControlChange]:
    """Changes in order, of any instances, as one change per control and instance; what went back is left out."""
    found: dict[tuple[str, str], ControlChange] = {}
    for change in changes:
        key = (change.instance, change.control_id)
        first = found.get(key)
        found[key] = change if first is None else _joined(first, change)
    return [change for change in found.values() if change.before != change.after]


def _joined(first: ControlChange, last: ControlChange) -> ControlChange:
    authors = {last.control_id: (last.by or first.by or "", last.note or first.note)} if last.by or first.by else {}
    return _change(last.instance, last.control_id, first.before, last.after, authors)


def counted_changes(
    before: Mapping[str, Insights],
    after: Mapping[str, Insights],
    parts: Mapping[str, Totals],
    authors: Mapping[str, tuple[str | None, str | None]],
) -> list[InsightsChange]:
    """Which instances' insights changed, but for new instances that add nothing yet.

    `parts` is what each would add to the scope, `authors` who chose, and his note.
    """
    return [
        _insights_change(name, before.get(name), choice, parts.get(name, Totals()).score, authors.get(name))
        for name, choice in sorted(after.items())
        if before.get(name) is not choice and (name in before or name in parts)
    ]


def _insights_change(
    name: str, before: Insights | None, after: Insights, score: Score, author: tuple[str | None, str | None] | None
) -> InsightsChange:
    was, is_now = before not in (None, Insights.OFF), after is not Insights.OFF
    sign = int(is_now) - int(was)
    by, note = author or (None, None)
    return InsightsChange(
        instance=name,
        before=before,
        after=after,
        points=sign * score.current,
        max_points=sign * score.max,
        by=by,
        note=note,
    )
