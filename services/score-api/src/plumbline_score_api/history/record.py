"""What was recorded last of a scope. Pure."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from plumbline_contracts.events import Insights

from plumbline_score_api.findings.told import Told
from plumbline_score_api.history.changing import DayTally, Part, Point, State, Totals


@dataclass(frozen=True)
class Record:
    """What was recorded last of a scope; `outbox` is a point that is not told everywhere yet.

    `told` is what SIEMs were told of the findings of an instance, and what waits to be told.
    """

    scope: str
    revision: int = 0
    seq: int = 0
    at: datetime | None = None
    totals: Totals = field(default_factory=Totals)
    day: DayTally = field(default_factory=DayTally)
    product: str | None = None
    evaluation: str | None = None
    clock: datetime | None = None
    states: dict[str, State] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    insights: dict[str, Insights] = field(default_factory=dict)
    outbox: Point | None = None
    told: Told = field(default_factory=Told)

    @property
    def is_pending(self) -> bool:
        """Whether something waits to be told."""
        return self.outbox is not None or bool(self.told.waiting)

    @property
    def settled(self) -> "Record":
        """The same when all is told."""
        return replace(self, outbox=None, told=replace(self.told, waiting=()))
