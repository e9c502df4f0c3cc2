"""One instance, and one tenant, as a picture: controls with their decisions, and what they sum up to. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from plumbline_contracts.events import ControlDefinition, Effort, Product, Severity

from plumbline_score_api.decisions.decision import Decision, Status, shown, speaking
from plumbline_score_api.pictures.aging import aged, stale_from
from plumbline_score_api.pictures.control import CONTROLS, Control
from plumbline_score_api.scores.scoring import Points, Scored, points_of, total

__all__ = ["CONTROLS", "Control", "InstancePicture", "Recommendation", "Summary", "Version", "paint"]

_SEVERITIES = {severity: place for place, severity in enumerate(Severity)}
_EFFORTS = {effort: place for place, effort in enumerate(Effort)}


@dataclass(frozen=True)
class Recommendation:
    """A control on an instance with what was decided about it."""

    instance: str
    product: Product
    evaluation: str
    control: Control
    definition: ControlDefinition
    decision: Decision | None
    reopened: str | None
    instance_stale_since: datetime | None = None

    @cached_property
    def stale_since(self) -> datetime | None:
        """Since when it has not been measured, whatever stands in; None when it was by the newest snapshot in time."""
        return self.control.stale_since or self.instance_stale_since

    @cached_property
    def status(self) -> Status:
        """As people see it."""
        return shown(self.control.outcome, self.decision, self.reopened)

    @cached_property
    def points(self) -> Points:
        """What it adds to a score."""
        control = self.control
        is_stale = self.stale_since is not None
        return points_of(Scored(control.outcome, control.points, control.max_points, is_stale, self.status))

    @cached_property
    def changed_at(self) -> datetime:
        """When its outcome, or what was decided about it, last changed."""
        moments = [self.control.changed_at]
        if self.decision is not None:
            moments += [self.decision.decided_at, self.decision.ended_at or self.decision.decided_at]
        return max(moments)

    @cached_property
    def name(self) -> str:
        """Sorts as text, and no other recommendation of the tenant has it."""
        return f"{self.control.control_id}/{self.instance}"

    @cached_property
    def rank_key(self) -> str:
        """Sorts as text: most points left, then severity, then least effort, then names."""
        definition = self.definition
        severity = _SEVERITIES[definition.severity]
        effort = _EFFORTS[definition.implementation_cost] + _EFFORTS[definition.user_impact]
        return f"{round((10 - self.points.left) * 1000):05d}/{severity}/{effort}/{self.name}"

    @cached_property
    def text(self) -> str:
        """What a search looks into."""
        definition = self.definition
        words = (definition.control_id, *definition.aliases, definition.title, definition.description)
        return "\n".join(words).casefold()


@dataclass(frozen=True)
class Summary:
    """Sums over some controls. Summaries of disjoint sets add up.

    `evaluated_at` is the newest evaluation, `first_evaluated_at` that of the instance evaluated longest ago,
    `stale_since` the oldest of its kind.
    """

    points: Points = field(default_factory=Points)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    statuses: Mapping[str, int] = field(default_factory=dict)
    stale: int = 0
    regressed: int = 0
    evaluated_at: datetime | None = None
    first_evaluated_at: datetime | None = None
    stale_since: datetime | None = None

    @classmethod
    def of(cls, items: Iterable[Recommendation]) -> "Summary":
        """The summary of recommendations."""
        found = list(items)
        return cls(
            points=total(item.points for item in found),
            outcomes=Counter(item.control.outcome.value for item in found),
            statuses=Counter(item.status.value for item in found),
            stale=sum(item.stale_since is not None for item in found),
            regressed=sum(item.control.regressed_at is not None for item in found),
            evaluated_at=max((item.control.evaluated_at for item in found), default=None),
            first_evaluated_at=min((item.control.evaluated_at for item in found), default=None),
            stale_since=min((item.stale_since for item in found if item.stale_since), default=None),
        )

    @classmethod
    def sum(cls, parts: Iterable["Summary"]) -> "Summary":
        """The summary of all that the parts sum up."""
        found = list(parts)
        outcomes: Counter[str] = Counter()
        statuses: Counter[str] = Counter()
        for part in found:
            outcomes.update(part.outcomes)
            statuses.update(part.statuses)
        return cls(
            points=total(part.points for part in found),
            outcomes=outcomes,
            statuses=statuses,
            stale=sum(part.stale for part in found),
            regressed=sum(part.regressed for part in found),
            evaluated_at=max((part.evaluated_at for part in found if part.evaluated_at), default=None),
            first_evaluated_at=min((p.first_evaluated_at for p in found if p.first_evaluated_at), default=None),
            stale_since=min((part.stale_since for part in found if part.stale_since), default=None),
        )


@dataclass(frozen=True)
class Version:
    """What an instance's picture was made of; another version is another picture."""

    evaluation: str | None
    decisions: int
    templates: int
    clock: datetime | None = None


