"""The route of the audit trail."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from plumbline_score_api.access import Reader
from plumbline_score_api.audit.schemas import AuditPage, AuditQuery
from plumbline_score_api.audit.service import AuditService
from plumbline_score_api.problems import RESPONSES

router = APIRouter(prefix="/v1/audit", tags=["audit"], responses=RESPONSES)


@router.get("", operation_id="listAudit")
async def list_audit(request: Request, who: Reader, query: Annotated[AuditQuery, Query()]) -> AuditPage:
    """Who changed which status or insights, when, from what to what; the newest first."""
    audit: AuditService = request.app.state.services.audit
    return await audit.page(who.tenant, query)
