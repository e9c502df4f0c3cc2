"""Recommendations: findings of the current evaluations, with what people decided."""

from collections.abc import Hashable
from datetime import datetime
from typing import Any

from plumbline_contracts.events import ControlResult, ExposedEntity, Outcome
from pydantic import TypeAdapter

from plumbline_score_api.decisions.schemas import view
from plumbline_score_api.history.changing import instance_scope
from plumbline_score_api.history.repository import HistoryRepository
from plumbline_score_api.keys.schemas import Restriction
from plumbline_score_api.pictures.bodies import Again, Body
from plumbline_score_api.pictures.picture import Recommendation
from plumbline_score_api.pictures.service import PictureService
from plumbline_score_api.pictures.tenant import TenantPicture
from plumbline_score_api.problems import NotFoundError, UnavailableError
from plumbline_score_api.recommendations import cursors
from plumbline_score_api.recommendations.filters import Filters
from plumbline_score_api.recommendations.repository import RecommendationRepository
from plumbline_score_api.recommendations.schemas import (
    ExposedPage,
    ExposedQuery,
    HistoryEntry,
    OtherInstance,
    RecommendationDetail,
    RecommendationItem,
    RecommendationPage,
    RecommendationQuery,
)
from plumbline_score_api.recommendations.selection import counts, select
from plumbline_score_api.recommendations.setting_changes import SettingChange, belonging

Document = dict[str, Any]
_ENTITIES = TypeAdapter(list[ExposedEntity])
_RESULT = {"control_id", "outcome", "reason", "points", "max_points", "compliant", "total", "exposed", "explanation"}
_DEFINITION = {"aliases", "title", "category", "severity", "user_impact", "implementation_cost"}
MOST_HISTORY = 100
MOST_SETTING_CHANGES = 1000
ATTEMPTS = 10


