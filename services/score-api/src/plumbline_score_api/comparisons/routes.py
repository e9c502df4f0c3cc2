"""Routes about comparisons."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from plumbline_contracts.events import ID_PATTERN

from plumbline_score_api.access import RestrictableReader, refuse_unseen
from plumbline_score_api.comparisons.schemas import ComparisonQuery, InstanceComparison, PeerComparison, PeersQuery
from plumbline_score_api.comparisons.service import ComparisonService
from plumbline_score_api.problems import RESPONSES

router = APIRouter(prefix="/v1/instances", tags=["comparisons"], responses=RESPONSES)

Id = Annotated[str, Path(pattern=ID_PATTERN)]


def _comparisons(request: Request) -> ComparisonService:
    found: ComparisonService = request.app.state.services.comparisons
    return found


@router.get("/{instance}/compare/{other}", operation_id="compareInstances")
async def compare_instances(
    request: Request, who: RestrictableReader, instance: Id, other: Id, query: Annotated[ComparisonQuery, Query()]
) -> InstanceComparison:
    """Two instances of one product control by control, differences first; or an instance and what it was before."""
    for compared in (instance, other):
        await refuse_unseen(request, who, compared)
    return await _comparisons(request).instances(who.tenant, instance, other, query)


@router.get("/{instance}/peers", operation_id="compareWithPeers")
async def compare_with_peers(
    request: Request, who: RestrictableReader, instance: Id, query: Annotated[PeersQuery, Query()]
) -> PeerComparison:
    """One instance against the average and the best of the tenant's other instances of the product."""
    for asked in (instance, None):
        await refuse_unseen(request, who, asked)
    return await _comparisons(request).peers(who.tenant, instance, query)
