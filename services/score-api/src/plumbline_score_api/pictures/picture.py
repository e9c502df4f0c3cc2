"""One instance, and one tenant, as a picture: controls with their decisions, and what they sum up to. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from plumbline_contracts.events import ControlDefinition, Effort, Outcome, Product, Severity, UnknownReason
from pydantic import BaseModel, ConfigDict, TypeAdapter

from plumbline_score_api.decisions.decision import Decision, Seen, Status, shown, speaking
from plumbline_score_api.scores.scoring import Points, Scored, points_of, total

_SEVERITIES = {severity: place for place, severity in enumerate(Severity)}
_EFFORTS = {effort: place for place, effort in enumerate(Effort)}


class Control(BaseModel):
    """A finding without its evidence: what lists and scores need of it. Written with the findings, never changed."""

    model_config = ConfigDict(frozen=True)

    control_id: str
    digest: str
    outcome: Outcome
    reason: UnknownReason | None
    explanation: str
    points: float
    max_points: float
    compliant: int | None
    total: int | None
    exposed: int
    exposed_listed: int
    exposed_digest: str | None
    observed: str | None
    evaluated_at: datetime
    first_seen_at: datetime
    changed_at: datetime
    stale_since: datetime | None
    regressed_at: datetime | None

    @property
    def key(self) -> str:
        """The key of the definition that it was judged by."""
        return f"{self.control_id}@{self.digest}"

    def seen(self, evaluation: str) -> Seen:
        """What a decision stands on."""
        return Seen(
            evaluation=evaluation,
            outcome=self.outcome,
            observed=self.observed,
            exposed=self.exposed,
            exposed_listed=self.exposed_listed,
            exposed_digest=self.exposed_digest,
        )


CONTROLS = TypeAdapter(list[Control])


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

    @cached_property
    def status(self) -> Status:
        """As people see it."""
        return shown(self.control.outcome, self.decision, self.reopened)

    @cached_property
    def points(self) -> Points:
        """What it adds to a score."""
        control = self.control
        is_stale = control.stale_since is not None
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
    """Sums over some controls. Summaries of disjoint sets add up."""

    points: Points = field(default_factory=Points)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    statuses: Mapping[str, int] = field(default_factory=dict)
    stale: int = 0
    regressed: int = 0
    evaluated_at: datetime | None = None

    @classmethod
    def of(cls, items: Iterable[Recommendation]) -> "Summary":
        """The summary of recommendations."""
        found = list(items)
        return cls(
            points=total(item.points for item in found),
            outcomes=Counter(item.control.outcome.value for item in found),
            statuses=Counter(item.status.value for item in found),
            stale=sum(item.control.stale_since is not None for item in found),
            regressed=sum(item.control.regressed_at is not None for item in found),
            evaluated_at=max((item.control.evaluated_at for item in found), default=None),
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
        )


@dataclass(frozen=True)
class Version:
    """What an instance's picture was made of; another version is another picture."""

    evaluation: str | None
    decisions: int
    templates: int


@dataclass(frozen=True)
class InstancePicture:
    """One instance. Without an evaluation it has no items."""

    instance: str
    product: Product
    version: Version
    evaluated_at: datetime | None
    items: tuple[Recommendation, ...]

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
        return Summary(
            summary.points, summary.outcomes, summary.statuses, summary.stale, summary.regressed, self.evaluated_at
        )

    def find(self, control: str) -> Recommendation | None:
        """A recommendation by control id, else by alias."""
        return self._by_id.get(control) or self._by_alias.get(control)

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
) -> InstancePicture:
    """The picture of an instance. `definitions` is by `control_id@digest`, the rest by control id."""
    items = tuple(
        Recommendation(
            instance=instance,
            product=product,
            evaluation=version.evaluation or "",
            control=control,
            definition=definitions[control.key],
            decision=speaking(own.get(control.control_id), templates.get(control.control_id)),
            reopened=reopened.get(control.control_id),
        )
        for control in controls
    )
    return InstancePicture(instance, product, version, evaluated_at, items)
