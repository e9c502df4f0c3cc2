"""The route of events of findings."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from plumbline_score_api.access import Reader
from plumbline_score_api.findings.schemas import FindingPage, FindingQuery
from plumbline_score_api.findings.service import FindingService
from plumbline_score_api.problems import RESPONSES

router = APIRouter(prefix="/v1/findings", tags=["findings"], responses=RESPONSES)


def _findings(request: Request) -> FindingService:
    found: FindingService = request.app.state.services.findings
    return found


@router.get("", operation_id="listFindingEvents")
async def list_finding_events(request: Request, who: Reader, query: Annotated[FindingQuery, Query()]) -> FindingPage:
    """What SIEMs are told of findings, for those who ask instead of reading the topic `compliance-findings`."""
    return await _findings(request).page(who.tenant, query)
