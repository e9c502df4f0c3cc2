"""Questions and answers about comparisons."""

from datetime import datetime

from plumbline_contracts.events import Identifier, Product, Severity
from pydantic import BaseModel, ConfigDict, Field

from plumbline_score_api.history.changing import State
from plumbline_score_api.history.schemas import ShownScore
from plumbline_score_api.moments import Moment
from plumbline_score_api.recommendations.categories import Category


class PeersQuery(BaseModel):
    """All controls, or those of one category or framework, page by page."""

    model_config = ConfigDict(extra="forbid")

    category: Category | None = None
    framework: Identifier | None = Field(default=None, description="Such as `nist_800_53_r5`; not with `category`")
    limit: int = Field(default=100, ge=1, le=500)
    cursor: str | None = Field(
        default=None, min_length=1, max_length=500, description="`next_cursor` of the page before"
    )


class ComparisonQuery(PeersQuery):
    """The same, and of which moment the other instance is taken."""

    at: Moment | None = Field(
        default=None, description="Compare with what the other instance, which may be the same, was at this moment"
    )
    differences: bool = Field(default=False, description="Only controls that differ")


class ComparedInstance(BaseModel):
    """One side."""

    instance: str
    at: datetime | None = Field(description="The moment that it is taken of; None is now")
    score: ShownScore


class ComparedControl(BaseModel):
    """One control on both sides; None where an instance does not have it."""

    control_id: str
    title: str | None = Field(description="None for a control that no instance has any more")
    severity: Severity | None
    this: State | None
    other: State | None
    points: float = Field(description="Achieved points of this instance, less those of the other")
    is_different: bool = Field(description="Whether outcome, status or points differ")


class InstanceComparison(BaseModel):
    """Two instances control by control, differences first, those of most points before others."""

    product: Product
    this: ComparedInstance
    other: ComparedInstance
    points: float = Field(description="Achieved points of this instance, less those of the other")
    different: int = Field(description="How many controls differ")
    total: int = Field(description="How many controls there are, on all pages")
    items: list[ComparedControl]
    next_cursor: str | None


class PeerScore(BaseModel):
    """What another instance has achieved."""

    instance: str
    percentage: float


class ControlAmongPeers(BaseModel):
    """One control of the instance, and what its peers achieve: those to which the control applies."""

    control_id: str
    title: str
    severity: Severity
    this: State
    peers: int = Field(description="How many peers have the control, and it applies to them")
    passing: int = Field(description="How many of them pass")
    average_points: float | None = Field(description="What they achieve on average; None when there are none")
    best_points: float | None
    behind: float = Field(description="Points that the average peer has and this instance has not")


class PeerComparison(BaseModel):
    """An instance against the tenant's other instances of the product, whether they count or not."""

    product: Product
    this: ComparedInstance
    peers: int
    place: int = Field(description="By percentage, from 1; equals share a place")
    average_percentage: float | None = Field(description="Of the peers; None when there are none")
    best: PeerScore | None
    total: int
    items: list[ControlAmongPeers] = Field(description="Where it is furthest behind first")
    next_cursor: str | None
