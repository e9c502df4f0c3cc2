"""Scores from the pointers of the instances that count."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from plumbline_contracts.events import Insights, Product

from plumbline_score_api.instances.insights import InsightsService
from plumbline_score_api.instances.repository import InstanceRepository
from plumbline_score_api.problems import NotFoundError
from plumbline_score_api.scores.schemas import InstanceScore, ProductDetail, ProductScore, SecureScore
from plumbline_score_api.scores.scoring import Points, counted, total

Document = dict[str, Any]


def _points(instance: Document) -> Points:
    score = (instance.get("current") or {}).get("score")
    return Points(score["current"], score["max"], score["measured"]) if score else Points()


def _newest(instances: Iterable[Document]) -> datetime | None:
    moments = [instance["current"]["evaluated_at"] for instance in instances if instance.get("current")]
    return max(moments, default=None)


def _score(instances: list[Document]) -> dict[str, Any]:
    points = total(_points(instance) for instance in instances)
    return {
        "current": points.current,
        "max": points.maximum,
        "percentage": points.percentage,
        "coverage": points.coverage,
        "evaluated_at": _newest(instances),
    }


class ScoreService:
    """Views of one tenant."""

    def __init__(self, instances: InstanceRepository, insights: InsightsService) -> None:
        self._instances, self._insights = instances, insights

    async def secure_score(self, tenant: str) -> SecureScore:
        """The tenant's score and that of each product."""
        details = await self._details(tenant)
        everything = [instance for _, chosen in details for instance in chosen]
        return SecureScore(**_score(everything), products=[product for product, _ in details])

    async def products(self, tenant: str) -> list[ProductScore]:
        """The score of each product."""
        return [product for product, _ in await self._details(tenant)]

    async def product(self, tenant: str, product: Product) -> ProductDetail:
        """One product with its instances. Raises NotFoundError when the tenant has none of it."""
        instances = await self._instances.scores(tenant, product)
        if not instances:
            raise NotFoundError(f"No instance of {product} is connected.")
        insights = await self._insights.read(tenant, product)
        summary, _ = _product(product, instances, insights)
        listed = [instance_score(instance, insights) for instance in instances]
        return ProductDetail(**summary.model_dump(), instances=listed)

    async def _details(self, tenant: str) -> list[tuple[ProductScore, list[Document]]]:
        instances = await self._instances.scores(tenant)
        found = []
        for product in Product:
            mine = [instance for instance in instances if instance["product"] == product]
            if mine:
                found.append(_product(product, mine, await self._insights.read(tenant, product)))
        return found


def _product(
    product: Product, instances: list[Document], insights: dict[str, Insights]
) -> tuple[ProductScore, list[Document]]:
    names = counted(insights)
    chosen = [instance for instance in instances if instance["instance"] in names]
    main = next((name for name, choice in insights.items() if choice is Insights.MAIN), None)
    score = ProductScore(
        **_score(chosen),
        product=product,
        main_instance=main,
        counted_instances=[instance["instance"] for instance in chosen],
    )
    return score, chosen


def instance_score(instance: Document, insights: dict[str, Insights]) -> InstanceScore:
    """The score of one instance, whatever its insights."""
    name = instance["instance"]
    return InstanceScore(**_score([instance]), instance=name, insights=insights.get(name, Insights.OFF))
