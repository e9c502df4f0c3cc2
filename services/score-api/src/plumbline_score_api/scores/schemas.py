"""Answers about scores."""

from datetime import datetime
from typing import Any, Self

from plumbline_contracts.events import Insights, Product
from pydantic import BaseModel, ConfigDict, Field

from plumbline_score_api.pictures.picture import Summary
from plumbline_score_api.scores.requirements import RequirementState
from plumbline_score_api.zones.zone import Zone, ZoneLimits


class Counts(BaseModel):
    """How many recommendations there are, by what."""

    outcomes: dict[str, int] = Field(description="Outcome to number of recommendations")
    statuses: dict[str, int] = Field(description="Status to number of recommendations")
    regressed: int = Field(description="Those that were completed and fail again")
    stale: int = Field(
        description="Those that were not measured in time: their last result stands in for one that could not be "
        "read, or nothing newer came of the whole instance"
    )


class Score(BaseModel):
    """Points achieved and possible, and how much of it was measured."""

    current: float = Field(description="Points achieved")
    max: float = Field(description="Points possible")
    percentage: float = Field(description="current / max, 0 to 100")
    coverage: float = Field(description="Share of the possible points that was really measured, 0 to 100")
    planned: float = Field(description="Points as if everything planned were done")
    planned_percentage: float = Field(description="planned / max, 0 to 100")
    achievable: float = Field(description="Points possible without the risks that were accepted")
    achievable_percentage: float = Field(description="achievable / max, 0 to 100")
    zone: Zone | None = Field(description="What the percentage is called; None when no points are possible")
    evaluated_at: datetime | None = Field(description="The newest evaluation in scope")
    first_evaluated_at: datetime | None = Field(
        description="The evaluation of the instance in scope that was evaluated longest ago"
    )
    stale_since: datetime | None = Field(
        description="Since when the longest of what was not measured in time has not been; None when all was"
    )
    counts: Counts

    @classmethod
    def of(cls, summary: Summary, limits: ZoneLimits, **more: Any) -> Self:  # noqa: ANN401 - the fields of a subclass
        """A summary as it is shown to a tenant whose zones begin at `limits`."""
        points = summary.points
        return cls(
            current=points.current,
            max=points.maximum,
            percentage=points.percentage,
            zone=limits.zone(points.percentage, points.maximum),
            coverage=points.coverage,
            planned=points.planned,
            planned_percentage=points.share(points.planned),
            achievable=points.achievable,
            achievable_percentage=points.share(points.achievable),
            evaluated_at=summary.evaluated_at,
            first_evaluated_at=summary.first_evaluated_at,
            stale_since=summary.stale_since,
            counts=Counts(
                outcomes=dict(sorted(summary.outcomes.items())),
                statuses=dict(sorted(summary.statuses.items())),
                regressed=summary.regressed,
                stale=summary.stale,
            ),
            **more,
        )


class ScopeQuery(BaseModel):
    """The scope: all instances that count, or those of one product; or one instance, whether it counts or not."""

    model_config = ConfigDict(extra="forbid")

    product: Product | None = None
    instance: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,64}$")


class InstanceScore(Score):
    """The score of one instance."""

    instance: str
    insights: Insights
    is_stale: bool = Field(description="Whether nothing came of the whole instance for longer than may be")


class CategoryScore(Score):
    """The score of one category."""

    category: str


class FrameworkScore(Score):
    """The score of the controls that are mapped to a framework."""

    framework: str


class RequirementScore(Score):
    """One id of a framework: how it stands, and the score of the controls that are mapped to it."""

    requirement: str
    state: RequirementState
    controls: list[str] = Field(description="The controls of the catalogue that are mapped to it")


class ProductScore(Score):
    """The score of one product: of its main instance, and of others that are turned on."""

    product: Product
    main_instance: str | None
    counted_instances: list[str]


class ProductDetail(ProductScore):
    """A product with the score of each of its instances."""

    categories: list[CategoryScore]
    instances: list[InstanceScore]


class SecureScore(Score):
    """The score of the tenant."""

    products: list[ProductScore]


class ProductList(BaseModel):
    """All products of the tenant."""

    items: list[ProductScore]


class InstanceScoreDetail(InstanceScore):
    """The score of one instance with that of each category."""

    product: Product
    categories: list[CategoryScore]


class CategoryList(BaseModel):
    """The categories in scope."""

    items: list[CategoryScore]


class FrameworkList(BaseModel):
    """The frameworks that controls in scope are mapped to. A control may be mapped to several."""

    items: list[FrameworkScore]


class FrameworkDetail(FrameworkScore):
    """A framework with its ids. A control that is mapped to several ids counts in each, and once in the framework."""

    states: dict[str, int] = Field(description="State to number of requirements")
    requirements: list[RequirementScore]
