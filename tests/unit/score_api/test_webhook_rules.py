"""Webhooks without a database: signatures, retries, targets, and who wants which news."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plumbline_contracts.events import Health, Outcome, Product, Severity
from plumbline_score_api.changes.changes import Change, ChangeKind
from plumbline_score_api.decisions.decision import Decision, Ended, Status
from plumbline_score_api.webhooks import signing
from plumbline_score_api.webhooks.matching import (
    News,
    Title,
    expiring,
    finding_news,
    opening,
    score_news,
    wanted,
)
from plumbline_score_api.webhooks.messages import (
    ConnectionData,
    ConnectionMessage,
    Data,
    ExceptionMessage,
    FindingMessage,
    MessageType,
    ScoreData,
    ScoreDroppedMessage,
    body_of,
    message_id,
)
from plumbline_score_api.webhooks.retrying import (
    LONGEST_RETRY_AFTER_SECONDS,
    MOST_ATTEMPTS,
    due_again,
    retry_after,
)
from plumbline_score_api.webhooks.subscription import Events, Secret, Subscriber, Subscription
from plumbline_score_api.webhooks.targets import STRICT, TargetRules, mistake
from pydantic import ValidationError

NOW = datetime(2026, 3, 2, 9, 14, 5, tzinfo=UTC)


# --- signatures


def test_the_signature_is_the_one_of_the_conventions_test_vector() -> None:
    found = signing.signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    )
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.binary(min_size=24, max_size=64), st.binary(min_size=24, max_size=64), st.binary(max_size=200))
def test_every_secret_signs(new: bytes, old: bytes, body: bytes) -> None:
    found = signing.headers([signing.secret_text(new), signing.secret_text(old)], "msg_1", NOW, body)
    signed = f"msg_1.{int(NOW.timestamp())}.".encode() + body
    wanted_ = [base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode() for key in (new, old)]
    assert found["webhook-signature"].split(" ") == [f"v1,{each}" for each in wanted_]
    assert (found["webhook-id"], found["webhook-timestamp"]) == ("msg_1", str(int(NOW.timestamp())))


def test_a_secret_is_not_told_by_what_holds_it() -> None:
    assert "hunter2" not in repr([Secret("whsec_hunter2")])


@given(st.text(min_size=1, max_size=80), st.sampled_from(MessageType))
def test_the_id_of_a_message_follows_from_the_event_and_holds_no_dot(event: str, kind: MessageType) -> None:
    found = message_id("contoso", kind, event)
    assert found == message_id("contoso", kind, event)
    assert found.startswith("msg_")
    assert "." not in found
    assert found != message_id("fabrikam", kind, event)


# --- retries


def test_ten_attempts_take_a_little_more_than_three_days() -> None:
    at, waits = NOW, []
    for number in range(1, MOST_ATTEMPTS):
        due = due_again(number, at, 0, 0)
        assert due is not None
        waits.append((due - at).total_seconds())
        at = due
    assert waits == sorted(waits)
    assert waits[0] == 5
    assert timedelta(days=3) < at - NOW < timedelta(days=3, hours=6)
    assert due_again(MOST_ATTEMPTS, at, 0, 0) is None


@given(st.integers(1, 20), st.floats(0, 1e9), st.floats(0, 1))
def test_it_is_never_tried_sooner_than_the_target_asked_and_never_much_later(
    attempts: int, asked: float, chance: float
) -> None:
    due = due_again(attempts, NOW, asked, chance)
    if attempts >= MOST_ATTEMPTS:
        assert due is None
        return
    assert due is not None
    wait = (due - NOW).total_seconds()
    assert wait >= min(asked, LONGEST_RETRY_AFTER_SECONDS) - 1e-3
    assert 5 <= wait <= 86_400 * 1.1 + 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0),
        ("120", 120),
        (" 7 ", 7),
        ("0", 0),
        ("-5", 0),
        ("1.5", 0),
        ("9" * 500, LONGEST_RETRY_AFTER_SECONDS),
        ("Mon, 02 Mar 2026 09:15:05 GMT", 60),
        ("Mon, 02 Mar 2026 09:15:05", 60),
        ("Mon, 02 Mar 2020 09:15:05 GMT", 0),
        ("Mon, 02 Mar 9999 09:15:05 GMT", LONGEST_RETRY_AFTER_SECONDS),
        ("Mon, 99 Foo 2026 99:99:99 GMT", 0),
        ("soon", 0),
        ("٣", 0),
        ("", 0),
    ],
)
def test_retry_after(text: str | None, seconds: float) -> None:
    assert retry_after(text, NOW) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_breaks_anything(text: str) -> None:
    assert 0 <= retry_after(text, NOW) <= LONGEST_RETRY_AFTER_SECONDS


# --- targets


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://hooks.example/x?y=z", None),
        ("https://hooks.example:8443/", None),
        ("https://20.190.151.7/", None),
        ("http://hooks.example/", "expected https"),
        ("ftp://hooks.example/", "expected https"),
        ("https://", "no host"),
        ("https://hooks.example:0/", "no host"),
        ("https://hooks.example:99999/", "no URL"),
        ("https://[::1", "no URL"),
        ("https://user:secret@hooks.example/", "user or password"),
        ("https://user@hooks.example/", "user or password"),
        ("https://hooks.example/#x", "fragment"),
        ("https://127.0.0.1/", "private or reserved"),
        ("https://[::ffff:10.0.0.1]/", "private or reserved"),
        ("https://169.254.169.254/", "private or reserved"),
        ("https://[fe80::1%25eth0]/", "private or reserved"),
    ],
)
def test_targets(url: str, told: str | None) -> None:
    found = mistake(url, STRICT)
    assert (told is None and found is None) or (told is not None and told in str(found))


def test_what_settings_allow_and_what_they_never_do() -> None:
    open_ = TargetRules(allow_http=True, allow_private_network=True)
    assert mistake("http://127.0.0.1:9/", open_) is None
    assert mistake("http://169.254.169.254/", open_)


# --- who wants what


def _subscription(events: dict[str, Any], **changes: Any) -> Subscription:
    known = {"created_at": NOW, "created_by": "x", "changed_at": NOW, "changed_by": "x", "revision": 1}
    named = {"webhook_id": "0" * 16, "name": "SOC", "url": "https://hooks.example/"}
    return Subscription(events=Events.model_validate(events), **named, **known, **changes)


def _state(outcome: Outcome, status: Status = Status.TO_ADDRESS) -> dict[str, Any]:
    return {"outcome": outcome, "status": status, "is_stale": False, "current": 0.0, "maximum": 3.0}


def _change(before: Outcome | None, after: Outcome | None, status: Status = Status.TO_ADDRESS) -> Change:
    data = {
        "kind": "lost",
        "before": _state(before) if before else None,
        "after": _state(after, status) if after else None,
        "points": -3.0,
        "max_points": 0.0,
        "by": None,
        "note": None,
    }
    kind = ChangeKind.FINDING_CHANGED
    named = {"scope": "instance:sales-eu", "instance": "sales-eu", "control_id": "C-1"}
    return Change(event_id="instance:sales-eu/2/C-1", kind=kind, at=NOW, data=data, **named)


FAILING = {Outcome.FAIL, Outcome.PARTIAL}
OUTCOMES: list[Outcome | None] = [None, *Outcome]


@pytest.mark.parametrize("before", OUTCOMES)
@pytest.mark.parametrize("after", OUTCOMES)
def test_a_finding_opens_when_it_fails_and_did_not_before(before: Outcome | None, after: Outcome | None) -> None:
    found = opening(_change(before, after))
    assert (found is not None) == (after in FAILING and before not in FAILING)


def _finding(before: Outcome | None, severity: Severity, status: Status = Status.TO_ADDRESS) -> News:
    change = _change(before, Outcome.FAIL, status)
    opened = opening(change)
    assert opened is not None
    return finding_news(change, opened, Title("A control", severity), Product.SALESFORCE)


BOTH = {"finding_opened": {"severity": "high"}, "finding_regressed": {"severity": "medium"}}


@pytest.mark.parametrize(
    ("events", "before", "severity", "status", "kind"),
    [
        (BOTH, Outcome.PASS, "high", "to_address", MessageType.FINDING_REGRESSED),
        (BOTH, Outcome.PASS, "medium", "to_address", MessageType.FINDING_REGRESSED),
        (BOTH, Outcome.PASS, "low", "to_address", None),
        (BOTH, Outcome.UNKNOWN, "high", "to_address", MessageType.FINDING_OPENED),
        (BOTH, None, "critical", "planned", MessageType.FINDING_OPENED),
        (BOTH, None, "medium", "to_address", None),
        (BOTH, None, "critical", "risk_accepted", None),
        (BOTH, None, "critical", "resolved_third_party", None),
        (BOTH, Outcome.PASS, "high", "risk_accepted", MessageType.FINDING_REGRESSED),
        ({"finding_opened": {}}, Outcome.PASS, "high", "to_address", MessageType.FINDING_OPENED),
        ({"finding_opened": {}}, Outcome.PASS, "medium", "to_address", None),
        ({"finding_regressed": {}}, Outcome.UNKNOWN, "critical", "to_address", None),
        ({"finding_regressed": {}}, Outcome.PASS, "informational", "to_address", MessageType.FINDING_REGRESSED),
        ({"connection_unhealthy": {}}, Outcome.PASS, "critical", "to_address", None),
    ],
)
def test_findings_are_told_from_a_severity_on(
    events: dict[str, Any], before: Outcome | None, severity: str, status: str, kind: MessageType | None
) -> None:
    news = _finding(before, Severity(severity), Status(status))
    assert wanted(_subscription(events), news) is kind
    if kind is not None:
        FindingMessage.model_validate_json(body_of(kind, news.at, news.data))


def _score(scope: str, *, current: float, maximum: float, points: float, possible: float = 0.0) -> Change:
    data = {"current": current, "max": maximum, "percentage": round(100 * current / maximum, 2)}
    data |= {"points": points, "max_points": possible}
    insights = [{"instance": "old", "before": "on", "after": "off", "points": points, "max_points": possible}]
    kind = ChangeKind.SCORE_CHANGED
    return Change(event_id="e", kind=kind, at=NOW, scope=scope, data={**data, "insights": insights})


@pytest.mark.parametrize(
    ("condition", "points", "is_told"),
    [
        ({"points": 5}, -5.0, True),
        ({"points": 5}, -4.9, False),
        ({"percent": 5}, -5.0, True),
        ({"percent": 5}, -4.0, False),
        ({"percent": 50, "points": 4}, -4.0, True),
        ({"percent": 4, "points": 50}, -4.0, True),
        ({"points": 1, "scopes": ["tenant"]}, -50.0, False),
        ({"points": 1, "scopes": ["tenant", "product"]}, -50.0, True),
    ],
)
def test_a_score_that_falls_is_told_from_a_limit_on(condition: dict[str, Any], points: float, is_told: bool) -> None:
    news = score_news(_score("product:salesforce", current=100 + points - 50, maximum=100, points=points), {})
    assert news is not None
    assert (wanted(_subscription({"score_dropped": condition}), news) is not None) == is_told
    found = ScoreDroppedMessage.model_validate_json(body_of(MessageType.SCORE_DROPPED, news.at, news.data))
    assert (found.data.scope, found.data.product, found.data.points) == ("product", Product.SALESFORCE, points)
    assert found.data.insights == ["old"]


def test_a_score_that_rises_or_stays_is_no_news() -> None:
    assert score_news(_score("tenant", current=60, maximum=100, points=5), {}) is None
    assert score_news(_score("tenant", current=50, maximum=100, points=0), {}) is None


def test_a_share_that_falls_because_more_is_possible_is_news_in_per_cent() -> None:
    news = score_news(_score("tenant", current=50, maximum=200, points=0, possible=100), {})
    assert news is not None
    assert isinstance(news.data, ScoreData)
    assert (news.data.points, news.data.percent) == (0, -25)


def _connection(health: Health) -> News:
    data = ConnectionData(
        instance="sales-eu", product=Product.SALESFORCE, health=health, message="x", last_success_at=None,
        consecutive_failures=1,
    )  # fmt: skip
    return News("c", NOW, data, "sales-eu", Product.SALESFORCE)


@pytest.mark.parametrize(
    ("limit", "health", "kind"),
    [
        ("failed", Health.FAILED, MessageType.CONNECTION_UNHEALTHY),
        ("failed", Health.DEGRADED, MessageType.CONNECTION_RECOVERED),
        ("degraded", Health.DEGRADED, MessageType.CONNECTION_UNHEALTHY),
        ("degraded", Health.HEALTHY, MessageType.CONNECTION_RECOVERED),
    ],
)
def test_connections_are_told_by_health(limit: str, health: Health, kind: MessageType) -> None:
    news = _connection(health)
    assert wanted(_subscription({"connection_unhealthy": {"health": limit}}), news) is kind
    ConnectionMessage.model_validate_json(body_of(kind, news.at, news.data))


@pytest.mark.parametrize(
    ("filters", "is_told"),
    [
        ({}, True),
        ({"instances": {"sales-eu"}}, True),
        ({"instances": {"other"}}, False),
        ({"products": {"salesforce"}}, True),
        ({"products": {"servicenow"}}, False),
        ({"products": {"salesforce"}, "instances": {"other"}}, False),
    ],
)
def test_filters(filters: dict[str, Any], is_told: bool) -> None:
    found = wanted(_subscription({"connection_unhealthy": {}}, **filters), _connection(Health.FAILED))
    assert (found is not None) == is_told


def test_the_score_of_the_tenant_is_of_no_single_instance_or_product() -> None:
    news = score_news(_score("tenant", current=40, maximum=100, points=-10), {})
    assert news is not None
    events = {"score_dropped": {"points": 1, "scopes": ["tenant"]}}
    assert wanted(_subscription(events), news) is MessageType.SCORE_DROPPED
    assert wanted(_subscription(events, products={"salesforce"}), news) is None
    assert wanted(_subscription(events, instances={"sales-eu"}), news) is None


def _decision(**changes: Any) -> Decision:
    known = {"decision_id": "d1", "control_id": "C-1", "revision": 1, "author": "ada", "decided_at": NOW}
    fields = {"status": Status.RISK_ACCEPTED, "expires_at": NOW + timedelta(days=10), **changes}
    return Decision.model_validate({**known, **fields})


@pytest.mark.parametrize(
    ("instance", "changes", "is_told"),
    [
        ("sales-eu", {}, True),
        ("sales-eu", {"expires_at": NOW + timedelta(days=15)}, False),
        ("sales-eu", {"expires_at": NOW}, False),
        ("sales-eu", {"expires_at": None}, False),
        ("sales-eu", {"status": None}, False),
        ("sales-eu", {"ended": Ended.REOPENED, "ended_at": NOW}, False),
        ("sales-eu", {"template": "t1"}, False),
        (None, {}, True),
    ],
)
def test_a_decision_that_ends_soon_is_told(instance: str | None, changes: dict[str, Any], is_told: bool) -> None:
    found = list(expiring(instance, {"C-1": _decision(**changes)}, None, NOW, 14))
    assert bool(found) == is_told
    for news in found:
        ExceptionMessage.model_validate_json(body_of(MessageType.EXCEPTION_EXPIRING, news.at, news.data))
        narrowed = _subscription({"exception_expiring": {}}, instances={"other"})
        assert (wanted(narrowed, news) is not None) == (instance is None), "a template concerns all"


def test_a_decision_whose_end_is_moved_is_told_again() -> None:
    ids = {
        news.event_id
        for days in (10, 11)
        for news in expiring("i", {"C-1": _decision(expires_at=NOW + timedelta(days=days))}, None, NOW, 14)
    }
    assert len(ids) == 2


def test_who_subscribes_hears_of_what_comes_later() -> None:
    subscriber = Subscriber(_subscription({"finding_opened": {}}), {"0": 7})
    assert [subscriber.hears(0, 7), subscriber.hears(0, 8), subscriber.hears(1, 1)] == [False, True, True]


@pytest.mark.parametrize(
    "events",
    [
        {},
        {"score_dropped": {}},
        {"score_dropped": {"points": 0}},
        {"score_dropped": {"percent": 101}},
        {"score_dropped": {"points": 1, "scopes": []}},
        {"exception_expiring": {"days": 0}},
        {"connection_unhealthy": {"health": "healthy"}},
        {"finding_opened": {"severity": "bad"}},
        {"anything": {}},
    ],
)
def test_events_that_make_no_sense_are_refused(events: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Events.model_validate(events)


def test_a_message_is_small() -> None:
    data: Data = _connection(Health.FAILED).data
    assert len(body_of(MessageType.CONNECTION_UNHEALTHY, NOW, data)) < 1000
