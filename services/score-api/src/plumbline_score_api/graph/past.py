"""What stood for every control on a former day: today's states with everything undone that came later. Pure."""

from collections.abc import Iterable, Mapping

from plumbline_contracts.events import Insights

from plumbline_score_api.history.changing import Point, Score, State

EQUAL_POINTS = 0.01


class Past:
    """The states of a tenant's instances, and which instances counted, at a moment that moves back.

    `numbers` is up to which point of each instance the states go, `number` the same for the tenant.
    """

    def __init__(
        self,
        states: Mapping[str, Mapping[str, State]],
        counted: Iterable[str],
        numbers: Mapping[str, int],
        number: int,
    ) -> None:
        self._states = {instance: dict(found) for instance, found in states.items()}
        self._counted, self._numbers, self._number = set(counted), numbers, number
        self._undone: set[tuple[str, int]] = set()

    def undo(self, tenant_points: Iterable[Point], instance_points: Iterable[Point]) -> None:
        """Go back before these points, which come after all that are still to be undone; twice is as good as once."""
        found = {
            (point.scope.removeprefix("instance:"), point.seq): point
            for point in instance_points
            if point.seq <= self._numbers.get(point.scope.removeprefix("instance:"), 0)
        }
        for key in sorted(found.keys() - self._undone, key=lambda key: (key[0], -key[1])):
            self._undo_changes(key[0], found[key])
        self._undone |= found.keys()
        for point in sorted(tenant_points, key=lambda point: -point.seq):
            if point.seq <= self._number:
                self._undo_insights(point)

    def _undo_changes(self, instance: str, point: Point) -> None:
        states = self._states.setdefault(instance, {})
        for change in point.changes:
            if change.before is None:
                states.pop(change.control_id, None)
            else:
                states[change.control_id] = change.before

    def _undo_insights(self, point: Point) -> None:
        for change in point.insights:
            if change.before in (None, Insights.OFF):
                self._counted.discard(change.instance)
            else:
                self._counted.add(change.instance)

    def controls(self) -> dict[str, dict[str, State]]:
        """Control to instance to what stood, over the instances that counted."""
        found: dict[str, dict[str, State]] = {}
        for instance in sorted(self._counted & self._states.keys()):
            for control_id, state in self._states[instance].items():
                found.setdefault(control_id, {})[instance] = state
        return found


def adds_up(controls: Mapping[str, Mapping[str, State]], score: Score) -> bool:
    """Whether controls are all that a score is made of: they are not where retention has deleted what changed."""
    states = [state for found in controls.values() for state in found.values()]
    current, maximum = sum(state.current for state in states), sum(state.maximum for state in states)
    return abs(current - score.current) < EQUAL_POINTS and abs(maximum - score.max) < EQUAL_POINTS
