"""What changed between two states of an instance, or of the instances that count. Pure.

A state is what stands for every control; the difference of two states is exactly what lies between their scores, so
the points of a history always add up: over all controls, and over those of a category or framework alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

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
    MAPPED = "mapped"


class State(BaseModel):
    """What stands for one control on one instance."""

    model_config = ConfigDict(frozen=True)

    outcome: Outcome
    status: Status
    is_stale: bool
    current: float
    maximum: float
    category: str = ""
    frameworks: tuple[str, ...] = ()


class Score(BaseModel):
    """The sums of a scope at one moment."""

    model_config = ConfigDict(frozen=True)

    current: float = 0.0
    max: float = 0.0
    measured: float = 0.0
    planned: float = 0.0
    achievable: float = 0.0
    percentage: float = 0.0


class Sums(BaseModel):
    """Score and counts of some controls at one moment."""

    model_config = ConfigDict(frozen=True)

    score: Score = Score()
    outcomes: dict[str, int] = Field(default_factory=dict)
    statuses: dict[str, int] = Field(default_factory=dict)
    regressed: int = 0
    stale: int = 0


class Totals(Sums):
    """A scope at one moment, the same per category and framework, and how many of its instances are stale."""

    categories: dict[str, Sums] = Field(default_factory=dict)
    frameworks: dict[str, Sums] = Field(default_factory=dict)
    stale_instances: int = 0


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


class Shift(BaseModel):
    """A difference of a score."""

    model_config = ConfigDict(frozen=True)

    points: float
    max_points: float


class InsightsChange(BaseModel):
    """An instance came to count, or ceased to, and what that did to the score of the scope."""

    model_config = ConfigDict(frozen=True)

    instance: str
    before: Insights | None
    after: Insights
    points: float
    max_points: float
    categories: dict[str, Shift] = Field(default_factory=dict)
    frameworks: dict[str, Shift] = Field(default_factory=dict)
    by: str | None = None
    note: str | None = None


class Tally(BaseModel):
    """What changed within some time. `gained` less `lost` is the difference of the achieved points.

    What fails is FAIL or PARTIAL. `regressed` of the `newly_failing` passed before; `mended` came to pass. Of the
    `acceptances_ended` those `acceptances_expired` were ended by time.
    """

    model_config = ConfigDict(frozen=True)

    gained: float = 0.0
    lost: float = 0.0
    newly_failing: int = 0
    regressed: int = 0
    mended: int = 0
    newly_accepted: int = 0
    acceptances_ended: int = 0
    acceptances_expired: int = 0

    def plus(self, other: "Tally") -> "Tally":
        """Both together."""
        mine, others = self.model_dump(), other.model_dump()
        return Tally(**{name: round(value + others[name], 3) for name, value in mine.items()})


class DayTally(BaseModel):
    """What a day brought a scope, and each of its categories and frameworks."""

    model_config = ConfigDict(frozen=True)

    whole: Tally = Tally()
    categories: dict[str, Tally] = Field(default_factory=dict)
    frameworks: dict[str, Tally] = Field(default_factory=dict)

    def plus(self, other: "DayTally") -> "DayTally":
        """Both together."""
        return DayTally(
            whole=self.whole.plus(other.whole),
            categories=_plus(self.categories, other.categories),
            frameworks=_plus(self.frameworks, other.frameworks),
        )


def _plus(one: dict[str, Tally], other: dict[str, Tally]) -> dict[str, Tally]:
    return {name: one.get(name, Tally()).plus(other.get(name, Tally())) for name in sorted(one.keys() | other.keys())}


@dataclass(frozen=True)
class Part:
    """What one instance adds to a scope of several, as of its point `seq`: totals that are read when they are needed.

    A scope has one for each of its instances, and most changes touch one of them.
    """

    seq: int
    body: str

    @classmethod
    def of(cls, point: "Point") -> "Part":
        """The part that a point of an instance makes."""
        return cls(point.seq, point.totals.model_dump_json(exclude_defaults=True))

    @cached_property
    def totals(self) -> Totals:
        """The instance's sums."""
        return Totals.model_validate_json(self.body)


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
    stale_instances: int = Field(default=0, description="Stale instances, less those of the point before")
    day: DayTally = Field(default=DayTally(), description="What its day has brought so far")


STATES = TypeAdapter(dict[str, State])
CHOICES = TypeAdapter(dict[str, Insights])
TENANT = "tenant"
SYSTEM = "system"
"""Who changed a status when no person did."""


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
        category=item.definition.category,
        frameworks=tuple(sorted(name for name, ids in item.definition.frameworks.items() if ids)),
    )


