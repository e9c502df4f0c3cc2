"""When a collection is due, how the rhythms give way, and which offsets may be committed."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plumbline_collector.scheduling import (
    LONGEST_BACKOFF,
    OffsetTracker,
    backoff,
    due_at,
    due_requests,
    full_interval,
    spent_share,
    watch_interval,
)

from tests.unit.collector.runtime.samples import NOW, budget, connection, run, status

HOUR = timedelta(hours=1)


def test_an_instance_that_was_never_tried_is_due_at_once() -> None:
    (request,) = due_requests([connection()], {}, NOW)
    assert (request.key, request.requested_by) == ("contoso/sales-eu", "scheduler")


def test_a_collection_is_due_one_interval_after_the_last_start() -> None:
    statuses = {"contoso/sales-eu": status(last_run=run(at=NOW))}
    assert due_requests([connection()], statuses, NOW + HOUR - timedelta(seconds=1)) == []
    assert len(due_requests([connection()], statuses, NOW + HOUR)) == 1


def test_two_schedulers_write_the_same_request_and_the_next_due_time_another() -> None:
    statuses = {"contoso/sales-eu": status(last_run=run(at=NOW))}
    (one,) = due_requests([connection()], statuses, NOW + HOUR)
    (two,) = due_requests([connection()], statuses, NOW + 2 * HOUR)
    assert one.request_id == two.request_id
    later = {"contoso/sales-eu": status(last_run=run(at=NOW + HOUR))}
    (three,) = due_requests([connection()], later, NOW + 3 * HOUR)
    assert three.request_id != one.request_id


def test_a_failed_instance_waits_longer_each_time_and_its_neighbour_does_not() -> None:
    waits = []
    for failures in (1, 2, 3, 40):
        failed = status(last_run=run(succeeded=False), consecutive_failures=failures)
        due = due_at(connection(schedule={"full": "1d"}), failed, NOW)
        assert due is not None
        waits.append((due - NOW).total_seconds())
    assert waits == [30, 60, 120, LONGEST_BACKOFF.total_seconds()]
    neighbour = connection("other")
    requests = due_requests([connection(), neighbour], {"contoso/sales-eu": failed}, NOW)
    assert [request.key for request in requests] == [neighbour.key]


def test_a_failed_instance_is_tried_at_least_as_often_as_its_schedule() -> None:
    failed = status(last_run=run(succeeded=False), consecutive_failures=40)
    assert due_at(connection(schedule={"full": "5m"}), failed, NOW) == NOW + timedelta(minutes=5)


@given(st.integers(min_value=0, max_value=10_000))
def test_the_back_off_is_bounded(failures: int) -> None:
    assert timedelta(seconds=30) <= backoff(failures) <= LONGEST_BACKOFF


@pytest.mark.parametrize(
    ("used", "total", "watch", "full"),
    [(0, 0, 1, 1), (49, 0, 1, 1), (50, 0, 2, 1), (75, 0, 4, 1), (90, 0, 16, 4), (120, 0, 16, 4), (1, 800, 4, 1)],
)
def test_the_watch_gives_way_before_the_full_runs(used: int, total: int, watch: int, full: int) -> None:
    spent, chosen = spent_share(budget(used, total=total), NOW), connection()
    assert watch_interval(chosen, spent) == chosen.schedule.changes * watch
    assert full_interval(chosen, spent) == chosen.schedule.full * full


def test_an_unknown_limit_or_yesterdays_count_stretches_nothing() -> None:
    assert spent_share(None, NOW) == 0
    assert spent_share(budget(500, limit=None), NOW) == 0
    assert spent_share(budget(99, day="2026-02-28"), NOW) == 0


def test_a_nearly_spent_share_delays_the_next_full_run() -> None:
    spent = status(last_run=run(), budget=budget(95))
    assert due_at(connection(), spent, NOW) == NOW + 4 * HOUR


@given(st.lists(st.integers(min_value=0, max_value=30), unique=True, min_size=1).map(sorted), st.data())
def test_only_a_finished_prefix_is_committed(offsets: list[int], data: st.DataObject) -> None:
    tracker, open_offsets = OffsetTracker(), set(offsets)
    for offset in offsets:
        assert tracker.add(offset)
    for offset in data.draw(st.permutations(offsets)):
        tracker.finish(offset)
        open_offsets.discard(offset)
        position = tracker.committable()
        if position is not None:
            assert all(unfinished >= position for unfinished in open_offsets)
    assert not open_offsets
    assert len(tracker) == 0


def test_everything_finished_commits_one_past_the_last_and_only_once() -> None:
    tracker = OffsetTracker()
    for offset in (3, 4, 7):
        tracker.add(offset)
    tracker.finish(7)
    assert tracker.committable() is None
    tracker.finish(3)
    assert tracker.committable() == 4
    tracker.finish(4)
    assert tracker.committable() == 8
    assert tracker.committable() is None


def test_an_offset_that_is_delivered_again_is_not_taken_twice() -> None:
    tracker = OffsetTracker()
    assert tracker.add(5)
    assert not tracker.add(5)
    tracker.finish(5)
    tracker.committable()
    assert not tracker.add(5)
    assert tracker.add(6)
