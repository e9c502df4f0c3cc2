"""Answers about scores."""

from datetime import datetime

from plumbline_contracts.events import Insights, Product
from pydantic import BaseModel, Field


class Score(BaseModel):
    """Points achieved and possible, and how much of it was measured."""

    current: float = Field(description="Points achieved")
    max: float = Field(description="Points possible")
    percentage: float = Field(description="current / max, 0 to 100")
    coverage: float = Field(description="Share of the possible points that was really measured, 0 to 100")
    evaluated_at: datetime | None = Field(description="The newest evaluation in scope")


class InstanceScore(Score):
    """The score of one instance."""

    instance: str
    insights: Insights


class ProductScore(Score):
    """The score of one product: of its main instance, and of others that are turned on."""

    product: Product
    main_instance: str | None
    counted_instances: list[str]


class ProductDetail(ProductScore):
    """A product with the score of each of its instances."""

    instances: list[InstanceScore]


class SecureScore(Score):
    """The score of the tenant."""

    products: list[ProductScore]


class ProductList(BaseModel):
    """All products of the tenant."""

    items: list[ProductScore]