def totals_of(picture: InstancePicture) -> Totals:
    """The sums of an instance."""
    return Totals(
        **_sums(picture.summary),
        categories={name: Sums(**_sums(part)) for name, part in picture.categories.items()},
        frameworks={name: Sums(**_sums(part)) for name, part in picture.frameworks.items()},
        stale_instances=int(picture.stale_since is not None),
    )


def _sums(summary: Summary) -> dict[str, Any]:
    return {
        "score": score_of(summary.points),
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


def add(parts: Iterable[Totals], *, less: Iterable[Totals] = ()) -> Totals:
    """The sums of a scope of several instances, less those of some that were in the first ones."""
    signed = [*((1, part) for part in parts), *((-1, part) for part in less)]
    return Totals(
        **_added(signed).model_dump(),
        categories=_added_by_name([(sign, part.categories) for sign, part in signed]),
        frameworks=_added_by_name([(sign, part.frameworks) for sign, part in signed]),
        stale_instances=sum(sign * part.stale_instances for sign, part in signed),
    )


def _added(parts: Sequence[tuple[int, Sums]]) -> Sums:
    points = total(Points(*(sign * value for value in _points(sums.score))) for sign, sums in parts)
    return Sums(
        score=score_of(points),
        outcomes=_counted((sign, sums.outcomes) for sign, sums in parts),
        statuses=_counted((sign, sums.statuses) for sign, sums in parts),
        regressed=sum(sign * sums.regressed for sign, sums in parts),
        stale=sum(sign * sums.stale for sign, sums in parts),
    )


def _points(score: Score) -> tuple[float, ...]:
    return score.current, score.max, score.measured, score.planned, score.achievable


def _counted(parts: Iterable[tuple[int, Mapping[str, int]]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for sign, counts in parts:
        for name, count in counts.items():
            found[name] = found.get(name, 0) + sign * count
    return {name: count for name, count in sorted(found.items()) if count}


def _added_by_name(parts: Sequence[tuple[int, Mapping[str, Sums]]]) -> dict[str, Sums]:
    """By name, without those of which nothing is left."""
    groups: dict[str, list[tuple[int, Sums]]] = {}
    for sign, named in parts:
        for name, sums in named.items():
            groups.setdefault(name, []).append((sign, sums))
    found = {name: _added(group) for name, group in sorted(groups.items())}
    return {name: sums for name, sums in found.items() if sums != Sums()}


def between(
    instance: str,
    before: Mapping[str, State],
    after: Mapping[str, State],
    authors: Mapping[str, tuple[str, str | None]],
) -> list[ControlChange]:
    """What happened to an instance's controls. `authors` says who decided about a control, and his note."""
    names = sorted(before.keys() | after.keys())
    return [
        change_of(instance, name, before.get(name), after.get(name), authors)
        for name in names
        if before.get(name) != after.get(name)
    ]


def change_of(
    instance: str, name: str, old: State | None, new: State | None, authors: Mapping[str, tuple[str, str | None]]
) -> ControlChange:
    """What lies between two different states of a control."""
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
    """What that is called."""
    if old is None or new is None:
        return Kind.ADDED if old is None else Kind.RETIRED
    if old.outcome is new.outcome and old.status is not new.status:
        return Kind.STATUS
    if old == new.model_copy(update={"category": old.category, "frameworks": old.frameworks}):
        return Kind.MAPPED
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
    return change_of(last.instance, last.control_id, first.before, last.after, authors)


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
        _insights_change(name, before.get(name), choice, parts.get(name, Totals()), authors.get(name))
        for name, choice in sorted(after.items())
        if before.get(name) is not choice and (name in before or name in parts)
    ]


def _insights_change(
    name: str, before: Insights | None, after: Insights, totals: Totals, author: tuple[str | None, str | None] | None
) -> InsightsChange:
    was, is_now = before not in (None, Insights.OFF), after is not Insights.OFF
    sign = int(is_now) - int(was)
    by, note = author or (None, None)
    return InsightsChange(
        instance=name,
        before=before,
        after=after,
        **_shift(totals, sign).model_dump(),
        categories={part: _shift(sums, sign) for part, sums in totals.categories.items()} if sign else {},
        frameworks={part: _shift(sums, sign) for part, sums in totals.frameworks.items()} if sign else {},
        by=by,
        note=note,
    )


def _shift(sums: Sums, sign: int) -> Shift:
    return Shift(points=sign * sums.score.current, max_points=sign * sums.score.max)


def undo(states: Mapping[str, State], points: Iterable[Point]) -> dict[str, State]:
    """What stood for an instance's controls before points, which are given in order and end with `states`."""
    found = dict(states)
    for point in reversed(list(points)):
        for change in point.changes:
            if change.before is None:
                found.pop(change.control_id, None)
            else:
                found[change.control_id] = change.before
    return found
