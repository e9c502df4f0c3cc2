"""The catalogue as people ask for it."""

import time
from collections import Counter
from collections.abc import Callable

from plumbline_contracts.events import ControlDefinition

from plumbline_score_api.controls.catalogue import Catalogue, after, standing
from plumbline_score_api.controls.repository import ControlRepository
from plumbline_score_api.controls.schemas import (
    ControlDetail,
    ControlItem,
    ControlPage,
    ControlQuery,
    JudgedInstance,
)
from plumbline_score_api.pictures.picture import Recommendation
from plumbline_score_api.pictures.service import PictureService
from plumbline_score_api.pictures.tenant import TenantPicture
from plumbline_score_api.problems import NotFoundError
from plumbline_score_api.recommendations import cursors

FRESH_SECONDS = 2.0


class CatalogueService:
    """The catalogue, kept in memory and looked at again after some seconds. It is one for all tenants."""

    def __init__(self, repository: ControlRepository, clock: Callable[[], float] = time.monotonic) -> None:
        self._repository, self._clock = repository, clock
        self._generations: dict[str, int] = {}
        self._catalogue = Catalogue({})
        self._looked_at = float("-inf")

    async def now(self) -> Catalogue:
        """The catalogue as it was at most some seconds ago."""
        if self._clock() - self._looked_at >= FRESH_SECONDS:
            generations = await self._repository.generations()
            if generations != self._generations:
                newest = _newest(generations)
                self._catalogue = Catalogue(standing((await self._repository.definitions(newest)).values()))
                self._generations = generations
            self._looked_at = self._clock()
        return self._catalogue


class ControlService:
    """Controls, with what they find in one tenant."""

    def __init__(self, catalogue: CatalogueService, pictures: PictureService) -> None:
        self._catalogue, self._pictures = catalogue, pictures

    async def page(self, tenant: str, query: ControlQuery) -> ControlPage:
        """A page, by control id. Raises InvalidError for a bad cursor."""
        scope = f"controls of {tenant} {query.model_dump_json(exclude={'limit', 'cursor'})}"
        start = str(cursors.decode(query.cursor, scope, str)[0]) if query.cursor else None
        found = (await self._catalogue.now()).select(query)
        first = after(found, start)
        shown = found[first : first + query.limit]
        picture = await self._pictures.tenant(tenant)
        is_more = first + query.limit < len(found)
        return ControlPage(
            items=[ControlItem(**_item(each, _judged(picture, each))) for each in shown],
            total=len(found),
            next_cursor=cursors.encode(scope, shown[-1].control_id) if is_more else None,
        )

    async def detail(self, tenant: str, control: str) -> ControlDetail:
        """One control by id or alias. Raises NotFoundError."""
        found = (await self._catalogue.now()).find(control)
        if found is None:
            raise NotFoundError(f"The catalogue has no control {control}.")
        judged = _judged(await self._pictures.tenant(tenant), found)
        return ControlDetail(
            **_item(found, judged),
            **found.model_dump(
                include={"manual_reason", "description", "rationale", "remediation", "threats", "permissions"}
            ),
            implementation_steps=found.remediation.steps,
            instances=[_instance(item) for item in judged],
        )


def _newest(generations: dict[str, int]) -> list[str]:
    """Of each control the keys of the newest generation."""
    newest: dict[str, int] = {}
    for key, generation in generations.items():
        name = key.rpartition("@")[0]
        newest[name] = max(newest.get(name, generation), generation)
    return [key for key, generation in generations.items() if generation == newest[key.rpartition("@")[0]]]


def _judged(picture: TenantPicture, definition: ControlDefinition) -> list[Recommendation]:
    """The control on the tenant's instances, by their names."""
    found = [each.of_control(definition.control_id) for each in picture.instances.values()]
    return [item for item in found if item is not None]


def _item(definition: ControlDefinition, judged: list[Recommendation]) -> dict[str, object]:
    shown = set(ControlItem.model_fields) - {"outcomes"}
    outcomes = Counter(item.control.outcome.value for item in judged)
    return {**definition.model_dump(include=shown), "outcomes": dict(sorted(outcomes.items()))}


def _instance(item: Recommendation) -> JudgedInstance:
    return JudgedInstance(
        instance=item.instance,
        status=item.status,
        **item.control.model_dump(include={"outcome", "points", "max_points", "exposed", "digest"}),
    )
