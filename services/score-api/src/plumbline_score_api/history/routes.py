"""Routes about history."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from plumbline_score_api.access import RestrictableReader, refuse_unseen
from plumbline_score_api.history.schemas import (
    CompareQuery,
    Comparison,
    HistoryPage,
    HistoryQuery,
    RangeQuery,
    Trends,
)
from plumbline_score_api.history.service import HistoryService
from plumbline_score_api.problems import RESPONSES

router = APIRouter(prefix="/v1/history", tags=["history"], responses=RESPONSES)


def _history(request: Request) -> HistoryService:
    found: HistoryService = request.app.state.services.history
    return found


@router.get("", operation_id="listHistory")
async def list_history(
    request: Request, who: RestrictableReader, query: Annotated[HistoryQuery, Query()]
) -> HistoryPage:
    """The score over time: how each day ended, or every change with what led to it."""
    await refuse_unseen(request, who, query.instance)
    return await _history(request).page(who.tenant, query)


@router.get("/trends", operation_id="getTrends")
async def get_trends(request: Request, who: RestrictableReader, query: Annotated[RangeQuery, Query()]) -> Trends:
    """Day by day: points gained and lost, findings that fail again or are mended, risks accepted and their ends."""
    await refuse_unseen(request, who, query.instance)
    return await _history(request).trends(who.tenant, query)


@router.get("/compare", operation_id="compareHistory")
async def compare_history(
    request: Request, who: RestrictableReader, query: Annotated[CompareQuery, Query()]
) -> Comparison:
    """What changed between two moments, control by control, and by how many points."""
    await refuse_unseen(request, who, query.instance)
    return await _history(request).compare(who.tenant, query)
