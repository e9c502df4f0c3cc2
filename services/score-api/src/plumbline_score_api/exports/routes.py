"""Routes of exports."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from plumbline_contracts.events import ID_PATTERN

from plumbline_score_api.access import NoQuery, Reader, streamed
from plumbline_score_api.exports.download import Download, attachment
from plumbline_score_api.exports.schemas import (
    AuditExport,
    ChangesExport,
    ExposedExport,
    HistoryExport,
    RecommendationExport,
)
from plumbline_score_api.exports.service import ExportService
from plumbline_score_api.problems import RESPONSES

Id = Annotated[str, Path(pattern=ID_PATTERN)]
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file, sent while it is read. A failure on the way breaks the connection.",
        "content": {
            "text/csv": {"schema": {"type": "string"}},
            "application/x-ndjson": {"schema": {"type": "string"}},
        },
    }
}

router = APIRouter(
    prefix="/v1/exports",
    tags=["exports"],
    responses={**RESPONSES, **_FILE},
    dependencies=[Depends(streamed)],
    default_response_class=StreamingResponse,
)


documents = APIRouter(prefix="/v1/instances", tags=["exports"], responses=RESPONSES)


def _exports(request: Request) -> ExportService:
    found: ExportService = request.app.state.services.exports
    return found


@documents.get("/{instance}/oscal", operation_id="exportOscal")
async def export_oscal(
    request: Request, response: Response, who: Reader, instance: Id, _: Annotated[NoQuery, Query()]
) -> dict[str, Any]:
    """The instance's current evaluation as OSCAL 1.1.3 assessment results, with findings by NIST SP 800-53 control."""
    name = f"plumbline-{who.tenant}-{instance}-oscal-assessment-results.json"
    response.headers["Content-Disposition"] = attachment(name)
    return await _exports(request).oscal(who.tenant, instance)


@router.get("/recommendations", operation_id="exportRecommendations")
async def export_recommendations(
    request: Request, who: Reader, query: Annotated[RecommendationExport, Query()]
) -> Download:
    """All recommendations that match, in the order of the list."""
    return await _exports(request).recommendations(who.tenant, query)


@router.get("/exposed-entities", operation_id="exportExposedEntities")
async def export_exposed_entities(request: Request, who: Reader, query: Annotated[ExposedExport, Query()]) -> Download:
    """The exposed entities of all recommendations that match, by instance and control."""
    return await _exports(request).exposed(who.tenant, query)


@router.get("/history", operation_id="exportHistory")
async def export_history(request: Request, who: Reader, query: Annotated[HistoryExport, Query()]) -> Download:
    """The score over time, by day or by change."""
    return await _exports(request).history(who.tenant, query)


@router.get("/history-changes", operation_id="exportHistoryChanges")
async def export_history_changes(request: Request, who: Reader, query: Annotated[ChangesExport, Query()]) -> Download:
    """What changed the score: one record per control and per change of insights."""
    return await _exports(request).changes(who.tenant, query)


@router.get("/audit", operation_id="exportAudit")
async def export_audit(request: Request, who: Reader, query: Annotated[AuditExport, Query()]) -> Download:
    """The audit trail, the newest first."""
    return await _exports(request).audit(who.tenant, query)
