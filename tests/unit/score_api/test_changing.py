"""What lies between two states adds up, however it is cut."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plumbline_contracts.events import Insights, Outcome
from plumbline_score_api.changes.changes import ChangeKind, changes_of
from plumbline_score_api.decisions.decision import Status
from plumbline_score_api.history.changing import (
    ControlChange,
    InsightsChange,
    Kind,
    Point,
    Score,
    State,
    Sums,
    Tally,
    Totals,
    add,
    between,
    counted_changes,
    merge,
    states_of,
    totals_of,
    undo,
)
from plumbline_score_api.history.slices import WHOLE, Slice
from plumbline_score_api.history.tallies import day_tally

from tests.unit.score_api.painting import START, control, decision, definition, picture

STATE = st.builds(
    State,
    outcome=st.sampled_from(list(Outcome)),
    status=st.sampled_from(list(Status)),
    is_stale=st.booleans(),
    current=st.integers(0, 40).map(lambda n: n / 4),
    maximum=st.integers(0, 10).map(float),
    category=st.sampled_from(["Identity", "Apps"]),
    frameworks=st.sampled_from([(), ("soc2",), ("cis_v8", "soc2")]),
)
SLICES = [WHOLE, Slice("Identity"), Slice("Apps"), Slice("Data"), Slice(framework="soc2"), Slice(framework="cis_v8")]
every_slice = pytest.mark.parametrize("part", SLICES, ids=lambda part: part.category or part.framework or "whole")
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


@every_slice
@settings(deadline=None)
@given(STATES, STATES)
def test_changes_of_a_slice_are_the_difference_of_its_scores(
    part: Slice, before: dict[str, State], after: dict[str, State]
) -> None:
    (current, most), (was, was_most) = (_total(_within(part, states)) for states in (after, before))
    changes = between("i", before, after, {})
    assert _sum(part.changes(changes)) == (round(current - was, 3), round(most - was_most, 3))
    assert part.changes(changes) == between("i", _within(part, before), _within(part, after), {})


@settings(deadline=None)
@given(STATES, STATES)
def test_categories_share_what_changed_among_them(before: dict[str, State], after: dict[str, State]) -> None:
    changes = between("i", before, after, {})
    parts = [_sum(Slice(name).changes(changes)) for name in ("Identity", "Apps")]
    assert tuple(round(sum(each), 3) for each in zip(*parts, strict=True)) == _sum(changes)


@settings(deadline=None)
@given(st.lists(STATES, min_size=1, max_size=6), st.data())
def test_going_back_gives_what_stood_then(states: list[dict[str, State]], data: st.DataObject) -> None:
    points = [_point(between("i", one, other, {})) for one, other in pairwise(states)]
    place = data.draw(st.integers(0, len(states) - 1))
    assert undo(states[-1], points[place:]) == states[place]


# --- what a day brings


@every_slice
@settings(deadline=None)
@given(st.lists(STATES, min_size=2, max_size=6))
def test_points_gained_and_lost_lead_from_the_first_score_to_the_last(
    part: Slice, states: list[dict[str, State]]
) -> None:
    day = day_tally([], [], is_first=False)
    for one, other in pairwise(states):
        day = day.plus(day_tally(between("i", one, other, {}), [], is_first=False))
    found, (current, _), (was, _) = part.tally(day), *(_total(_within(part, states[n])) for n in (-1, 0))
    assert round(found.gained - found.lost, 3) == round(current - was, 3)
    assert min(found.gained, found.lost) >= 0


@every_slice
@settings(deadline=None)
@given(st.lists(STATES, min_size=2, max_size=6))
def test_what_fails_or_is_accepted_at_the_end_came_and_did_not_go(part: Slice, states: list[dict[str, State]]) -> None:
    """Open at the end = open at the beginning + what came - what went."""
    tallies = [
        part.tally(day_tally(between("i", one, other, {}), [], is_first=False)) for one, other in pairwise(states)
    ]
    found = tallies[0]
    for tally in tallies[1:]:
        found = found.plus(tally)
    first, last = (_within(part, states[place]).values() for place in (0, -1))

    def accepted(of: Any) -> int:
        return sum(state.status is Status.RISK_ACCEPTED for state in of)

    assert accepted(last) == accepted(first) + found.newly_accepted - found.acceptances_ended
    assert 0 <= found.regressed <= found.newly_failing
    assert found.acceptances_expired <= found.acceptances_ended


def test_a_day_tells_what_fails_again_what_is_mended_and_which_risks_came_and_went() -> None:
    def state(outcome: Outcome, status: Status = Status.TO_ADDRESS) -> State:
        points = 4.0 if outcome is Outcome.PASS else 0.0
        return State(outcome=outcome, status=status, is_stale=False, current=points, maximum=4, category="Apps")

    accepted, failing, passing = (
        state(Outcome.FAIL, Status.RISK_ACCEPTED), state(Outcome.FAIL), state(Outcome.PASS, Status.COMPLETED),
    )  # fmt: skip
    before = {"A": passing, "B": failing, "C": state(Outcome.UNKNOWN), "D": accepted, "E": failing, "F": accepted}
    after = {"A": failing, "B": passing, "C": failing, "D": failing, "E": accepted, "F": passing, "G": failing}
    changes = between("i", before, after, {"D": ("system", "Its time was over.")})
    expected = Tally(
        gained=8, lost=4, newly_failing=3, regressed=1, mended=2, newly_accepted=1, acceptances_ended=2,
        acceptances_expired=1,
    )  # fmt: skip
    assert day_tally(changes, [], is_first=False).whole == expected
    assert day_tally(changes, [], is_first=False).categories == {"Apps": expected}
    begun = day_tally(between("i", {}, before, {}), [], is_first=True).whole
    assert (begun.gained, begun.newly_failing, begun.regressed, begun.mended) == (4, 0, 0, 0)


def test_insights_bring_points_and_no_findings() -> None:
    totals = Totals(score=Score(current=3, max=9), categories={"Apps": Sums(score=Score(current=1, max=4))})
    (change,) = counted_changes({"a": Insights.OFF}, {"a": Insights.ON}, {"a": totals}, {})
    day = day_tally([], [change], is_first=False)
    assert (day.whole.gained, day.categories["Apps"].gained, day.whole.newly_failing) == (3, 1, 0)
    (within,) = Slice("Apps").insights([change])
    assert (within.points, within.max_points, within.categories) == (1, 4, {})
    (nothing,) = Slice(framework="soc2").insights([change])
    assert isinstance(nothing, InsightsChange)
    assert (nothing.points, nothing.max_points) == (0, 0)


def test_a_control_that_counts_elsewhere_is_mapped_and_no_news() -> None:
    was, now = (
        picture([control("A", Outcome.PASS)], definitions=[definition("A", frameworks=frameworks)])
        for frameworks in ({"soc2": ["1"]}, {"soc2": ["1"], "cis_v8": ["2"], "empty": []})
    )
    changes = between("i", states_of(was), states_of(now), {})
    assert [(change.kind, change.points) for change in changes] == [(Kind.MAPPED, 0)]
    assert [(c.kind, c.points) for c in Slice(framework="cis_v8").changes(changes)] == [(Kind.ADDED, 4)]
    assert [(c.kind, c.points) for c in Slice(framework="soc2").changes(changes)] == [(Kind.MAPPED, 0)]
    assert changes_of(_point(changes), "i") == []


def _within(part: Slice, states: dict[str, State]) -> dict[str, State]:
    return {name: state for name, state in states.items() if part.holds(state)}


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
    assert {name: sums.score for name, sums in both.categories.items()} == {"Identity": both.score}
    assert both.categories["Identity"].statuses == both.statuses
    assert both.statuses == {"completed": 1, "planned": 1, "to_address": 1}
    assert add([]) == Totals()


CONTROLS = st.lists(
    st.tuples(st.sampled_from(list(Outcome)), st.floats(0.01, 0.99), st.sampled_from(["Apps", "Data"]), st.booleans()),
    max_size=5,
)


def _drawn(controls: list[Any], instance: str) -> Totals:
    named = [(f"C-{number}", *each) for number, each in enumerate(controls)]
    return totals_of(
        picture(
            [control(name, outcome, share=share) for name, outcome, share, *_ in named],
            instance=instance,
            definitions=[
                definition(name, category=category, frameworks={"soc2": ["1"]} if is_mapped else {})
                for name, _, _, category, is_mapped in named
            ],
            stale_at=START,
            clock=START if len(controls) % 2 else None,
        )
    )


@settings(deadline=None)
@given(st.lists(CONTROLS, min_size=1, max_size=4), CONTROLS)
def test_what_one_instance_adds_can_be_exchanged(drawn: list[list[Any]], new: list[Any]) -> None:
    totals = [_drawn(controls, f"i{number}") for number, controls in enumerate(drawn)]
    now = _drawn(new, "i0")
    assert add([add(totals), now], less=[totals[0]]) == add([now, *totals[1:]])
    assert add(totals, less=totals) == Totals()


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


def test_listeners_hear_when_an_instance_becomes_stale_and_fresh_again() -> None:
    for number, is_stale in ((1, True), (-1, False)):
        point = Point(
            scope="instance:i", seq=2, at=START, totals=Totals(stale=3), points=0, max_points=0, stale_instances=number
        )
        (told,) = changes_of(point, "i")
        assert (told.kind, told.instance, told.data["is_stale"]) == (ChangeKind.STALENESS_CHANGED, "i", is_stale)
        assert changes_of(point, None) == []
