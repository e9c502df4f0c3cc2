"""Routes about zones."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from plumbline_score_api.access import NoQuery, Reader, Writer
from plumbline_score_api.audit.schemas import Author
from plumbline_score_api.decisions.routes import GUARDED, IfMatch, tag_of
from plumbline_score_api.problems import RESPONSES
from plumbline_score_api.zones.schemas import ZonesBody, ZonesView
from plumbline_score_api.zones.service import IsWanted, ZoneService

router = APIRouter(prefix="/v1/zones", tags=["zones"], responses=RESPONSES)

Empty = Annotated[NoQuery, Query()]


def _zones(request: Request) -> ZoneService:
    found: ZoneService = request.app.state.services.zones
    return found


def _is_known(if_match: str | None) -> IsWanted:
    """Whether what stands is what the caller knows; whatever it is, when he did not say."""
    if if_match is None:
        return lambda _: True
    tags = [tag.strip() for tag in if_match.split(",")]
    return lambda shown: "*" in tags or tag_of(shown) in tags


def _answered(response: Response, shown: ZonesView) -> ZonesView:
    response.headers["ETag"] = tag_of(shown)
    return shown


@router.get("", operation_id="getZones")
async def get_zones(request: Request, response: Response, who: Reader, _: Empty) -> ZonesView:
    """Where a score is good, fair or poor."""
    return _answered(response, await _zones(request).view(who.tenant))


@router.put("", operation_id="setZones", responses=GUARDED)
async def set_zones(
    request: Request, response: Response, who: Writer, body: ZonesBody, _: Empty, if_match: IfMatch = None
) -> ZonesView:
    """Set where a score is good, fair or poor. Saying again what stands changes nothing."""
    shown = await _zones(request).choose(who.tenant, Author.of(who), body, _is_known(if_match))
    return _answered(response, shown)


@router.delete("", operation_id="clearZones", responses=GUARDED)
async def clear_zones(
    request: Request, response: Response, who: Writer, _: Empty, if_match: IfMatch = None
) -> ZonesView:
    """Go back to the default limits. It is as well when they stand already."""
    shown = await _zones(request).choose(who.tenant, Author.of(who), None, _is_known(if_match))
    return _answered(response, shown)
