"""Questions and answers about history."""

from datetime import date, datetime
from enum import StrEnum

from plumbline_contracts.events import Identifier, Product, Timestamp
from pydantic import BaseModel, ConfigDict, Field

from plumbline_score_api.history.changing import ControlChange, InsightsChange, Score, Totals
from plumbline_score_api.recommendations.categories import Category


class Resolution(StrEnum):
    """A point per day, or one per change."""

    DAY = "day"
    CHANGE = "change"


class ScopeOfHistory(BaseModel):
    """The tenant, one product, or one instance; of it all controls, or one category."""

    model_config = ConfigDict(extra="forbid")

    product: Product | None = None
    instance: Identifier | None = None
    category: Category | None = None


class HistoryQuery(ScopeOfHistory):
    """Scope, range and resolution."""

    since: Timestamp | None = Field(default=None, description="Default: 90 days before `until`")
    until: Timestamp | None = Field(default=None, description="Default: now")
    resolution: Resolution = Resolution.DAY
    limit: int = Field(default=400, ge=1, le=1000)
    cursor: str | None = Field(default=None, max_length=500, description="`next_cursor` of the page before")


class CompareQuery(ScopeOfHistory):
    """Scope and two moments."""

    since: Timestamp = Field(description="The earlier moment")
    until: Timestamp | None = Field(default=None, description="The later moment. Default: now")


class ShownScore(BaseModel):
    """A score at one moment."""

    current: float
    max: float
    percentage: float
    coverage: float
    planned: float
    achievable: float


class HistoryPoint(ShownScore):
    """A scope at one moment, and for the resolution `change` what led to it. Counts are those of all categories."""

    at: datetime | None = Field(description="For a day: None, it stands for how the day ended")
    day: date
    outcomes: dict[str, int]
    statuses: dict[str, int]
    regressed: int
    stale: int
    points: float | None = Field(description="Achieved points, less those of the change before")
    max_points: float | None
    changes: list[ControlChange] = Field(description="Controls gained, lost, added, retired, decided about")
    insights: list[InsightsChange] = Field(description="Instances that came to count, or ceased to")
    is_complete: bool = Field(description="Whether what changed is still known; retention may have deleted it")


class HistoryPage(BaseModel):
    """Points in the order of time."""

    items: list[HistoryPoint]
    next_cursor: str | None


class Comparison(BaseModel):
    """What changed between two moments. Points by control and by insights add up to the difference of the scores."""

    before: ShownScore
    after: ShownScore
    points: float
    max_points: float
    changes: list[ControlChange]
    insights: list[InsightsChange]
    is_complete: bool = Field(description="Whether all that changed is still known; retention may have deleted some")


def shown(score: Score) -> ShownScore:
    """A score as it is shown."""
    return ShownScore(
        current=score.current,
        max=score.max,
        percentage=score.percentage,
        coverage=round(100 * score.measured / score.max, 2) if score.max else 0.0,
        planned=score.planned,
        achievable=score.achievable,
    )


def of_category(totals: Totals, category: Category | None) -> Score:
    """The score of all, or of one category."""
    return totals.score if category is None else totals.categories.get(category.value, Score())