@dataclass(frozen=True)
class InstancePicture:
    """One instance. Without an evaluation it has no items. `stale_since` is set when it is stale as a whole."""

    instance: str
    product: Product
    version: Version
    evaluated_at: datetime | None
    items: tuple[Recommendation, ...]
    stale_since: datetime | None = None

    @cached_property
    def summary(self) -> Summary:
        """Over all controls."""
        return self._with_moment(Summary.of(self.items))

    @cached_property
    def categories(self) -> dict[str, Summary]:
        """Per category."""
        groups: dict[str, list[Recommendation]] = {}
        for item in self.items:
            groups.setdefault(item.definition.category, []).append(item)
        return {name: self._with_moment(Summary.of(group)) for name, group in sorted(groups.items())}

    @cached_property
    def frameworks(self) -> dict[str, Summary]:
        """Per framework that controls are mapped to."""
        groups: dict[str, list[Recommendation]] = {}
        for item in self.items:
            for name in item.definition.frameworks:
                groups.setdefault(name, []).append(item)
        return {name: self._with_moment(Summary.of(group)) for name, group in sorted(groups.items())}

    def requirements(self, framework: str) -> dict[str, Summary]:
        """Per id of a framework. A control that is mapped to several counts in each."""
        groups: dict[str, list[Recommendation]] = {}
        for item in self.items:
            for name in dict.fromkeys(item.definition.frameworks.get(framework, [])):
                groups.setdefault(name, []).append(item)
        return {name: self._with_moment(Summary.of(group)) for name, group in sorted(groups.items())}

    def _with_moment(self, summary: Summary) -> Summary:
        """Every part of an instance was evaluated when the instance was, whatever stands in for unread controls."""
        return replace(summary, evaluated_at=self.evaluated_at, first_evaluated_at=self.evaluated_at)

    def find(self, control: str) -> Recommendation | None:
        """A recommendation by control id, else by alias."""
        return self._by_id.get(control) or self._by_alias.get(control)

    def of_control(self, control_id: str) -> Recommendation | None:
        """A recommendation by control id alone."""
        return self._by_id.get(control_id)

    @cached_property
    def _by_id(self) -> dict[str, Recommendation]:
        return {item.control.control_id: item for item in self.items}

    @cached_property
    def _by_alias(self) -> dict[str, Recommendation]:
        return {alias: item for item in self.items for alias in item.definition.aliases}


def paint(
    instance: str,
    product: Product,
    version: Version,
    evaluated_at: datetime | None,
    controls: Iterable[Control],
    definitions: Mapping[str, ControlDefinition],
    own: Mapping[str, Decision],
    templates: Mapping[str, Decision],
    reopened: Mapping[str, str],
    stale_at: datetime | None = None,
) -> InstancePicture:
    """The picture of an instance. `definitions` is by `control_id@digest`, the rest by control id.

    `stale_at` is when the instance becomes stale as a whole; the version's clock says whether that has come.
    """
    stale_since = stale_from(stale_at, version.clock)
    items = tuple(
        Recommendation(
            instance=instance,
            product=product,
            evaluation=version.evaluation or "",
            control=aged(control, version.clock),
            definition=definitions[control.key],
            decision=speaking(own.get(control.control_id), templates.get(control.control_id)),
            reopened=reopened.get(control.control_id),
            instance_stale_since=stale_since,
        )
        for control in controls
    )
    return InstancePicture(instance, product, version, evaluated_at, items, stale_since)
