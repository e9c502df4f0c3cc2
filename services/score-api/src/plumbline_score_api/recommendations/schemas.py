"""Answers about recommendations."""

from datetime import datetime
from enum import StrEnum

from plumbline_contracts.events import (
    Effort,
    Evidence,
    ExposedEntity,
    Identifier,
    Outcome,
    Product,
    Remediation,
    Severity,
    UnknownReason,
)
from pydantic import BaseModel, ConfigDict, Field


class Status(StrEnum):
    """What people decided, or `completed`."""

    TO_ADDRESS = "to_address"
    PLANNED = "planned"
    RISK_ACCEPTED = "risk_accepted"
    RESOLVED_THIRD_PARTY = "resolved_third_party"
    RESOLVED_ALTERNATE_MITIGATION = "resolved_alternate_mitigation"
    COMPLETED = "completed"


class Category(StrEnum):
    """What a control protects."""

    IDENTITY = "Identity"
    APPS = "Apps"
    DATA = "Data"
    DEVICE = "Device"
    INFRASTRUCTURE = "Infrastructure"


class RecommendationQuery(BaseModel):
    """Filters; several values of one filter are alternatives."""

    model_config = ConfigDict(extra="forbid")

    product: list[Product] = Field(default_factory=list)
    instance: list[Identifier] = Field(default_factory=list)
    outcome: list[Outcome] = Field(default_factory=list)
    status: list[Status] = Field(default_factory=list)
    category: list[Category] = Field(default_factory=list)
    severity: list[Severity] = Field(default_factory=list)
    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = Field(default=None, max_length=500, description="`next_cursor` of the page before")


class ExposedQuery(BaseModel):
    """A page of exposed entities."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=100, ge=1, le=500)
    cursor: str | None = Field(default=None, max_length=500)


class RecommendationItem(BaseModel):
    """One recommendation in a list. `rank` counts from 1 over the whole filtered list."""

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
    points: float
    max_points: float
    points_left: float
    compliant: int | None
    total: int | None
    exposed: int
    explanation: str
    user_impact: Effort
    implementation_cost: Effort
    is_stale: bool
    is_regressed: bool
    changed_at: datetime
    evaluated_at: datetime


class RecommendationPage(BaseModel):
    """A page of recommendations, the most worthwhile first."""

    items: list[RecommendationItem]
    total: int = Field(description="How many match the filters")
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
    points: float
    max_points: float


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
    stale_since: datetime | None
    regressed_at: datetime | None
    other_instances: list[OtherInstance]
