"""Questions and answers about history."""

from datetime import date, datetime
from enum import StrEnum

from plumbline_contracts.events import Identifier, Product
from pydantic import BaseModel, ConfigDict, Field

from plumbline_score_api.history.changing import ControlChange, InsightsChange, Score, Tally
from plumbline_score_api.moments import Moment
from plumbline_score_api.recommendations.categories import Category
from plumbline_score_api.zones.zone import Zone, ZoneLimits


class Resolution(StrEnum):
    """A point per day, or one per change."""

    DAY = "day"
    CHANGE = "change"


class ScopeOfHistory(BaseModel):
    """The tenant, one product, or one instance; of it all controls, or those of one category or framework."""

    model_config = ConfigDict(extra="forbid")

    product: Product | None = None
    instance: Identifier | None = None
    category: Category | None = None
    framework: Identifier | None = Field(default=None, description="Such as `nist_800_53_r5`; not with `category`")


class Range(ScopeOfHistory):
    """Scope and range."""

    since: Moment | None = Field(default=None, description="Default: 90 days before `until`")
    until: Moment | None = Field(default=None, description="Default: now")


class RangeQuery(Range):
    """Scope, range and page."""

    limit: int = Field(default=400, ge=1, le=1000)
    cursor: str | None = Field(
        default=None, min_length=1, max_length=500, description="`next_cursor` of the page before"
    )


class HistoryRange(Range):
    """Scope, range and resolution."""

    resolution: Resolution = Resolution.DAY


class HistoryQuery(RangeQuery, HistoryRange):
    """Scope, range, resolution and page."""


class CompareQuery(ScopeOfHistory):
    """Scope and two moments."""

    since: Moment = Field(description="The earlier moment")
    until: Moment | None = Field(default=None, description="The later moment. Default: now")


class ShownScore(BaseModel):
    """A score at one moment."""

    current: float
    max: float
    percentage: float
    zone: Zone | None = Field(description="By the limits of today; None when no points were possible")
    coverage: float
    planned: float
    achievable: float


class HistoryPoint(ShownScore):
    """A scope at one moment, and for the resolution `change` what led to it."""

    at: datetime | None = Field(description="For a day: None, it stands for how the day ended")
    day: date
    outcomes: dict[str, int]
    statuses: dict[str, int]
    regressed: int
    stale: int
    points: float | None = Field(
        description="Achieved points, less those of the change before. For a day, and for a category or framework of "
        "which not all is known: None"
    )
    max_points: float | None
    changes: list[ControlChange] = Field(
        description="Controls gained, lost, added, retired, decided about, mapped anew"
    )
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


class TrendDay(BaseModel):
    """How a day ended, and what it brought."""

    day: date
    percentage: float
    zone: Zone | None
    current: float
    max: float
    coverage: float
    gained: float = Field(description="Points that came")
    lost: float = Field(description="Points that went")
    net: float = Field(description="`gained` less `lost`: the difference of the achieved points")
    regressed: int = Field(description="Findings that failed again at the end of the day, having been completed before")
    newly_regressed: int = Field(description="Findings that passed and came to fail")
    newly_failing: int = Field(description="All findings that came to fail, those among them")
    mended: int = Field(description="Findings that came to pass")
    risk_accepted: int = Field(description="Accepted risks at the end of the day")
    risk_accepted_points: float = Field(description="Possible points that they forgo")
    newly_accepted: int
    acceptances_ended: int = Field(description="By a person, by time, or because the control passes now")
    acceptances_expired: int = Field(description="Those of them that time has ended")

    @classmethod
    def of(cls, day: date, score: ShownScore, regressed: int, accepted: int, tally: Tally) -> "TrendDay":
        """A day as it is shown."""
        return cls(
            day=day,
            **score.model_dump(include={"percentage", "zone", "current", "max", "coverage"}),
            gained=tally.gained,
            lost=tally.lost,
            net=round(tally.gained - tally.lost, 3),
            regressed=regressed,
            newly_regressed=tally.regressed,
            newly_failing=tally.newly_failing,
            mended=tally.mended,
            risk_accepted=accepted,
            risk_accepted_points=round(score.max - score.achievable, 3),
            newly_accepted=tally.newly_accepted,
            acceptances_ended=tally.acceptances_ended,
            acceptances_expired=tally.acceptances_expired,
        )


class ExpiryDay(BaseModel):
    """Accepted risks that end by themselves on one day."""

    day: date
    count: int
    points: float = Field(description="Possible points that they forgo until then")


class Trends(BaseModel):
    """Day by day: the score, what came and went, findings that fail again, risks that were accepted."""

    items: list[TrendDay]
    next_cursor: str | None
    expiring: list[ExpiryDay] = Field(description="What is accepted now and has an end, by the day of its end")
    without_expiry: int = Field(description="How many accepted risks have no end")


def shown(score: Score, limits: ZoneLimits) -> ShownScore:
    """A score as it is shown to a tenant whose zones begin at `limits`."""
    return ShownScore(
        current=score.current,
        max=score.max,
        percentage=score.percentage,
        zone=limits.zone(score.percentage, score.max),
        coverage=round(100 * score.measured / score.max, 2) if score.max else 0.0,
        planned=score.planned,
        achievable=score.achievable,
    )