class RecommendationService:
    """Recommendations of one tenant."""

    def __init__(
        self, repository: RecommendationRepository, pictures: PictureService, history: HistoryRepository
    ) -> None:
        self._repository, self._pictures, self._history = repository, pictures, history

    async def page_body(self, tenant: str, query: RecommendationQuery, within: Restriction | None = None) -> Body:
        """A page in the order that is asked for, as it is sent. Raises InvalidError for a bad cursor."""
        picture = await self._pictures.tenant(tenant, within)
        return self._pictures.bodies.once(
            picture, _question(query), lambda: self._page(tenant, picture, query).model_dump_json().encode()
        )

    def page_again(self, tenant: str, query: RecommendationQuery, within: Restriction | None = None) -> Again:
        """How to find the same, if it has been made of what is there now."""
        question = _question(query)

        async def again() -> Body | None:
            return self._pictures.bodies.find(await self._pictures.tenant(tenant, within), question)

        return again

    def _page(self, tenant: str, picture: TenantPicture, query: RecommendationQuery) -> RecommendationPage:
        filters = query.filters
        scope = f"recommendations of {tenant} {filters.model_dump_json()} {query.sort}"
        after = str(cursors.decode(query.cursor, scope, str)[0]) if query.cursor else None
        found = select(picture, filters, query.sort)
        start = found.after(after)
        end = min(start + query.limit, len(found.items))
        return RecommendationPage(
            items=[RecommendationItem(**_item(found.items[n], found.ranks[n])) for n in range(start, end)],
            total=len(found.items),
            counts=counts(picture, filters) if query.counts else None,
            next_cursor=cursors.encode(scope, found.keys[end - 1]) if end < len(found.items) else None,
        )

    async def selected(self, tenant: str, filters: Filters, within: Restriction | None = None) -> list[Recommendation]:
        """All that match filters, the most worthwhile first."""
        return select(await self._pictures.tenant(tenant, within), filters).items

    async def instances(self, tenant: str, within: Restriction | None = None) -> frozenset[str]:
        """The instances that there are; those that a restriction admits."""
        return frozenset((await self._pictures.tenant(tenant, within)).instances)

    async def detail(
        self, tenant: str, instance: str, control: str, within: Restriction | None = None
    ) -> RecommendationDetail:
        """One recommendation by control id or alias. Raises NotFoundError."""
        for _ in range(ATTEMPTS):
            picture = await self._pictures.tenant(tenant, within)
            item = _found(picture, instance, control)
            result = await self._repository.result(tenant, instance, item.evaluation, item.control.control_id)
            if result is not None:
                return await self._detailed(tenant, picture, item, result)
        raise UnavailableError(f"The instance {instance} changes faster than it can be read; try again.")

    async def exposed(self, tenant: str, instance: str, control: str, query: ExposedQuery) -> ExposedPage:
        """Exposed entities of one recommendation, paged. Raises NotFoundError, InvalidError."""
        picture = await self._pictures.instance(tenant, instance)
        item = picture.find(control) if picture is not None else None
        if item is None:
            raise _nothing(instance, control)
        return await self._exposed(tenant, item, query)

    async def _detailed(
        self, tenant: str, picture: TenantPicture, item: Recommendation, result: ControlResult
    ) -> RecommendationDetail:
        definition, control, filters = item.definition, item.control, Filters()
        everything = select(picture, filters)
        rank = everything.items.index(item) + 1
        others = (picture.find(name, control.control_id) for name in picture.instances if name != item.instance)
        since = control.passed_at if control.outcome is not Outcome.PASS else None
        return RecommendationDetail(
            **_item(item, rank),
            **definition.model_dump(
                include={"description", "rationale", "remediation", "threats", "frameworks", "permissions"}
            ),
            implementation_steps=definition.remediation.steps,
            expected=result.expected,
            observed=result.observed,
            evidence=result.evidence,
            exposed_entities=await self._exposed(tenant, item, ExposedQuery()),
            first_seen_at=control.first_seen_at,
            passed_at=control.passed_at,
            regressed_at=control.regressed_at,
            setting_changes=await self._setting_changes(tenant, item, result, since),
            setting_changes_since=since,
            history=await self._changes(tenant, item),
            other_instances=[_other(other) for other in others if other is not None],
        )

    async def _setting_changes(
        self, tenant: str, item: Recommendation, result: ControlResult, since: datetime | None
    ) -> list[SettingChange]:
        entries = await self._repository.setting_changes(tenant, item.instance, since, MOST_SETTING_CHANGES)
        return belonging(entries, result.evidence, item.product, since)

    async def _changes(self, tenant: str, item: Recommendation) -> list[HistoryEntry]:
        control_id = item.control.control_id
        points = await self._history.of_control(tenant, instance_scope(item.instance), control_id, MOST_HISTORY)
        return [
            HistoryEntry(at=point.at, change=change)
            for point in points
            for change in point.changes
            if change.control_id == control_id
        ]

    async def _exposed(self, tenant: str, item: Recommendation, query: ExposedQuery) -> ExposedPage:
        names = (tenant, item.instance, item.evaluation, item.control.control_id)
        scope = f"exposed of {names}"
        position = cursors.decode(query.cursor, scope, int, int) if query.cursor else (0, 0)
        number, start = (int(part) for part in position)
        items: list[ExposedEntity] = []
        while len(items) < query.limit:
            stored = await self._repository.exposed(*names, number)
            if stored is None:
                break
            entities = _ENTITIES.validate_json(stored["body"])
            taken = entities[start : start + query.limit - len(items)]
            items += taken
            start += len(taken)
            if start >= len(entities):
                number, start = number + 1, 0
        is_more = await self._repository.exposed(*names, number)
        return ExposedPage(
            items=items,
            total=item.control.exposed,
            is_cut=item.control.exposed > item.control.exposed_listed,
            next_cursor=cursors.encode(scope, number, start) if is_more else None,
        )


def _question(query: RecommendationQuery) -> Hashable:
    return "page", query.model_dump_json()


def _found(picture: TenantPicture, instance: str, control: str) -> Recommendation:
    item = picture.find(instance, control)
    if item is None:
        raise _nothing(instance, control)
    return item


def _nothing(instance: str, control: str) -> NotFoundError:
    return NotFoundError(f"No recommendation {control} on an instance {instance}.")


def _item(item: Recommendation, rank: int) -> Document:
    return {
        **item.control.model_dump(include=_RESULT),
        **item.definition.model_dump(include=_DEFINITION),
        "rank": rank,
        "product": item.product,
        "instance": item.instance,
        "status": item.status,
        "decision": view(item.decision, item.reopened),
        "points_achieved": item.points.current,
        "points_left": item.points.left,
        "is_stale": item.stale_since is not None,
        "stale_since": item.stale_since,
        "is_regressed": item.control.regressed_at is not None,
        "changed_at": item.control.changed_at,
        "last_changed_at": item.changed_at,
        "evaluated_at": item.control.evaluated_at,
    }


def _other(item: Recommendation) -> OtherInstance:
    return OtherInstance(
        instance=item.instance,
        outcome=item.control.outcome,
        status=item.status,
        points=item.control.points,
        max_points=item.control.max_points,
        points_achieved=item.points.current,
        is_stale=item.stale_since is not None,
        changed_at=item.control.changed_at,
    )
