"""Scores of every scope, from the tenant's picture."""

import asyncio
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from plumbline_contracts.events import Insights, Product

from plumbline_score_api.controls.service import CatalogueService
from plumbline_score_api.instances.insights import InsightsService
from plumbline_score_api.keys.schemas import Restriction
from plumbline_score_api.pictures.bodies import Body
from plumbline_score_api.pictures.picture import InstancePicture, Summary
from plumbline_score_api.pictures.service import PictureService
from plumbline_score_api.pictures.tenant import TenantPicture
from plumbline_score_api.problems import NotFoundError
from plumbline_score_api.scores.requirements import state_of
from plumbline_score_api.scores.schemas import (
    CategoryScore,
    FrameworkDetail,
    FrameworkScore,
    InstanceScore,
    InstanceScoreDetail,
    ProductDetail,
    ProductScore,
    RequirementScore,
    ScopeQuery,
    SecureScore,
)
from plumbline_score_api.scores.scoring import counted
from plumbline_score_api.sharing import SharedReads
from plumbline_score_api.zones.service import ZoneService
from plumbline_score_api.zones.zone import ZoneLimits

Within: TypeAlias = Restriction | None
Parts = Callable[[InstancePicture], Mapping[str, Summary]]


@dataclass(frozen=True)
class Scene:
    """A tenant's picture with the insights of its instances and the limits of its zones."""

    picture: TenantPicture
    insights: Mapping[Product, Mapping[str, Insights]]
    limits: ZoneLimits

    def of(self, product: Product) -> list[InstancePicture]:
        """All instances of a product."""
        return [picture for picture in self.picture.instances.values() if picture.product is product]

    def counted(self, product: Product | None = None) -> list[InstancePicture]:
        """The instances that count, of one product or of all."""
        names = {name for each in Product for name in counted(self.insights[each]) if product in (None, each)}
        return [picture for name, picture in self.picture.instances.items() if name in names]

    def chosen(self, scope: ScopeQuery) -> list[InstancePicture]:
        """The instances in scope. Raises NotFoundError for an instance that is not there, or not of the product."""
        if scope.instance is None:
            return self.counted(scope.product)
        picture = self.picture.instances.get(scope.instance)
        if picture is None or scope.product not in (None, picture.product):
            raise NotFoundError(f"No instance {scope.instance} is connected.")
        return [picture]

    def within(self, restriction: Within) -> "Scene":
        """What a restricted caller sees."""
        if restriction is None:
            return self
        picture = self.picture.within(restriction)
        seen = {
            product: {name: choice for name, choice in choices.items() if name in picture.instances}
            for product, choices in self.insights.items()
        }
        return Scene(picture, seen, self.limits)

    @cached_property
    def choices(self) -> frozenset[tuple[str, Insights]]:
        """The insights of all instances."""
        return frozenset(entry for choices in self.insights.values() for entry in choices.items())

    def choice(self, picture: InstancePicture) -> Insights:
        """The insights of an instance."""
        return self.insights[picture.product].get(picture.instance, Insights.OFF)


