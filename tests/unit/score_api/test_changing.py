"""What lies between two states adds up, however it is cut."""

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from plumbline_contracts.events import Insights, Outcome
from plumbline_score_api.changes.changes import ChangeKind, changes_of
from plumbline_score_api.decisions.decision import Status
from plumbline_score_api.history.changing import (
    ControlChange,
    Kind,
    Point,
    Score,
    State,
    Totals,
    add,
    between,
    counted_changes,
    merge,
    states_of,
    totals_of,
)

from tests.unit.score_api.painting import START, control, decision, picture

STATE = st.builds(
    State,
    outcome=st.sampled_from(list(Outcome)),
    status=st.sampled_from(list(Status)),
    is_stale=st.booleans(),
    current=st.integers(0, 40).map(lambda n: n / 4),
    maximum=st.integers(0, 10).map(float),
)
STATES = st.dictionaries(st.sampled_from("ABCD"), STATE)


def _sum(changes: list[Any]) -> tuple[float, float]:
    return round(sum(c.points for c in changes), 3), round(sum(c.max_points for c in changes), 3)


def _total(states: dict[str, State]) -> tuple[float, float]:
    return round(sum(s.current for s in states.values()), 3), round(sum(s.maximum for s in states.values()), 3)


@settings(deadline=None)
@given(STATES, STATES)
def test_changes_are_the_difference_of_the_scores(before: dict[str, State], after: dict[str, State]) -> None:
    (current, most), (was, was_most) = _total(after), _total(before)
    assert _sum(between("i", before, after, {})) == (round(current - was, 3), round(most - was_most, 3))
    assert between("i", before, before, {}) == []


@settings(deadline=None)
@given(st.lists(STATES, min_size=2, max_size=6))
def test_changes_one_after_the_other_merge_to_those_between_the_ends(states: list[dict[str, State]]) -> None:
    steps = [c for one, other in pairwise(states) for c in between("i", one, other, {})]
    ends = between("i", states[0], states[-1], {})
    assert sorted(merge(steps), key=lambda c: c.control_id) == ends


def test_kinds() -> None:
    was = picture([control("A"), control("B", Outcome.PASS), control("C"), control("D"), control("E")])
    now = picture(
        [control("A", Outcome.PASS), control("B"), control("C"), control("D", Outcome.UNKNOWN), control("F")],
        decision("C", Status.RESOLVED_THIRD_PARTY),
    )
    found = between("i", states_of(was), states_of(now), {"C": ("ann", "why")})
    assert {change.control_id: (change.kind, change.points, change.by) for change in found} == {
        "A": (Kind.GAINED, 4, None),
        "B": (Kind.LOST, -4, None),
        "C": (Kind.STATUS, 4, "ann"),
        "D": (Kind.CHANGED, 0, None),
        "E": (Kind.RETIRED, 0, None),
        "F": (Kind.ADDED, 0, None),
    }


def test_totals_of_instances_add_up() -> None:
    one = totals_of(picture([control("A", Outcome.PASS), control("B", Outcome.PARTIAL, share=1 / 3)]))
    other = totals_of(picture([control("A")], decision("A", Status.PLANNED), instance="other"))
    both = add([one, other])
    assert (both.score.current, both.score.max, both.score.planned) == (5.333, 12, 9.333)
    assert both.score.percentage == 44.44
    assert both.categories == {"Identity": both.score}
    assert both.statuses == {"completed": 1, "planned": 1, "to_address": 1}
    assert add([]) == Totals()


def test_insights_bring_and_take_what_an_instance_adds() -> None:
    parts = {name: Totals(score=Score(current=3, max=9)) for name in "abcd"}
    before = {"a": Insights.MAIN, "b": Insights.OFF, "c": Insights.ON}
    after = {"a": Insights.ON, "b": Insights.MAIN, "c": Insights.OFF, "d": Insights.ON, "e": Insights.MAIN}
    found = counted_changes(before, after, parts, {"b": ("ann", "why")})
    assert [(change.instance, change.points, change.max_points, change.by) for change in found] == [
        ("a", 0, 0, None), ("b", 3, 9, "ann"), ("c", -3, -9, None), ("d", 3, 9, None),
    ]  # fmt: skip


def _point(changes: list[ControlChange], *, seq: int = 2, points: float = 0.0) -> Point:
    return Point(scope="instance:i", seq=seq, at=START, totals=Totals(), points=points, max_points=0, changes=changes)


def test_listeners_hear_of_findings_statuses_and_scores() -> None:
    was = picture([control("A"), control("B")])
    now = picture([control("A", Outcome.PASS), control("B")], decision("B"))
    changes = between("i", states_of(was), states_of(now), {})
    told = changes_of(_point(changes, points=4), "i")
    assert [(change.kind, change.control_id) for change in told] == [
        (ChangeKind.FINDING_CHANGED, "A"),
        (ChangeKind.STATUS_CHANGED, "A"),
        (ChangeKind.STATUS_CHANGED, "B"),
        (ChangeKind.SCORE_CHANGED, None),
    ]
    assert len({change.event_id for change in told}) == 4
    assert changes_of(_point(changes, points=4), "i") == told
    assert [change.kind for change in changes_of(_point(changes, seq=1, points=4), "i")] == [ChangeKind.SCORE_CHANGED]
