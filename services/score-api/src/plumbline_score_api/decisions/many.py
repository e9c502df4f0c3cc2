"""Deciding about many recommendations: instance by instance, each in one step."""

from plumbline_score_api.audit.schemas import Author
from plumbline_score_api.decisions.schemas import MOST_SELECTED, ItemResult, StatusesBody, StatusesResult, Target
from plumbline_score_api.decisions.service import Changed, DecisionService, refuse_past
from plumbline_score_api.problems import ConflictError, InvalidError
from plumbline_score_api.recommendations.service import RecommendationService


async def decide_many(
    decisions: DecisionService, recommendations: RecommendationService, tenant: str, who: Author, body: StatusesBody
) -> StatusesResult:
    """Decide about all that the body names. Raises InvalidError for a past expiry or a filter that matches too much."""
    refuse_past(body)
    targets = list(
        dict.fromkeys(body.items if body.items is not None else await _selected(recommendations, tenant, body))
    )
    by_instance: dict[str, list[str]] = {}
    for target in targets:
        by_instance.setdefault(target.instance, []).append(target.control)
    found: dict[Target, ItemResult] = {}
    for instance, controls in by_instance.items():
        for result in await _decide(decisions, tenant, who, instance, controls, body):
            found[Target(instance=result.instance, control=result.control)] = result
    items = [found[target] for target in targets]
    counted = [item.result for item in items]
    changed, unchanged = counted.count("changed"), counted.count("unchanged")
    return StatusesResult(items=items, changed=changed, unchanged=unchanged, failed=len(items) - changed - unchanged)


async def _selected(recommendations: RecommendationService, tenant: str, body: StatusesBody) -> list[Target]:
    assert body.filter is not None
    found = await recommendations.selected(tenant, body.filter)
    if len(found) > MOST_SELECTED:
        raise InvalidError(f"The filter matches {len(found)} recommendations, of {MOST_SELECTED} at most; narrow it.")
    return [Target(instance=item.instance, control=item.control.control_id) for item in found]


async def _decide(
    decisions: DecisionService, tenant: str, who: Author, instance: str, controls: list[str], body: StatusesBody
) -> list[ItemResult]:
    try:
        results = await decisions.decide_some(tenant, who, instance, controls, body)
    except ConflictError as error:
        return [
            ItemResult(instance=instance, control=control, result="conflict", detail=error.detail)
            for control in controls
        ]
    return [_result(instance, control, result) for control, result in zip(controls, results, strict=True)]


def _result(instance: str, control: str, result: Changed | None) -> ItemResult:
    if result is None:
        detail = f"No recommendation {control} on an instance {instance}."
        return ItemResult(instance=instance, control=control, result="not_found", detail=detail)
    return ItemResult(
        instance=instance,
        control=control,
        result="changed" if result.is_changed else "unchanged",
        status=result.item.status,
    )
