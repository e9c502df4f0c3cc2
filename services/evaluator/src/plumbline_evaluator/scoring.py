"""The score of one evaluation, as the offline command prints it."""

from collections.abc import Iterable
from dataclasses import dataclass

from plumbline_contracts.events import ControlResult, Outcome


@dataclass(frozen=True)
class Score:
    """Achieved and possible points; `measured` is the part of the possible points that was really measured."""

    current: float
    possible: float
    measured: float

    @property
    def percentage(self) -> float:
        """0 to 100; 0 when nothing is possible."""
        return 100 * self.current / self.possible if self.possible else 0.0

    @property
    def coverage(self) -> float:
        """0 to 100: how much of the possible points was measured."""
        return 100 * self.measured / self.possible if self.possible else 0.0


def score(results: Iterable[ControlResult]) -> Score:
    """Sum over all results; NOT_APPLICABLE leaves both sides, UNKNOWN achieves nothing and is not measured."""
    counted = [result for result in results if result.outcome is not Outcome.NOT_APPLICABLE]
    return Score(
        current=sum(result.points for result in counted),
        possible=sum(result.max_points for result in counted),
        measured=sum(result.max_points for result in counted if result.outcome is not Outcome.UNKNOWN),
    )
