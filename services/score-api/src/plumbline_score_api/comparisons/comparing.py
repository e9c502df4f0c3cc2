"""Two instances control by control, and one against its peers. Pure.

Both work on what stands for every control, so that an instance of today can be held against one of the past.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from plumbline_contracts.events import Outcome

from plumbline_score_api.history.changing import State

_MOST_POINTS = 10.0


@dataclass(frozen=True)
class Pair:
    """One control on two instances; None where an instance does not have it."""

    control_id: str
    one: State | None
    other: State | None

    @property
    def points(self) -> float:
        """Achieved points of the one, less those of the other."""
        return round(_achieved(self.one) - _achieved(self.other), 3)

    @property
    def is_different(self) -> bool:
        """Whether outcome, status or points differ. How old a result is, and where it counts, makes no difference."""
        return _standing(self.one) != _standing(self.other)

    @property
    def key(self) -> str:
        """Sorts as text: differences first, those of most points before others; then by control."""
        distance = round((_MOST_POINTS - abs(self.points)) * 1000)
        return f"{int(not self.is_different)}/{distance:05d}/{self.control_id}"


def pairs(one: Mapping[str, State], other: Mapping[str, State]) -> list[Pair]:
    """All controls of both, differences first."""
    found = [Pair(name, one.get(name), other.get(name)) for name in one.keys() | other.keys()]
    return sorted(found, key=lambda pair: pair.key)


def _achieved(state: State | None) -> float:
    return state.current if state is not None else 0.0


def _standing(state: State | None) -> tuple[object, ...] | None:
    return (state.outcome, state.status, state.current, state.maximum) if state is not None else None


@dataclass(frozen=True)
class Standing:
    """One control of an instance among its peers: those that have it and to which it applies."""

    control_id: str
    state: State
    peers: int
    passing: int
    average: float | None
    best: float | None

    @property
    def behind(self) -> float:
        """Points that the average peer has and this one has not; less than 0 when it is ahead."""
        return round(self.average - self.state.current, 3) if self.average is not None else 0.0

    @property
    def key(self) -> str:
        """Sorts as text: where it is furthest behind first; then by control."""
        return f"{round((_MOST_POINTS - self.behind) * 1000):05d}/{self.control_id}"


def standings(mine: Mapping[str, State], peers: Sequence[Mapping[str, State]]) -> list[Standing]:
    """All controls of an instance against its peers, where it is furthest behind first."""
    found = [_standing_of(name, state, [peer[name] for peer in peers if name in peer]) for name, state in mine.items()]
    return sorted(found, key=lambda each: each.key)


def _standing_of(name: str, state: State, others: Iterable[State]) -> Standing:
    judged = [other for other in others if other.outcome is not Outcome.NOT_APPLICABLE]
    points = [other.current for other in judged]
    return Standing(
        control_id=name,
        state=state,
        peers=len(judged),
        passing=sum(other.outcome is Outcome.PASS for other in judged),
        average=round(sum(points) / len(points), 3) if points else None,
        best=max(points, default=None),
    )


def place(mine: float, others: Iterable[float]) -> int:
    """The place of a percentage among those of others, from 1; equals share it."""
    return 1 + sum(other > mine for other in others)
