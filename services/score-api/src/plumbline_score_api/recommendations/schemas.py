"""Answers about recommendations."""

from datetime import datetime

from plumbline_contracts.events import (
    Effort,
    Evidence,
    ExposedEntity,
    Outcome,
    Product,
    Remediation,
    Severity,
    UnknownReason,
)
from pydantic import BaseModel, ConfigDict, Field

from plumbline_score_api.decisions.decision import Status
from plumbline_score_api.decisions.schemas import DecisionView
from plumbline_score_api.history.changing import ControlChange
from plumbline_score_api.recommendations.categories import Category
from plumbline_score_api.recommendations.filters import Filters
from plumbline_score_api.recommendations.selection import Sort
from plumbline_score_api.recommendations.setting_changes import SettingChange


class RecommendationQuery(Filters):
    """Filters, order and page."""

    model_config = ConfigDict(extra="forbid")

    sort: Sort = Sort.RANK
    counts: bool = Field(default=False, description="Count the recommendations of each filter's values")
    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = Field(
        default=None, min_length=1, max_length=4000, description="`next_cursor` of the page before"
    )

    @property
    def filters(self) -> Filters:
        """The filters alone."""
        return Filters.model_validate(self.model_dump(include=set(Filters.model_fields)))


class ExposedQuery(BaseModel):
    """A page of exposed entities."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=100, ge=1, le=500)
    cursor: str | None = Field(default=None, min_length=1, max_length=500)


class RecommendationItem(BaseModel):
    """One recommendation in a list. `rank` counts from 1 over all that match the filters."""

    rank: int
    control_id: str
    aliases: list[str]
    title: str
    product: Product
    instance: str
    category: Category
    severity: Severity
    outcome: Outcome
    reason: UnknownReason | None
    status: Status
    decision: DecisionView | None = Field(description="What people decided, whether it holds or not")
    points: float = Field(description="What was measured, whatever was decided")
    max_points: float
    points_achieved: float = Field(description="What counts in the score: with what was decided")
    points_left: float = Field(description="What mending would bring: not for accepted risks")
    compliant: int | None
    total: int | None
    exposed: int
    explanation: str
    user_impact: Effort
    implementation_cost: Effort
    is_stale: bool
    stale_since: datetime | None = Field(description="Since when it was not measured in time")
    is_regressed: bool
    changed_at: datetime = Field(description="When the outcome last changed")
    last_changed_at: datetime = Field(
        description="When the outcome, or what was decided, last changed: what the order `last_changed` goes by"
    )
    evaluated_at: datetime


class RecommendationPage(BaseModel):
    """A page of recommendations in the order that was asked for."""

    items: list[RecommendationItem]
    total: int = Field(description="How many match the filters")
    counts: dict[str, dict[str, int]] | None = Field(
        default=None,
        description="Filter to value to how many match it and all other filters; with `counts=true`",
    )
    next_cursor: str | None


class ExposedPage(BaseModel):
    """A page of exposed entities."""

    items: list[ExposedEntity]
    total: int = Field(description="The exact number, listed or not")
    is_cut: bool = Field(description="Whether there are more than are listed")
    next_cursor: str | None


class OtherInstance(BaseModel):
    """The same control on another instance."""

    instance: str
    outcome: Outcome
    status: Status
    points: float = Field(description="What was measured, whatever was decided")
    max_points: float
    points_achieved: float = Field(description="What counts in the score")
    is_stale: bool
    changed_at: datetime = Field(description="When the outcome last changed")


class HistoryEntry(BaseModel):
    """One change of the recommendation's outcome or status."""

    at: datetime
    change: ControlChange


class RecommendationDetail(RecommendationItem):
    """Everything about one recommendation."""

    description: str
    rationale: str
    remediation: Remediation
    implementation_steps: list[str]
    threats: list[str]
    frameworks: dict[str, list[str]]
    permissions: list[str]
    expected: str | None
    observed: str | None
    evidence: list[Evidence]
    exposed_entities: ExposedPage
    first_seen_at: datetime
    passed_at: datetime | None = Field(description="When it was last measured as passing")
    regressed_at: datetime | None
    setting_changes: list[SettingChange] = Field(
        description="Who changed what, as the product's own audit trail says, as far as it may belong to this "
        "control: the surest first, then the newest, at most 50"
    )
    setting_changes_since: datetime | None = Field(
        description="When it last passed; changes before are left out. None for what passes now, or never did: then "
        "only changes are listed that name the setting"
    )
    history: list[HistoryEntry] = Field(description="Outcome and status, the newest change first, at most 100")
    other_instances: list[OtherInstance]
