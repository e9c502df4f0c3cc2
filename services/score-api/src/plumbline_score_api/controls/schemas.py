"""Questions and answers about controls."""

from typing import Annotated, Literal

from plumbline_contracts.events import Effort, Identifier, Outcome, Product, Remediation, Severity
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from plumbline_score_api.decisions.decision import Status
from plumbline_score_api.recommendations.categories import Category
from plumbline_score_api.recommendations.filters import Search

ControlStatus = Literal["active", "manual", "retired"]


class ControlFilters(BaseModel):
    """Filters; several values of one filter are alternatives."""

    model_config = ConfigDict(extra="forbid")

    product: list[Product] = Field(default_factory=list, max_length=50)
    category: list[Category] = Field(default_factory=list, max_length=50)
    severity: list[Severity] = Field(default_factory=list, max_length=50)
    status: list[ControlStatus] = Field(
        default_factory=list, max_length=50, description="Default: all but `retired`. `manual` is not judged"
    )
    framework: list[Identifier] = Field(default_factory=list, max_length=50)
    requirement: list[Annotated[str, StringConstraints(max_length=100)]] = Field(
        default_factory=list, max_length=50, description="Ids of frameworks, such as `AC-2(3)`"
    )
    text: Search | None = Field(
        default=None, description="Words that stand in id, alias, title, description or rationale; all must"
    )


class ControlQuery(ControlFilters):
    """Filters and page."""

    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = Field(
        default=None, min_length=1, max_length=500, description="`next_cursor` of the page before"
    )


class ControlItem(BaseModel):
    """One control of the catalogue, as the newest evaluator knows it."""

    control_id: str
    aliases: list[str]
    version: int
    digest: str
    status: ControlStatus
    product: Product
    title: str
    category: Category
    severity: Severity
    max_points: float
    user_impact: Effort
    implementation_cost: Effort
    frameworks: dict[str, list[str]]
    outcomes: dict[str, int] = Field(description="Outcome to number of the tenant's instances")


class JudgedInstance(BaseModel):
    """An instance that the control is judged on."""

    instance: str
    outcome: Outcome
    status: Status
    points: float
    max_points: float
    exposed: int
    digest: str = Field(description="Of the definition that it was judged by; another one is older")


class ControlDetail(ControlItem):
    """Everything about one control."""

    manual_reason: str | None = Field(description="Why a `manual` control cannot be judged from what can be read")
    description: str
    rationale: str
    remediation: Remediation
    implementation_steps: list[str]
    threats: list[str]
    permissions: list[str]
    instances: list[JudgedInstance]


class ControlPage(BaseModel):
    """A page of the catalogue, by control id."""

    items: list[ControlItem]
    total: int = Field(description="How many match the filters")
    next_cursor: str | None
