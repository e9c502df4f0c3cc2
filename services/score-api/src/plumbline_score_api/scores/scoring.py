"""How points become a score. Pure: the rules of every scope are here and nowhere else.

A scope is any set of controls on instances. Its score is points achieved / points possible; NOT_APPLICABLE leaves
both sides, UNKNOWN achieves nothing. Beside it stand the planned score (as if what is planned were done), the
achievable score (without the risks that were accepted) and the coverage: the part of the possible points that was
really measured.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from plumbline_contracts.events import Insights, Outcome

from plumbline_score_api.decisions.decision import RESOLVED, Status

STALE_LIMIT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Scored:
    """One control on one instance, as far as a score needs it. `status` is the one that people see."""

    outcome: Outcome
    points: float
    max_points: float
    is_stale: bool = False
    status: Status = Status.TO_ADDRESS


@dataclass(frozen=True, slots=True)
class Points:
    """Sums over some controls: 0 <= current <= planned <= achievable <= maximum, and measured <= maximum."""

    current: float = 0.0
    maximum: float = 0.0
    measured: float = 0.0
    planned: float = 0.0
    achievable: float = 0.0

    def __add__(self, other: "Points") -> "Points":
        return total((self, other))

    @property
    def percentage(self) -> float:
        """0 to 100, two decimals; 0 when nothing is possible."""
        return self.share(self.current)

    @property
    def coverage(self) -> float:
        """0 to 100, two decimals: measured of possible; 0 when nothing is possible."""
        return self.share(self.measured)

    @property
    def left(self) -> float:
        """What mending would bring: achievable, and not achieved."""
        return round(self.achievable - self.current, 3)

    def share(self, points: float) -> float:
        """Some points in per cent of the possible ones."""
        return round(100 * points / self.maximum, 2) if self.maximum else 0.0


def points_of(control: Scored) -> Points:
    """What one control adds to a score."""
    most = control.max_points
    if control.outcome is Outcome.NOT_APPLICABLE:
        return Points()
    is_unknown = control.outcome is Outcome.UNKNOWN
    found = 0.0 if is_unknown or control.outcome is Outcome.FAIL else control.points
    measured = 0.0 if is_unknown or control.is_stale else most
    if control.status in RESOLVED:
        return Points(most, most, measured, most, most)
    if control.status is Status.RISK_ACCEPTED:
        return Points(0.0, most, measured, 0.0, 0.0)
    return Points(found, most, measured, most if control.status is Status.PLANNED else found, most)


def total(parts: Iterable[Points]) -> Points:
    """The sum, rounded to 3 decimals so that neither order nor grouping shows."""
    found = list(parts)
    return Points(*(round(sum(getattr(part, field.name) for part in found), 3) for field in fields(Points)))


def counted(insights: Mapping[str, Insights]) -> set[str]:
    """The instances of a product that count: the main one and those that are turned on."""
    return {instance for instance, choice in insights.items() if choice is not Insights.OFF}


def is_still_stale(stale_since: datetime, now: datetime) -> bool:
    """Whether a result may still stand in for one that could not be read: for 24 hours."""
    return now - stale_since <= STALE_LIMIT
