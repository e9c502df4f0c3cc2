"""What stands in the change log: collections from statuses, insights from points; and the filters."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plumbline_contracts.events import Health, Insights, InstanceStatus, Product, RequestReason, RunSummary
from plumbline_score_api.changes.changes import Change, ChangeKind, changes_of, changes_of_status
from plumbline_score_api.events.schemas import EventFilters
from plumbline_score_api.history.changing import InsightsChange, Point, Totals

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
STARTED, FINISHED, FAILED = (
    ChangeKind.COLLECTION_STARTED,
    ChangeKind.COLLECTION_FINISHED,
    ChangeKind.COLLECTION_FAILED,
)


def _run(minute: int = 0, *, succeeded: bool = True, request: str = "r1") -> RunSummary:
    at = NOW + timedelta(minutes=minute)
    return RunSummary(
        snapshot_id="s1" if succeeded else None,
        request_id=request,
        reason=RequestReason.CHANGE,
        started_at=at,
        completed_at=at + timedelta(seconds=30),
        succeeded=succeeded,
        message="All datasets were read.",
    )


def _status(minute: int = 0, **changes: Any) -> InstanceStatus:
    return InstanceStatus(
        tenant="contoso",
        instance="sales-eu",
        product=Product.SALESFORCE,
        url="https://contoso.my.salesforce.com",
        health=Health.HEALTHY,
        message="Fine.",
        updated_at=NOW + timedelta(minutes=minute),
    ).model_copy(update=changes)


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        (None, _status(), []),
        (None, _status(is_collecting=True), [STARTED]),
        (None, _status(last_run=_run()), [FINISHED]),
        (_status(), _status(1), []),
        (_status(), _status(1, is_collecting=True), [STARTED]),
        (_status(is_collecting=True), _status(1, is_collecting=True), []),
        (_status(is_collecting=True), _status(1, last_run=_run()), [FINISHED]),
        (_status(is_collecting=True), _status(1, last_run=_run(succeeded=False)), [FAILED]),
        (_status(is_collecting=True), _status(1, health=Health.PAUSED), []),
        (_status(last_run=_run()), _status(1, last_run=_run()), []),
        (_status(last_run=_run()), _status(9, last_run=_run(), is_collecting=True), [STARTED]),
        # a status between was compacted away
        (_status(last_run=_run()), _status(9, last_run=_run(5)), [FINISHED]),
        (_status(is_collecting=True), _status(9, last_run=_run(), is_collecting=True), [FINISHED, STARTED]),
        # the same request is tried again
        (_status(last_run=_run(succeeded=False)), _status(9, last_run=_run(5, succeeded=False)), [FAILED]),
    ],
)
def test_what_a_status_says_of_collections(
    before: InstanceStatus | None, after: InstanceStatus, kinds: list[ChangeKind]
) -> None:
    found = changes_of_status(before, after)
    assert [change.kind for change in found] == kinds
    assert found == changes_of_status(before, after), "a status that comes again says the same, with the same ids"
    assert {(change.scope, change.instance) for change in found} <= {("instance:sales-eu", "sales-eu")}


def test_the_end_of_a_collection_is_told_with_its_run_and_when_it_was() -> None:
    run = _run(3, succeeded=False)
    (change,) = changes_of_status(_status(), _status(4, last_run=run, health=Health.FAILED, consecutive_failures=2))
    assert change.at == run.completed_at
    assert change.data == {
        "product": "salesforce",
        "health": "failed",
        "consecutive_failures": 2,
        "snapshot_id": None,
        "request_id": "r1",
        "reason": "change",
        "started_at": "2026-11-25T12:03:00.000Z",
        "completed_at": "2026-11-25T12:03:30.000Z",
        "message": "All datasets were read.",
    }


statuses = st.builds(
    lambda minute, collecting, run: _status(minute, is_collecting=collecting, last_run=run),
    st.integers(0, 5),
    st.booleans(),
    st.none() | st.builds(lambda n, good: _run(n, succeeded=good, request=f"r{n}"), st.integers(0, 3), st.booleans()),
)


@given(st.lists(statuses, max_size=8))
def test_statuses_that_come_again_add_nothing(found: list[InstanceStatus]) -> None:
    """As in the projector: older ones are passed over, the rest may come any number of times."""
    known: InstanceStatus | None = None
    told: dict[str, Change] = {}
    for status in (each for once in found for each in (once, once)):
        if known is None or known.updated_at <= status.updated_at:
            for change in changes_of_status(known, status):
                assert told.setdefault(change.event_id, change) == change
            known = status


def _choice(instance: str, after: Insights = Insights.MAIN) -> InsightsChange:
    return InsightsChange(instance=instance, before=Insights.OFF, after=after, points=3, max_points=9, by="Ada")


def _point(scope: str, *choices: InsightsChange) -> Point:
    return Point(scope=scope, seq=4, at=NOW, totals=Totals(), points=3, max_points=9, insights=list(choices))


def test_insights_are_told_once_per_instance_with_who_chose_and_what_it_did() -> None:
    choices = (_choice("sales-eu"), _choice("sales-us", Insights.ON))
    found = changes_of(_point("product:salesforce", *choices), None)
    told = [change for change in found if change.kind is ChangeKind.INSIGHTS_CHANGED]
    assert [(change.instance, change.scope) for change in told] == [
        ("sales-eu", "product:salesforce"),
        ("sales-us", "product:salesforce"),
    ]
    assert told[0].data == {
        "before": "off", "after": "main", "points": 3, "max_points": 9, "by": "Ada", "note": None,
        "categories": {}, "frameworks": {},
    }  # fmt: skip
    assert len({change.event_id for change in found}) == len(found)
    of_tenant = changes_of(_point("tenant", *choices), None)
    assert [change.kind for change in of_tenant] == [ChangeKind.SCORE_CHANGED]


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ({}, True),
        ({"kind": ["finding_changed"]}, True),
        ({"kind": ["finding_changed", "score_changed"]}, True),
        ({"kind": ["score_changed"]}, False),
        ({"instance": ["sales-us"]}, False),
        ({"instance": ["sales-us", "sales-eu"], "control": ["C-1"]}, True),
        ({"instance": ["sales-eu"], "control": ["C-2"]}, False),
        ({"scope": ["instance:sales-eu"]}, True),
        ({"scope": ["tenant", "product:salesforce"]}, False),
    ],
)
def test_filters(filters: dict[str, Any], passes: bool) -> None:
    change = Change(
        event_id="e",
        kind=ChangeKind.FINDING_CHANGED,
        at=NOW,
        scope="instance:sales-eu",
        instance="sales-eu",
        control_id="C-1",
    )
    assert EventFilters.model_validate(filters).match(change) is passes
