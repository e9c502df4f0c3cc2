"""What is due and what may be committed."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from plumbline_collector import collection, scheduling
from plumbline_collector.connections import Connection
from plumbline_collector.scheduling import next_to_run
from plumbline_contracts.events import InstanceStatus, RequestReason, RunSummary

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
CONNECTION = Connection.model_validate(
    {
        "tenant": "t",
        "instance": "i",
        "product": "servicenow",
        "url": "https://x.service-now.com",
        "auth": {"method": "basic", "username": "u", "password": {"env": "X"}},
    }
)


def _status(*, succeeded: bool, ago: timedelta, failures: int = 0) -> InstanceStatus:
    at = NOW - ago
    run = RunSummary(
        request_id="r", reason="schedule", started_at=at, completed_at=at, succeeded=succeeded, message="m"
    )
    return InstanceStatus(
        tenant="t",
        instance="i",
        product="servicenow",
        url="u",
        health="healthy",
        message="m",
        updated_at=at,
        last_run=run,
        consecutive_failures=failures,
    )


def _due(status: InstanceStatus | None) -> list[str]:
    known = {} if status is None else {"t/i": status}
    return [request.request_id for request in scheduling.due_requests([CONNECTION], known, NOW)]


def test_an_instance_that_was_never_read_is_due_at_once() -> None:
    assert len(_due(None)) == 1


def test_an_instance_is_due_after_its_interval() -> None:
    assert _due(_status(succeeded=True, ago=timedelta(minutes=59))) == []
    assert len(_due(_status(succeeded=True, ago=timedelta(minutes=60)))) == 1


def test_two_schedulers_write_one_request() -> None:
    status = _status(succeeded=True, ago=timedelta(hours=2))
    later = scheduling.due_requests([CONNECTION], {"t/i": status}, NOW + timedelta(seconds=30))
    assert _due(status) == [later[0].request_id]


def test_a_failed_instance_waits_longer_each_time() -> None:
    assert _due(_status(succeeded=False, ago=timedelta(seconds=29), failures=1)) == []
    assert len(_due(_status(succeeded=False, ago=timedelta(seconds=30), failures=1))) == 1
    assert _due(_status(succeeded=False, ago=timedelta(seconds=119), failures=3)) == []
    assert len(_due(_status(succeeded=False, ago=timedelta(hours=1), failures=99))) == 1


def test_a_start_is_later_than_the_last_whatever_the_clock_says() -> None:
    last = NOW + timedelta(hours=1)
    assert collection.start_after(last, NOW) == last + timedelta(milliseconds=1)
    assert collection.start_after(NOW - timedelta(hours=1), NOW) == NOW


@given(st.permutations(list(range(6))))
def test_only_a_finished_prefix_is_committed(order: list[int]) -> None:
    tracker = scheduling.OffsetTracker()
    for offset in range(10, 16):
        assert tracker.add(offset)
    assert not tracker.add(12)
    done: set[int] = set()
    committed = 10
    for position in order:
        tracker.finish(10 + position)
        done.add(10 + position)
        at = tracker.committable()
        if at is not None:
            assert at > committed
            committed = at
        assert all(offset in done for offset in range(10, committed))
    assert committed == 16
    assert len(tracker) == 0


def test_people_go_first_and_then_changes() -> None:
    waiting = {
        "a/scheduled": [RequestReason.SCHEDULE],
        "a/changed": [RequestReason.SCHEDULE, RequestReason.CHANGE],
        "a/asked": [RequestReason.USER],
    }
    assert next_to_run(waiting, set(), 2, tenants=1) == ["a/asked", "a/changed"]


def test_slow_instances_of_one_tenant_leave_places_for_the_others() -> None:
    waiting = {f"slow/{n}": [RequestReason.USER] for n in range(9)} | {"other/1": [RequestReason.SCHEDULE]}
    assert next_to_run(waiting, set(), 4, tenants=2) == ["slow/0", "slow/1", "other/1"]
    assert next_to_run(waiting, {"slow/0", "slow/1"}, 4, tenants=2) == ["other/1"]
    assert len(next_to_run(waiting, set(), 4, tenants=1)) == 4


def test_a_running_instance_waits_for_itself() -> None:
    assert next_to_run({"a/1": [RequestReason.USER]}, {"a/1"}, 4, tenants=1) == []
    assert next_to_run({"a/2": [RequestReason.USER]}, {"a/1"}, 1, tenants=1) == []
