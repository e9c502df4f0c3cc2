"""What time alone does to an evaluation."""

from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from plumbline_contracts.events import Outcome, UnknownReason
from plumbline_score_api.decisions.decision import Status
from plumbline_score_api.pictures.aging import TICK, aged, next_due, turned
from plumbline_score_api.pictures.control import Control
from plumbline_score_api.pictures.picture import InstancePicture
from plumbline_score_api.scores.scoring import STALE_LIMIT

from tests.unit.score_api.painting import START, control, decision, picture

HOURS = st.integers(0, 100).map(lambda hours: timedelta(hours=hours))
MOMENTS = HOURS.map(lambda hours: START + hours)
CONTROLS = st.lists(
    st.tuples(st.sampled_from([Outcome.PASS, Outcome.FAIL, Outcome.PARTIAL]), st.none() | MOMENTS), max_size=6
).map(
    lambda drawn: [
        control(f"C-{number}", outcome, share=0.5, stale_since=since) for number, (outcome, since) in enumerate(drawn)
    ]
)


def _at(controls: list[Control], clock: datetime | None, *, stale_at: datetime | None = None) -> InstancePicture:
    return picture(controls, clock=clock, stale_at=stale_at)


def test_what_stands_in_does_so_for_a_day_and_no_longer() -> None:
    standing = control("A", Outcome.PASS, stale_since=START)
    assert aged(standing, None) == standing
    assert aged(standing, START + STALE_LIMIT) == standing
    lost = aged(standing, START + STALE_LIMIT + TICK)
    assert (lost.outcome, lost.reason, lost.points) == (Outcome.UNKNOWN, UnknownReason.COLLECTION_ERROR, 0)
    assert (lost.stale_since, lost.changed_at) == (None, START + STALE_LIMIT)
    assert "24 hours" in lost.explanation
    assert standing.explanation in lost.explanation


def test_what_was_measured_does_not_age_by_itself() -> None:
    measured = control("A", Outcome.PASS)
    assert aged(measured, START + timedelta(days=1000)) == measured


def test_a_stale_instance_keeps_its_outcomes_and_measures_nothing() -> None:
    controls = [control("A", Outcome.PASS), control("B"), control("C", Outcome.UNKNOWN)]
    fresh, stale = (_at(controls, clock, stale_at=START) for clock in (START - TICK, START))
    assert fresh.stale_since is None
    assert (fresh.summary.stale, fresh.summary.stale_since) == (0, None)
    assert (stale.stale_since, stale.summary.stale_since, stale.summary.stale) == (START, START, 3)
    assert (stale.summary.points.current, stale.summary.points.measured) == (4, 0)
    assert (fresh.summary.points.current, fresh.summary.points.measured) == (4, 8)
    assert stale.summary.outcomes == fresh.summary.outcomes


def test_the_oldest_of_what_is_stale_is_told() -> None:
    before = START - timedelta(hours=3)
    stale = _at([control("A", Outcome.PASS, stale_since=before), control("B")], START, stale_at=START)
    assert [item.stale_since for item in stale.items] == [before, START]
    assert stale.summary.stale_since == before


def test_a_decision_speaks_for_what_became_unknown() -> None:
    standing = control("A", Outcome.PASS, stale_since=START)
    found = picture([standing], decision("A", Status.PLANNED), clock=START + timedelta(hours=25)).items[0]
    assert (found.status, found.points.current, found.points.planned) == (Status.PLANNED, 0, 4)


@settings(deadline=None)
@given(CONTROLS, MOMENTS, MOMENTS, MOMENTS)
def test_time_never_raises_a_score(controls: list[Control], stale_at: datetime, one: datetime, other: datetime) -> None:
    sooner, later = (_at(controls, clock, stale_at=stale_at).summary.points for clock in sorted((one, other)))
    for name in ("current", "planned", "measured"):
        assert getattr(later, name) <= getattr(sooner, name)
    assert later.maximum == sooner.maximum


@settings(deadline=None)
@given(CONTROLS, st.none() | MOMENTS)
def test_all_that_time_changes_is_due_and_nothing_else(controls: list[Control], stale_at: datetime | None) -> None:
    """From due moment to due moment something changes each time, and just before it nothing has."""
    clock: datetime | None = None
    seen = _at(controls, clock, stale_at=stale_at)
    turns = 0
    while (due := next_due(controls, stale_at, clock)) is not None:
        just_before = _at(controls, due - TICK, stale_at=stale_at)
        assert (just_before.items, just_before.stale_since) == (seen.items, seen.stale_since)
        seen, clock, turns = _at(controls, due, stale_at=stale_at), due, turns + 1
        assert (just_before.items, just_before.stale_since) != (seen.items, seen.stale_since)
    assert turns <= len(controls) + 1
    end = _at(controls, START + timedelta(days=3650), stale_at=stale_at)
    assert (end.items, end.stale_since) == (seen.items, seen.stale_since)


@settings(deadline=None)
@given(CONTROLS, st.none() | MOMENTS, MOMENTS, MOMENTS)
def test_it_does_not_matter_how_often_a_clock_is_turned(
    controls: list[Control], stale_at: datetime | None, one: datetime, other: datetime
) -> None:
    sooner, later = sorted((one, other))
    at_once = turned(controls, stale_at, None, later)
    assert turned(controls, stale_at, turned(controls, stale_at, None, sooner).clock, later) == at_once
    assert at_once.clock is None or at_once.clock <= later
    assert at_once.next_due is None or at_once.next_due > later
    assert turned(controls, stale_at, at_once.clock, None) == at_once
