"""Which news a subscription wants, and what the change log, decisions and connections say that is news. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import get_args

from plumbline_contracts.events import Health, InstanceStatus, Outcome, Product, Severity

from plumbline_score_api.changes.changes import Change, ChangeKind
from plumbline_score_api.decisions.decision import Decision, Status
from plumbline_score_api.history.changing import TENANT, ControlChange, InsightsChange, Score
from plumbline_score_api.scores.scoring import Points
from plumbline_score_api.webhooks.messages import (
    LONGEST_TEXT,
    ConnectionData,
    Data,
    ExceptionData,
    FindingData,
    MessageType,
    OcsfData,
    ScoreData,
)
from plumbline_score_api.webhooks.subscription import Events, Scope, Subscription

_FAILING = frozenset({Outcome.FAIL, Outcome.PARTIAL})
_UNDECIDED = frozenset({Status.TO_ADDRESS, Status.PLANNED})
_SEVERITIES = {severity: place for place, severity in enumerate(Severity)}
_CAPTIONS = {severity.value.capitalize(): severity for severity in Severity}
LEVELS = {Health.HEALTHY: 0, Health.DEGRADED: 1, Health.FAILED: 2}
"""How bad a connection is. What waits or pauses says nothing."""


@dataclass(frozen=True)
class News:
    """Something that happened, whoever wants to know. `event_id` is the same whenever it is found again."""

    event_id: str
    at: datetime
    data: Data
    instance: str | None = None
    product: Product | None = None
    is_for_all: bool = False
    """Whether it concerns every instance, so that no filter leaves it out."""
    until: datetime | None = None
    """Until when it may be found again."""


@dataclass(frozen=True)
class Title:
    """What is said of a control."""

    title: str
    severity: Severity


def wanted(subscription: Subscription, news: News) -> MessageType | None:
    """As what a subscription gets news; None when it does not want them."""
    return _kind(subscription.events, news.data) if _passes(subscription, news) else None


def _passes(subscription: Subscription, news: News) -> bool:
    if news.is_for_all:
        return True
    is_of_instance = not subscription.instances or news.instance in subscription.instances
    return is_of_instance and (not subscription.products or news.product in subscription.products)


def _kind(events: Events, data: Data) -> MessageType | None:
    match data:
        case ScoreData():
            return MessageType.SCORE_DROPPED if _is_deep(events, data) else None
        case FindingData():
            return _finding_kind(events, data)
        case ExceptionData():
            return MessageType.EXCEPTION_EXPIRING if events.exception_expiring else None
        case ConnectionData():
            return _connection_kind(events, data)
        case OcsfData():
            return MessageType.COMPLIANCE_FINDING if _is_told(events, data) else None
    return None


def _is_deep(events: Events, data: ScoreData) -> bool:
    condition = events.score_dropped
    if condition is None or data.scope not in condition.scopes:
        return False
    by_points = condition.points is not None and -data.points >= condition.points
    return by_points or (condition.percent is not None and -data.percent >= condition.percent)


def _finding_kind(events: Events, data: FindingData) -> MessageType | None:
    regressed, opened = events.finding_regressed, events.finding_opened
    if regressed and data.before is Outcome.PASS and is_at_least(data.severity, regressed.severity):
        return MessageType.FINDING_REGRESSED
    if opened and data.status in _UNDECIDED and is_at_least(data.severity, opened.severity):
        return MessageType.FINDING_OPENED
    return None


def _is_told(events: Events, data: OcsfData) -> bool:
    """By the severity that the control has whatever its outcome: the end of a finding is told as its beginning was."""
    condition = events.compliance_finding
    return condition is not None and is_at_least(_nominal(data), condition.severity)


def _nominal(data: OcsfData) -> Severity:
    return _CAPTIONS[data.root["compliance"]["checks"][0]["severity"]]


def _connection_kind(events: Events, data: ConnectionData) -> MessageType | None:
    condition = events.connection_unhealthy
    if condition is None:
        return None
    is_bad = LEVELS[data.health] >= LEVELS[condition.least]
    return MessageType.CONNECTION_UNHEALTHY if is_bad else MessageType.CONNECTION_RECOVERED


def is_at_least(severity: Severity, limit: Severity) -> bool:
    """Whether a severity is the limit or worse."""
    return _SEVERITIES[severity] <= _SEVERITIES[limit]


# --- the change log


def opening(change: Change) -> ControlChange | None:
    """What happened to a control that fails now and did not before; None for any other entry."""
    if change.kind is not ChangeKind.FINDING_CHANGED or change.instance is None or change.control_id is None:
        return None
    named = {"instance": change.instance, "control_id": change.control_id}
    found = ControlChange.model_validate({**change.data, **named})
    was = found.before is not None and found.before.outcome in _FAILING
    return found if found.after is not None and found.after.outcome in _FAILING and not was else None


def finding_news(change: Change, opened: ControlChange, title: Title, product: Product) -> News:
    """News of a finding that opened."""
    assert opened.after is not None
    data = FindingData(
        instance=opened.instance,
        product=product,
        control_id=opened.control_id,
        title=title.title,
        severity=title.severity,
        outcome=opened.after.outcome,
        before=opened.before.outcome if opened.before is not None else None,
        status=opened.after.status,
        points=min(opened.points, 0.0),
        path=f"/v1/recommendations/{opened.instance}/{opened.control_id}",
    )
    return News(change.event_id, change.at, data, opened.instance, product)


def ocsf_news(change: Change) -> News | None:
    """News of an event for SIEMs; None for any other entry."""
    if change.kind is not ChangeKind.COMPLIANCE_FINDING:
        return None
    product = Product(change.data["unmapped"]["instance"]["product"])
    return News(change.event_id, change.at, OcsfData(change.data), change.instance, product)


def score_news(change: Change, products: Mapping[str, Product]) -> News | None:
    """News of a score that fell; None for any other entry. `products` is by instance."""
    if change.kind is not ChangeKind.SCORE_CHANGED:
        return None
    now = Score.model_validate(change.data)
    points, possible = float(change.data["points"]), float(change.data["max_points"])
    before = Points(now.current - points, now.max - possible).percentage
    percent = round(now.percentage - before, 3)
    if points >= 0 and percent >= 0:
        return None
    scope, instance, product = _scope_of(change.scope, products)
    moved = [InsightsChange.model_validate(each).instance for each in change.data.get("insights", [])]
    data = ScoreData(
        scope=scope,
        product=product,
        instance=instance,
        current=now.current,
        max=now.max,
        percentage=now.percentage,
        points=points,
        percent=percent,
        insights=moved,
    )
    return News(change.event_id, change.at, data, instance, product)


def _scope_of(name: str, products: Mapping[str, Product]) -> tuple[Scope, str | None, Product | None]:
    """Kind, instance and product of a scope of the history."""
    if name == TENANT:
        return "tenant", None, None
    kind, _, rest = name.partition(":")
    if kind == "product":
        return "product", None, Product(rest)
    assert kind in get_args(Scope)
    return "instance", rest, products.get(rest)


# --- time, and connections


def expiring(
    instance: str | None, decisions: Mapping[str, Decision], product: Product | None, now: datetime, days: int
) -> Iterator[News]:
    """News of decisions that end within `days`; the copies of a template, which ends with them, are left out."""
    for decision in decisions.values():
        ends = decision.expires_at
        is_copy = instance is not None and decision.template is not None
        if decision.status is None or not decision.holds or ends is None or is_copy:
            continue
        if ends - timedelta(days=days) <= now < ends:
            yield _expiry(instance, decision, product, ends, now)


def _expiry(instance: str | None, decision: Decision, product: Product | None, ends: datetime, now: datetime) -> News:
    assert decision.status is not None
    data = ExceptionData(
        instance=instance,
        product=product,
        control_id=decision.control_id,
        status=decision.status,
        assignee=decision.assignee,
        reason=decision.reason,
        decided_at=decision.decided_at,
        expires_at=ends,
    )
    event_id = f"expiry/{instance or ''}/{decision.decision_id}/{ends.isoformat()}"
    return News(event_id, now, data, instance, product, is_for_all=instance is None, until=ends)


def connection_news(status: InstanceStatus, episode: int) -> News:
    """News of how a connection is, in the `episode` that began when that changed last."""
    data = ConnectionData(
        instance=status.instance,
        product=status.product,
        health=status.health,
        message=status.message[:LONGEST_TEXT],
        last_success_at=status.last_success.completed_at if status.last_success else None,
        consecutive_failures=status.consecutive_failures,
    )
    event_id = f"connection/{status.instance}/{episode}"
    return News(event_id, status.updated_at, data, status.instance, status.product)
