"""Routes about recommendations."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from plumbline_contracts.events import ID_PATTERN

from plumbline_score_api.access import NoQuery, Reader, RestrictableReader
from plumbline_score_api.again import AgainRoute, answered
from plumbline_score_api.problems import RESPONSES
from plumbline_score_api.recommendations.schemas import (
    ExposedPage,
    ExposedQuery,
    RecommendationDetail,
    RecommendationPage,
    RecommendationQuery,
)
from plumbline_score_api.recommendations.service import RecommendationService

router = APIRouter(prefix="/v1/recommendations", tags=["recommendations"], responses=RESPONSES, route_class=AgainRoute)

Id = Annotated[str, Path(pattern=ID_PATTERN)]


def _recommendations(request: Request) -> RecommendationService:
    found: RecommendationService = request.app.state.services.recommendations
    return found


@router.get("", operation_id="listRecommendations", response_model=RecommendationPage)
async def list_recommendations(
    request: Request, who: RestrictableReader, query: Annotated[RecommendationQuery, Query()]
) -> Response:
    """Recommendations, the most worthwhile first."""
    found = _recommendations(request)
    body = await found.page_body(who.tenant, query, who.restriction)
    return answered(request, body, found.page_again(who.tenant, query, who.restriction))


@router.get("/{instance}/{control}", operation_id="getRecommendation")
async def get_recommendation(
    request: Request, who: RestrictableReader, instance: Id, control: Id, _: Annotated[NoQuery, Query()]
) -> RecommendationDetail:
    """One recommendation, by control id or alias: what, why, how to mend it, and the evidence."""
    return await _recommendations(request).detail(who.tenant, instance, control, who.restriction)


@router.get("/{instance}/{control}/exposed", operation_id="listExposedEntities")
async def list_exposed(
    request: Request, who: Reader, instance: Id, control: Id, query: Annotated[ExposedQuery, Query()]
) -> ExposedPage:
    """The entities that do not comply."""
    return await _recommendations(request).exposed(who.tenant, instance, control, query)
