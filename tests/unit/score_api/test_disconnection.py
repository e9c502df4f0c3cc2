"""Which records of a disconnected instance come too late."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plumbline_contracts.events import Health, InstanceStatus, Product, RequestReason, RunSummary
from plumbline_score_api.instances.disconnection import connects, moment
from plumbline_score_api.projection.evaluations import Evaluation, Standing, last_precedence

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTES = st.integers(-500_000, 500_000)


def _run(minutes: int) -> RunSummary:
    began = AT + timedelta(minutes=minutes)
    return RunSummary(
        request_id="r",
        reason=RequestReason.SCHEDULE,
        started_at=began,
        completed_at=began + timedelta(minutes=1),
        succeeded=False,
        message="m",
    )


def _status(
    *, updated: int = 1, run: int | None = None, snapshot: int | None = None, health: Health = Health.HEALTHY
) -> InstanceStatus:
    return InstanceStatus(
        tenant="contoso",
        instance="sales-eu",
        product=Product.SALESFORCE,
        url="https://contoso.my.salesforce.com",
        health=health,
        message="m",
        updated_at=AT + timedelta(minutes=updated),
        last_run=_run(run) if run is not None else None,
        last_started_at=AT + timedelta(minutes=snapshot) if snapshot is not None else None,
    )


def _evaluation(minutes: int, evaluation_id: str = "e") -> Evaluation:
    started = AT + timedelta(minutes=minutes)
    precedence = f"{started.isoformat(timespec='milliseconds')}/{2**31 - 1:010d}/{evaluation_id}"
    return Evaluation("sales-eu", Product.SALESFORCE, "s", f"{evaluation_id}.d", precedence)


@given(MINUTES, MINUTES, st.sampled_from(["0", "z", "~", "\uffff"]))
def test_an_evaluation_is_late_exactly_when_its_snapshot_began_before(began: int, gone: int, name: str) -> None:
    standing = Standing(disconnected_at=AT + timedelta(minutes=gone))
    assert standing.takes(_evaluation(began, name)) is (began > gone)


@given(MINUTES, MINUTES)
def test_precedences_up_to_a_moment_are_not_greater(began: int, until: int) -> None:
    is_deleted = _evaluation(began).precedence <= last_precedence(AT + timedelta(minutes=until))
    assert is_deleted is (began <= until)


def test_without_a_disconnection_everything_is_taken() -> None:
    assert Standing().takes(_evaluation(-1000))
    assert Standing().takes_status(_status(updated=-1000, health=Health.PAUSED))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (_status(), False), (_status(run=-1), False), (_status(run=0), False), (_status(run=1), True),
        (_status(snapshot=1), True), (_status(run=-1, snapshot=-2), False),
        (_status(run=1, health=Health.FAILED), True),
        (_status(run=1, health=Health.PAUSED), False),
    ],
)  # fmt: skip
def test_a_status_connects_when_a_run_began_later(status: InstanceStatus, *, expected: bool) -> None:
    assert connects(status, AT) is expected
    assert Standing(disconnected_at=AT, is_disconnected=True).takes_status(status) is expected


def test_once_it_is_connected_again_every_later_status_is_of_it() -> None:
    standing = Standing(disconnected_at=AT)
    assert standing.takes_status(_status(health=Health.PAUSED))
    assert not standing.takes_status(_status(updated=0))


@pytest.mark.parametrize(
    ("started", "status", "expected"),
    [(None, None, 0), (-5, _status(run=-3), 0), (2, None, 2), (None, _status(run=3), 3), (1, _status(snapshot=4), 4)],
)
def test_an_instance_is_not_disconnected_before_what_is_known_of_it(
    started: int | None, status: InstanceStatus | None, expected: int
) -> None:
    known = AT + timedelta(minutes=started) if started is not None else None
    assert moment(AT, known, status) == AT + timedelta(minutes=expected)
