"""Routes of the catalogue."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from plumbline_contracts.events import ID_PATTERN

from plumbline_score_api.access import NoQuery, Reader
from plumbline_score_api.controls.schemas import ControlDetail, ControlPage, ControlQuery
from plumbline_score_api.controls.service import ControlService
from plumbline_score_api.problems import RESPONSES

router = APIRouter(prefix="/v1/controls", tags=["controls"], responses=RESPONSES)

Id = Annotated[str, Path(pattern=ID_PATTERN)]


def _controls(request: Request) -> ControlService:
    found: ControlService = request.app.state.services.controls
    return found


@router.get("", operation_id="listControls")
async def list_controls(request: Request, who: Reader, query: Annotated[ControlQuery, Query()]) -> ControlPage:
    """The controls of the catalogue, whether an instance is judged by them or not."""
    return await _controls(request).page(who.tenant, query)


@router.get("/{control}", operation_id="getControl")
async def get_control(request: Request, who: Reader, control: Id, _: Annotated[NoQuery, Query()]) -> ControlDetail:
    """One control, by id or alias: what it judges and why, how to mend it, and the instances it is judged on."""
    return await _controls(request).detail(who.tenant, control)
