"""Routes about instances."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from plumbline_contracts.events import ID_PATTERN, Insights
from pydantic import ValidationError

from plumbline_score_api import json_bodies
from plumbline_score_api.access import InstanceManager, NoQuery, Reader, RestrictableReader, refuse_unseen
from plumbline_score_api.audit.schemas import Author
from plumbline_score_api.instances.disconnecting import DisconnectingService
from plumbline_score_api.instances.schemas import (
    DisconnectQuery,
    InsightsBody,
    InstanceDetail,
    InstanceList,
    ScanAccepted,
    ScanBody,
)
from plumbline_score_api.instances.service import InstanceService
from plumbline_score_api.problems import RESPONSES, ForbiddenError

router = APIRouter(prefix="/v1/instances", tags=["instances"], responses=RESPONSES)

InstanceId = Annotated[str, Path(pattern=ID_PATTERN)]
Empty = Annotated[NoQuery, Query()]


def _instances(request: Request) -> InstanceService:
    found: InstanceService = request.app.state.services.instances
    return found


@router.get("", operation_id="listInstances")
async def list_instances(request: Request, who: RestrictableReader, _: Empty) -> InstanceList:
    """All connected instances."""
    return InstanceList(items=await _instances(request).list(who.tenant, who.restriction))


@router.get("/{instance}", operation_id="getInstance")
async def get_instance(request: Request, who: Reader, instance: InstanceId, _: Empty) -> InstanceDetail:
    """One instance: score, health, datasets and what is missing."""
    return await _instances(request).detail(who.tenant, instance)


@router.delete("/{instance}", operation_id="disconnectInstance", status_code=204)
async def disconnect_instance(
    request: Request, who: InstanceManager, instance: InstanceId, query: Annotated[DisconnectQuery, Query()]
) -> None:
    """Disconnect an instance: its recommendations, decisions and points go, history and audit trail stay.

    A collection that begins later connects it again, so take it out of the connections file first. Which of the others
    is `main` may follow from it, so a key that sees some instances alone may not.
    """
    await refuse_unseen(request, who, None)
    disconnecting: DisconnectingService = request.app.state.services.disconnecting
    await disconnecting.disconnect(who.tenant, instance, Author.of(who), query.note)


async def nothing(request: Request) -> ScanBody:
    """The body of a scan. Raises RequestValidationError for anything but nothing, BadRequestError."""
    body = (await request.body()).strip()
    try:
        return ScanBody.model_validate(json_bodies.parsed(body) if body else {})
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in found]) from error


_NOTHING = {"requestBody": {"content": {"application/json": {"schema": ScanBody.model_json_schema()}}}}


@router.post("/{instance}/scan", operation_id="scanInstance", status_code=202, openapi_extra=_NOTHING)
async def scan_instance(
    request: Request, who: InstanceManager, instance: InstanceId, _: Empty, body: Annotated[ScanBody, Depends(nothing)]
) -> ScanAccepted:
    """Ask for a collection now. The body is empty or `{}`, whatever its content type."""
    return await _instances(request).scan(who.tenant, instance, who.name)


@router.put("/{instance}/insights", operation_id="setInsights")
async def set_insights(
    request: Request, who: InstanceManager, instance: InstanceId, body: InsightsBody, _: Empty
) -> InstanceDetail:
    """Decide whether the instance counts in Secure Score; `main` takes it from the former main instance."""
    if who.restriction is not None and body.insights is Insights.MAIN:
        raise ForbiddenError("The caller is restricted, and another instance would cease to be main.")
    return await _instances(request).choose_insights(who.tenant, instance, body.insights, Author.of(who), body.note)
