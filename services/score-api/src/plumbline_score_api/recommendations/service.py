"""Recommendations of the current evaluations."""

from typing import Any

from plumbline_contracts.events import ControlDefinition, ControlResult, ExposedEntity
from pydantic import TypeAdapter

from plumbline_score_api.instances.repository import InstanceRepository
from plumbline_score_api.problems import NotFoundError
from plumbline_score_api.recommendations import cursors
from plumbline_score_api.recommendations.repository import RecommendationRepository
from plumbline_score_api.recommendations.schemas import (
    ExposedPage,
    ExposedQuery,
    OtherInstance,
    RecommendationDetail,
    RecommendationItem,
    RecommendationPage,
    RecommendationQuery,
)

Document = dict[str, Any]
FILTERS = ("product", "instance", "outcome", "status", "category", "severity")
_ENTITIES = TypeAdapter(list[ExposedEntity])


class RecommendationService:
    """Recommendations of one tenant."""

    def __init__(self, repository: RecommendationRepository, instances: InstanceRepository) -> None:
        self._repository, self._instances = repository, instances

    async def page(self, tenant: str, query: RecommendationQuery) -> RecommendationPage:
        """A page in the order of rank. Raises InvalidError for a bad cursor."""
        filters = {name: [str(value) for value in getattr(query, name)] for name in FILTERS}
        scope = f"recommendations of {tenant} {filters}"
        after = str(cursors.decode(query.cursor, scope, str)[0]) if query.cursor else None
        evaluations = list((await self._current(tenant)).values())
        found = await self._repository.page(tenant, evaluations, filters, after, query.limit + 1)
        total = await self._repository.count(tenant, evaluations, filters)
        before = await self._repository.count(tenant, evaluations, filters, after) if after else 0
        shown = found[: query.limit]
        return RecommendationPage(
            items=[RecommendationItem(**_item(d, rank)) for rank, d in enumerate(shown, start=before + 1)],
            total=total,
            next_cursor=cursors.encode(scope, shown[-1]["rank_key"]) if len(found) > query.limit else None,
        )

    async def detail(self, tenant: str, instance: str, control: str) -> RecommendationDetail:
        """One recommendation by control id or alias. Raises NotFoundError."""
        document = await self._found(tenant, instance, control)
        current = await self._current(tenant)
        rank = await self._repository.count(tenant, list(current.values()), {}, document["rank_key"])
        others = await self._repository.same_control(tenant, current, document["control_id"])
        definition = ControlDefinition.model_validate_json(document["definition"])
        result = ControlResult.model_validate_json(document["result"])
        return RecommendationDetail(
            **_item(document, rank),
            **definition.model_dump(
                include={"description", "rationale", "remediation", "threats", "frameworks", "permissions"}
            ),
            implementation_steps=definition.remediation.steps,
            expected=result.expected,
            observed=result.observed,
            evidence=result.evidence,
            exposed_entities=await self._exposed(tenant, document, ExposedQuery()),
            first_seen_at=document["first_seen_at"],
            stale_since=document["stale_since"],
            regressed_at=document["regressed_at"],
            other_instances=[_other(d) for d in others if d["instance"] != instance],
        )

    async def exposed(self, tenant: str, instance: str, control: str, query: ExposedQuery) -> ExposedPage:
        """Exposed entities of one recommendation, paged. Raises NotFoundError, InvalidError."""
        return await self._exposed(tenant, await self._found(tenant, instance, control), query)

    async def _exposed(self, tenant: str, document: Document, query: ExposedQuery) -> ExposedPage:
        scope = f"exposed of {tenant} {document['evaluation']} {document['control_id']}"
        position = cursors.decode(query.cursor, scope, int, int) if query.cursor else (0, 0)
        number, start = (int(part) for part in position)
        result = ControlResult.model_validate_json(document["result"])
        items: list[ExposedEntity] = []
        while len(items) < query.limit:
            stored = await self._repository.exposed(tenant, document["evaluation"], document["control_id"], number)
            if stored is None:
                break
            entities = _ENTITIES.validate_json(stored["body"])
            taken = entities[start : start + query.limit - len(items)]
            items += taken
            start += len(taken)
            if start >= len(entities):
                number, start = number + 1, 0
        is_more = await self._repository.exposed(tenant, document["evaluation"], document["control_id"], number)
        return ExposedPage(
            items=items,
            total=result.exposed,
            is_cut=result.exposed > result.exposed_listed,
            next_cursor=cursors.encode(scope, number, start) if is_more else None,
        )

    async def _current(self, tenant: str) -> dict[str, str]:
        """Instance to current evaluation."""
        instances = await self._instances.scores(tenant)
        return {each["instance"]: each["current"]["key"] for each in instances if each.get("current")}

    async def _found(self, tenant: str, instance: str, control: str) -> Document:
        known = await self._instances.find(tenant, instance)
        current = (known or {}).get("current")
        document = await self._repository.find(tenant, current["key"], control) if current else None
        if document is None:
            raise NotFoundError(f"No recommendation {control} on an instance {instance}.")
        return document


def _item(document: Document, rank: int) -> Document:
    result = ControlResult.model_validate_json(document["result"])
    definition = ControlDefinition.model_validate_json(document["definition"])
    stored = ("product", "instance", "category", "severity", "status", "aliases", "changed_at", "evaluated_at")
    out = result.outcome == "NOT_APPLICABLE"
    return {
        **{name: document[name] for name in stored},
        **result.model_dump(
            include={
                "control_id",
                "outcome",
                "reason",
                "points",
                "max_points",
                "compliant",
                "total",
                "exposed",
                "explanation",
            }
        ),
        "rank": rank,
        "title": definition.title,
        "points_left": 0.0 if out else round(result.max_points - result.points, 3),
        "user_impact": definition.user_impact,
        "implementation_cost": definition.implementation_cost,
        "is_stale": document["stale_since"] is not None,
        "is_regressed": document["regressed_at"] is not None,
    }


def _other(document: Document) -> OtherInstance:
    result = ControlResult.model_validate_json(document["result"])
    return OtherInstance(
        instance=document["instance"], outcome=result.outcome, points=result.points, max_points=result.max_points
    )
