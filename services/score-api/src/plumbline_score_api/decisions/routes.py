"""Routes about statuses and their templates."""

from collections.abc import Callable
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from plumbline_contracts.events import ID_PATTERN
from pydantic import BaseModel

from plumbline_score_api.access import NoQuery, Reader, RestrictableWriter, Writer
from plumbline_score_api.audit.schemas import Author
from plumbline_score_api.decisions.many import decide_many
from plumbline_score_api.decisions.schemas import (
    StatusBody,
    StatusesBody,
    StatusesResult,
    StatusView,
    TemplateList,
    TemplateView,
    view,
)
from plumbline_score_api.decisions.service import DecisionService
from plumbline_score_api.pictures.picture import Recommendation
from plumbline_score_api.problems import RESPONSES, response_of
from plumbline_score_api.services import Services

router = APIRouter(prefix="/v1", tags=["statuses"], responses=RESPONSES)

Id = Annotated[str, Path(pattern=ID_PATTERN)]
Empty = Annotated[NoQuery, Query()]
IfMatch = Annotated[
    str | None,
    Header(max_length=1000, description="The ETag of the status that you know; another one is answered 412"),
]
GUARDED: dict[int | str, dict[str, Any]] = {412: response_of(412)}


def _services(request: Request) -> Services:
    found: Services = request.app.state.services
    return found


def _decisions(request: Request) -> DecisionService:
    return _services(request).decisions


def tag_of(shown: BaseModel | None) -> str:
    """The ETag of a status or template; of none at all it is a tag too."""
    text = shown.model_dump_json() if shown is not None else "none"
    return f'"{sha256(text.encode()).hexdigest()[:32]}"'


def status_of(item: Recommendation) -> StatusView:
    """The status of a recommendation as it is shown."""
    return StatusView(
        instance=item.instance,
        control_id=item.control.control_id,
        outcome=item.control.outcome,
        status=item.status,
        decision=view(item.decision, item.reopened),
    )


def _is_known(if_match: str | None) -> Callable[[BaseModel | None], bool]:
    """Whether what stands is what the caller knows; whatever it is, when he did not say. Weak tags never match."""
    if if_match is None:
        return lambda _: True
    tags = [tag.strip() for tag in if_match.split(",")]
    return lambda shown: (shown is not None and "*" in tags) or tag_of(shown) in tags


def _answered(response: Response, item: Recommendation) -> StatusView:
    shown = status_of(item)
    response.headers["ETag"] = tag_of(shown)
    return shown


@router.get("/recommendations/{instance}/{control}/status", operation_id="getStatus")
async def get_status(
    request: Request, response: Response, who: Reader, instance: Id, control: Id, _: Empty
) -> StatusView:
    """The status of one recommendation, and the decision behind it."""
    return _answered(response, await _decisions(request).one(who.tenant, instance, control))


@router.put("/recommendations/{instance}/{control}/status", operation_id="setStatus", responses=GUARDED)
async def set_status(
    request: Request,
    response: Response,
    who: Writer,
    instance: Id,
    control: Id,
    body: StatusBody,
    _: Empty,
    if_match: IfMatch = None,
) -> StatusView:
    """Decide about one recommendation. Saying again what holds changes nothing."""
    is_known = _is_known(if_match)
    item = await _decisions(request).decide(
        who.tenant, Author.of(who), instance, control, body, lambda item: is_known(status_of(item))
    )
    return _answered(response, item)


@router.delete("/recommendations/{instance}/{control}/status", operation_id="clearStatus", responses=GUARDED)
async def clear_status(
    request: Request, response: Response, who: Writer, instance: Id, control: Id, _: Empty, if_match: IfMatch = None
) -> StatusView:
    """Take the decision about one recommendation back: to the control's template, or to `to_address`."""
    is_known = _is_known(if_match)
    item = await _decisions(request).decide(
        who.tenant, Author.of(who), instance, control, None, lambda item: is_known(status_of(item))
    )
    return _answered(response, item)


@router.post("/recommendations/statuses", operation_id="setStatuses")
async def set_statuses(request: Request, who: RestrictableWriter, body: StatusesBody, _: Empty) -> StatusesResult:
    """Decide about many recommendations: those named, or all that match a filter. Each has a result of its own."""
    services = _services(request)
    return await decide_many(services.decisions, services.recommendations, who, body)


@router.get("/status-templates", operation_id="listStatusTemplates")
async def list_templates(request: Request, who: Reader, _: Empty) -> TemplateList:
    """The decisions that hold on all instances, present and future."""
    return TemplateList(items=await _decisions(request).templates(who.tenant))


@router.get("/controls/{control}/status-template", operation_id="getStatusTemplate")
async def get_template(request: Request, response: Response, who: Reader, control: Id, _: Empty) -> TemplateView:
    """The decision about a control on all instances."""
    found = await _decisions(request).template(who.tenant, control)
    response.headers["ETag"] = tag_of(found)
    return found


@router.put("/controls/{control}/status-template", operation_id="setStatusTemplate", responses=GUARDED)
async def set_template(
    request: Request,
    response: Response,
    who: Writer,
    control: Id,
    body: StatusBody,
    _: Empty,
    if_match: IfMatch = None,
) -> TemplateView:
    """Decide about a control on all instances, present and future. An instance's own decision wins over it."""
    found = await _decisions(request).set_template(who.tenant, Author.of(who), control, body, _is_known(if_match))
    assert found is not None
    response.headers["ETag"] = tag_of(found)
    return found


@router.delete(
    "/controls/{control}/status-template",
    operation_id="clearStatusTemplate",
    status_code=204,
    response_class=Response,
    responses=GUARDED,
)
async def clear_template(request: Request, who: Writer, control: Id, _: Empty, if_match: IfMatch = None) -> None:
    """Take the decision about a control on all instances back. It is as well when there was none."""
    await _decisions(request).set_template(who.tenant, Author.of(who), control, None, _is_known(if_match))
