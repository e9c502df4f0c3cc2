"""Instances held against each other."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from plumbline_contracts.events import Outcome
from plumbline_score_api.comparisons.comparing import pairs, place, standings
from plumbline_score_api.decisions.decision import Status
from plumbline_score_api.history.changing import State

STATE = st.builds(
    State,
    outcome=st.sampled_from(list(Outcome)),
    status=st.sampled_from(list(Status)),
    is_stale=st.booleans(),
    current=st.integers(0, 40).map(lambda n: n / 4),
    maximum=st.just(10.0),
)
STATES = st.dictionaries(st.sampled_from(["C-1", "C-2", "C-3", "C-4"]), STATE)


def _state(points: float, outcome: Outcome = Outcome.PARTIAL, **more: Any) -> State:
    fields = {"status": Status.TO_ADDRESS, "is_stale": False, "maximum": 10.0}
    return State(outcome=outcome, current=points, **(fields | more))


@settings(deadline=None)
@given(STATES, STATES)
def test_points_of_all_controls_are_the_difference_of_the_scores(
    one: dict[str, State], other: dict[str, State]
) -> None:
    found = pairs(one, other)
    assert {pair.control_id for pair in found} == one.keys() | other.keys()
    difference = sum(s.current for s in one.values()) - sum(s.current for s in other.values())
    assert round(sum(pair.points for pair in found), 3) == round(difference, 3)
    turned = {pair.control_id: pair for pair in pairs(other, one)}
    assert all(turned[pair.control_id].points == -pair.points for pair in found)
    assert all(turned[pair.control_id].is_different == pair.is_different for pair in found)


@settings(deadline=None)
@given(STATES, STATES)
def test_differences_come_first_and_the_largest_before_others(one: dict[str, State], other: dict[str, State]) -> None:
    order = [(not pair.is_different, -abs(pair.points), pair.control_id) for pair in pairs(one, other)]
    assert order == sorted(order)
    assert len({pair.key for pair in pairs(one, other)}) == len(order)
    assert not any(pair.is_different for pair in pairs(one, one))


def test_what_makes_a_difference() -> None:
    mine = {
        "A": _state(2), "B": _state(2), "C": _state(2), "D": _state(2, is_stale=True, category="Apps"), "E": _state(0),
    }  # fmt: skip
    others = {
        "A": _state(3), "B": _state(2, Outcome.FAIL), "C": _state(2, status=Status.PLANNED), "D": _state(2),
    }  # fmt: skip
    found = {pair.control_id: (pair.is_different, pair.points) for pair in pairs(mine, others)}
    assert found == {"A": (True, -1), "B": (True, 0), "C": (True, 0), "D": (False, 0), "E": (True, 0)}


def test_among_peers_those_count_to_which_a_control_applies() -> None:
    mine = {"A": _state(1), "B": _state(9), "C": _state(3)}
    peers = [
        {"A": _state(10, Outcome.PASS), "B": _state(0, Outcome.NOT_APPLICABLE)},
        {"A": _state(4), "B": _state(2), "D": _state(1)},
        {},
    ]
    found = {each.control_id: each for each in standings(mine, peers)}
    assert list(found) == ["A", "C", "B"]
    assert (found["A"].peers, found["A"].passing, found["A"].average, found["A"].best) == (2, 1, 7, 10)
    assert (found["A"].behind, found["B"].behind) == (6, -7)
    assert (found["C"].peers, found["C"].average, found["C"].best, found["C"].behind) == (0, None, None, 0)


@settings(deadline=None)
@given(STATES, st.lists(STATES, max_size=4))
def test_the_best_peer_is_no_worse_than_the_average(mine: dict[str, State], peers: list[dict[str, State]]) -> None:
    found = standings(mine, peers)
    assert sorted(each.control_id for each in found) == sorted(mine)
    for each in found:
        assert each.passing <= each.peers <= len(peers)
        assert (each.average is None) == (each.best is None) == (each.peers == 0)
        if each.average is not None and each.best is not None:
            assert each.average <= each.best + 0.001


def test_equals_share_a_place() -> None:
    assert [place(mine, [50, 70, 70]) for mine in (80, 70, 60, 50, 10)] == [1, 1, 3, 3, 4]
    assert place(0, []) == 1
