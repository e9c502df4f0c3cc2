"""Deciding about many recommendations: instance by instance, each in one step."""

from plumbline_score_api.audit.schemas import Author
from plumbline_score_api.decisions.schemas import MOST_SELECTED, ItemResult, StatusesBody, StatusesResult, Target
from plumbline_score_api.decisions.service import Changed, DecisionService, refuse_past
from plumbline_score_api.keys.schemas import Caller
from plumbline_score_api.problems import ConflictError, InvalidError
from plumbline_score_api.recommendations.service import RecommendationService


async def decide_many(
    decisions: DecisionService, recommendations: RecommendationService, who: Caller, body: StatusesBody
) -> StatusesResult:
    """Decide about all that the body names and the caller sees.

    Raises InvalidError for a past expiry or a filter that matches too much.
    """
    refuse_past(body)
    targets = list(dict.fromkeys(body.items if body.items is not None else await _selected(recommendations, who, body)))
    by_instance: dict[str, list[str]] = {}
    for target in targets:
        by_instance.setdefault(target.instance, []).append(target.control)
    seen = await recommendations.instances(who.tenant, who.restriction)
    found: dict[Target, ItemResult] = {}
    for instance, controls in by_instance.items():
        for result in await _decide(decisions, who, instance, controls, body, is_seen=instance in seen):
            found[Target(instance=result.instance, control=result.control)] = result
    items = [found[target] for target in targets]
    counted = [item.result for item in items]
    changed, unchanged = counted.count("changed"), counted.count("unchanged")
    return StatusesResult(items=items, changed=changed, unchanged=unchanged, failed=len(items) - changed - unchanged)


async def _selected(recommendations: RecommendationService, who: Caller, body: StatusesBody) -> list[Target]:
    assert body.filter is not None
    found = await recommendations.selected(who.tenant, body.filter, who.restriction)
    if len(found) > MOST_SELECTED:
        raise InvalidError(f"The filter matches {len(found)} recommendations, of {MOST_SELECTED} at most; narrow it.")
    return [Target(instance=item.instance, control=item.control.control_id) for item in found]


async def _decide(
    decisions: DecisionService, who: Caller, instance: str, controls: list[str], body: StatusesBody, *, is_seen: bool
) -> list[ItemResult]:
    if not is_seen:
        return [_result(instance, control, None) for control in controls]
    try:
        results = await decisions.decide_some(who.tenant, Author.of(who), instance, controls, body)
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
