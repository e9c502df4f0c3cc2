"""Former days are made out exactly, in whatever steps and order the points come."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
from plumbline_contracts.events import Insights, Outcome
from plumbline_score_api.decisions.decision import Status
from plumbline_score_api.graph.past import Past, adds_up
from plumbline_score_api.history.changing import (
    InsightsChange,
    Point,
    Score,
    Source,
    State,
    Totals,
    between,
    instance_scope,
)
from plumbline_score_api.scores.scoring import counted

from tests.unit.score_api.painting import START

States = dict[str, State]


def _state(current: float) -> State:
    outcome = Outcome.PASS if current else Outcome.FAIL
    return State(outcome=outcome, status=Status.TO_ADDRESS, is_stale=False, current=current, maximum=4.0)


def _point(scope: str, seq: int, **more: object) -> Point:
    return Point(scope=scope, seq=seq, at=START, totals=Totals(), points=0, max_points=0, **more)


_STATES = st.dictionaries(st.sampled_from(["C-1", "C-2", "C-3"]), st.sampled_from([0.0, 4.0]).map(_state))
_EVENTS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("ab"), _STATES),
        st.tuples(st.sampled_from("ab"), st.sampled_from(Insights)),
    ),
    max_size=12,
)


class World:
    """A tenant that is recorded event by event, and what stood after each."""

    def __init__(self) -> None:
        self.states: dict[str, States] = {}
        self.insights: dict[str, Insights] = {}
        self.numbers: dict[str, int] = {}
        self.number = 0
        self.then: list[tuple[dict[str, dict[str, State]], Point | None, Point | None]] = []

    def controls(self) -> dict[str, dict[str, State]]:
        found: dict[str, dict[str, State]] = {}
        for instance in sorted(counted(self.insights) & self.states.keys()):
            for name, state in self.states[instance].items():
                found.setdefault(name, {})[instance] = state
        return found

    def take(self, instance: str, event: States | Insights) -> None:
        before, of_tenant, of_instance = self.controls(), None, None
        if isinstance(event, dict):
            changes = between(instance, self.states.get(instance, {}), event, {})
            self.states[instance] = event
            seq = self.numbers[instance] = self.numbers.get(instance, 0) + 1
            of_instance = _point(instance_scope(instance), seq, changes=changes)
            if instance in counted(self.insights):
                self.number += 1
                of_tenant = _point("tenant", self.number, source=Source(instance=instance, seq=seq))
        elif self.insights.get(instance) is not event:
            change = InsightsChange(
                instance=instance, before=self.insights.get(instance), after=event, points=0, max_points=0
            )
            self.insights[instance] = event
            self.number += 1
            of_tenant = _point("tenant", self.number, insights=[change])
        self.then.append((before, of_tenant, of_instance))

    def past(self) -> Past:
        return Past(self.states, counted(self.insights), self.numbers, self.number)


@given(_EVENTS, st.lists(st.integers(1, 4)), st.booleans())
def test_undoing_what_came_later_gives_what_stood(
    events: list[tuple[str, States | Insights]], steps: list[int], is_reversed: bool
) -> None:
    world = World()
    for instance, event in events:
        world.take(instance, event)
    past, place, sizes = world.past(), len(world.then), itertools.chain(steps, itertools.repeat(1))
    assert past.controls() == world.controls()
    while place:
        size = min(next(sizes), place)
        taken = world.then[place - size : place]
        of_tenant = [point for _, point, _ in taken if point is not None]
        own = [point for _, _, point in taken if point is not None]
        if is_reversed:
            of_tenant.reverse()
            own.reverse()
        past.undo(of_tenant, [*own, *own])
        place -= size
        assert past.controls() == world.then[place][0]


def test_what_was_recorded_after_the_walk_began_is_not_undone() -> None:
    world = World()
    world.take("a", Insights.MAIN)
    world.take("a", {"C-1": _state(0.0)})
    past = world.past()
    world.take("a", {"C-1": _state(4.0)})
    world.take("a", Insights.OFF)
    later = world.then[2:]
    past.undo([point for _, point, _ in later if point], [point for _, _, point in later if point])
    assert past.controls() == {"C-1": {"a": _state(0.0)}}


def test_an_instance_s_change_is_undone_once_with_the_tenant_s_point_or_its_own() -> None:
    world = World()
    world.take("a", Insights.MAIN)
    world.take("a", {"C-1": _state(0.0)})
    world.take("a", {"C-1": _state(4.0)})
    past, (_, tenant, instance) = world.past(), world.then[2]
    assert tenant is not None
    assert instance is not None
    past.undo([tenant], [instance])
    past.undo([], [instance])
    assert past.controls() == {"C-1": {"a": _state(0.0)}}


def test_controls_add_up_to_the_score_or_are_not_all() -> None:
    controls = {"C-1": {"a": _state(4.0), "b": _state(0.0)}}
    assert adds_up(controls, Score(current=4.0, max=8.0))
    assert not adds_up(controls, Score(current=3.0, max=8.0))
    assert not adds_up(controls, Score(current=4.0, max=12.0))
    assert adds_up({}, Score())
