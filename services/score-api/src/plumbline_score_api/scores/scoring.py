"""How points become a score. Pure.

Points achieved / points possible over the controls in scope; NOT_APPLICABLE leaves both sides, UNKNOWN achieves
nothing. Coverage is the part of the possible points that was really measured.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce

from plumbline_contracts.events import Insights, Outcome

STALE_LIMIT = timedelta(hours=24)


@dataclass(frozen=True)
class Measured:
    """One control on one instance, as far as a score needs it."""

    outcome: Outcome
    points: float
    max_points: float
    is_stale: bool = False


@dataclass(frozen=True)
class Points:
    """Sums over some controls: points achieved, possible, and measured."""

    current: float = 0.0
    maximum: float = 0.0
    measured: float = 0.0

    def __add__(self, other: "Points") -> "Points":
        return Points(self.current + other.current, self.maximum + other.maximum, self.measured + other.measured)

    @property
    def percentage(self) -> float:
        """0 to 100, two decimals; 0 when nothing is possible."""
        return round(100 * self.current / self.maximum, 2) if self.maximum else 0.0

    @property
    def coverage(self) -> float:
        """0 to 100, two decimals: measured of possible; 0 when nothing is possible."""
        return round(100 * self.measured / self.maximum, 2) if self.maximum else 0.0


def points_of(control: Measured) -> Points:
    """What one control adds to a score."""
    if control.outcome is Outcome.NOT_APPLICABLE:
        return Points()
    achieved = 0.0 if control.outcome in (Outcome.UNKNOWN, Outcome.FAIL) else control.points
    is_measured = control.outcome is not Outcome.UNKNOWN and not control.is_stale
    return Points(achieved, control.max_points, control.max_points if is_measured else 0.0)


def total(parts: Iterable[Points]) -> Points:
    """The sum, rounded to 3 decimals so that its order does not show."""
    summed = reduce(Points.__add__, parts, Points())
    return Points(round(summed.current, 3), round(summed.maximum, 3), round(summed.measured, 3))


def counted(insights: Mapping[str, Insights]) -> set[str]:
    """The instances of a product that count: the main one and those that are turned on."""
    return {instance for instance, choice in insights.items() if choice is not Insights.OFF}


def is_still_stale(stale_since: datetime, now: datetime) -> bool:
    """Whether a result may still stand in for one that could not be read: for 24 hours."""
    return now - stale_since <= STALE_LIMIT