class ScoreService:
    """Views of one tenant."""

    def __init__(
        self, pictures: PictureService, insights: InsightsService, zones: ZoneService, catalogue: CatalogueService
    ) -> None:
        self._pictures, self._insights, self._zones = pictures, insights, zones
        self._catalogue = catalogue
        self._looks: SharedReads[str, Scene] = SharedReads(self._look)

    async def secure_score(self, tenant: str, within: Within = None) -> SecureScore:
        """The tenant's score and that of each product."""
        return _secure_score(await self.scene(tenant, within))

    async def secure_score_body(self, tenant: str, within: Within = None) -> Body:
        """The same as it is sent."""
        scene = await self.scene(tenant, within)
        return self._pictures.bodies.once(
            scene.picture, _question(scene), lambda: _secure_score(scene).model_dump_json().encode()
        )

    async def secure_score_again(self, tenant: str, within: Within = None) -> Body | None:
        """The same, if it has been made of what is there now."""
        scene = await self.scene(tenant, within)
        return self._pictures.bodies.find(scene.picture, _question(scene))

    async def products(self, tenant: str, within: Within = None) -> list[ProductScore]:
        """The score of each product."""
        return _products(await self.scene(tenant, within))

    async def product(self, tenant: str, product: Product, within: Within = None) -> ProductDetail:
        """One product with its instances. Raises NotFoundError when the tenant has none of it."""
        scene = await self.scene(tenant, within)
        pictures = scene.of(product)
        if not pictures:
            raise NotFoundError(f"No instance of {product} is connected.")
        return ProductDetail(
            **_product(scene, product).model_dump(),
            categories=_categories(scene.counted(product), scene.limits),
            instances=[instance_score(picture, scene.choice(picture), scene.limits) for picture in pictures],
        )

    async def instance(self, tenant: str, instance: str) -> InstanceScoreDetail:
        """One instance, whether it counts or not. Raises NotFoundError."""
        scene = await self.scene(tenant)
        (picture,) = scene.chosen(ScopeQuery(instance=instance))
        return InstanceScoreDetail(
            **instance_score(picture, scene.choice(picture), scene.limits).model_dump(),
            product=picture.product,
            categories=_categories([picture], scene.limits),
        )

    async def categories(self, tenant: str, scope: ScopeQuery, within: Within = None) -> list[CategoryScore]:
        """The score of each category in scope. Raises NotFoundError."""
        scene = await self.scene(tenant, within)
        return _categories(scene.chosen(scope), scene.limits)

    async def frameworks(self, tenant: str, scope: ScopeQuery, within: Within = None) -> list[FrameworkScore]:
        """The score of each framework in scope. Raises NotFoundError."""
        scene = await self.scene(tenant, within)
        chosen = scene.chosen(scope)
        parts = _grouped(chosen, lambda picture: picture.frameworks)
        names = (await self._catalogue.now()).frameworks(_products_of(scope, chosen)) | parts.keys()
        return [FrameworkScore.of(parts.get(name, Summary()), scene.limits, framework=name) for name in sorted(names)]

    async def framework(self, tenant: str, framework: str, scope: ScopeQuery, within: Within = None) -> FrameworkDetail:
        """One framework with its ids, those that no instance in scope is judged by too. Raises NotFoundError."""
        scene = await self.scene(tenant, within)
        chosen = scene.chosen(scope)
        parts = _grouped(chosen, lambda picture: picture.requirements(framework))
        mapped = (await self._catalogue.now()).requirements(framework, _products_of(scope, chosen))
        if not parts and not mapped:
            raise NotFoundError(f"No control in scope is mapped to a framework {framework}.")
        whole = _grouped(chosen, lambda picture: picture.frameworks).get(framework, Summary())
        found = [
            _requirement(name, parts.get(name, Summary()), mapped.get(name, []), scene.limits)
            for name in sorted(parts.keys() | mapped.keys())
        ]
        states = dict(sorted(Counter(each.state.value for each in found).items()))
        return FrameworkDetail.of(whole, scene.limits, framework=framework, requirements=found, states=states)

    async def scene(self, tenant: str, within: Within = None) -> Scene:
        """The tenant as it is now; what a restriction admits."""
        return (await self._looks.get(tenant)).within(within)

    async def _look(self, tenant: str) -> Scene:
        """An instance has its insights before it is seen: those that came meanwhile are read again."""
        picture, insights, limits = await asyncio.gather(
            self._pictures.tenant(tenant), self._insights.read_all(tenant), self._zones.limits(tenant)
        )
        if picture.instances.keys() - {name for choices in insights.values() for name in choices}:
            insights = await self._insights.read_all(tenant)
        return Scene(picture, insights, limits)


def _question(scene: Scene) -> Hashable:
    return "secure score", scene.choices, scene.limits


def _secure_score(scene: Scene) -> SecureScore:
    return SecureScore.of(_sum(scene.counted()), scene.limits, products=_products(scene))


def _products_of(scope: ScopeQuery, chosen: list[InstancePicture]) -> set[Product]:
    """The products in scope, whether an instance of them is connected or not."""
    if scope.instance is not None:
        return {picture.product for picture in chosen}
    return {scope.product} if scope.product is not None else set(Product)


def _requirement(name: str, summary: Summary, controls: list[str], limits: ZoneLimits) -> RequirementScore:
    return RequirementScore.of(summary, limits, requirement=name, state=state_of(summary.outcomes), controls=controls)


def _sum(pictures: Iterable[InstancePicture]) -> Summary:
    return Summary.sum(picture.summary for picture in pictures)


def _grouped(pictures: Iterable[InstancePicture], parts: Parts) -> dict[str, Summary]:
    groups: dict[str, list[Summary]] = {}
    for picture in pictures:
        for name, summary in parts(picture).items():
            groups.setdefault(name, []).append(summary)
    return {name: Summary.sum(group) for name, group in sorted(groups.items())}


def _categories(pictures: Iterable[InstancePicture], limits: ZoneLimits) -> list[CategoryScore]:
    parts = _grouped(pictures, lambda picture: picture.categories)
    return [CategoryScore.of(summary, limits, category=name) for name, summary in parts.items()]


def _products(scene: Scene) -> list[ProductScore]:
    return [_product(scene, product) for product in Product if scene.of(product)]


def _product(scene: Scene, product: Product) -> ProductScore:
    chosen = scene.counted(product)
    choices = scene.insights[product].items()
    return ProductScore.of(
        _sum(chosen),
        scene.limits,
        product=product,
        main_instance=next((name for name, choice in choices if choice is Insights.MAIN), None),
        counted_instances=[picture.instance for picture in chosen],
    )


def instance_score(picture: InstancePicture, insights: Insights, limits: ZoneLimits) -> InstanceScore:
    """The score of one instance, whatever its insights."""
    is_stale = picture.stale_since is not None
    return InstanceScore.of(picture.summary, limits, instance=picture.instance, insights=insights, is_stale=is_stale)
