"""The route of live events."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse

from plumbline_score_api.access import Reader, Session, session, streamed
from plumbline_score_api.events.feed import Member
from plumbline_score_api.events.schemas import EventQuery
from plumbline_score_api.events.service import EventService
from plumbline_score_api.problems import RESPONSES, response_of

router = APIRouter(prefix="/v1/events", tags=["events"], responses=RESPONSES)

EXAMPLE = """retry: 2000
id: q83vEjRWeJASNFZ4kBI0Vg

event: score_changed
data: {"event_id":"tenant/7/score","kind":"score_changed","at":"2026-11-25T02:30:00Z","scope":"tenant", …}
id: 5nKq0ylPB2uZ9sX4d1Hh7w

"""
_SAYS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events. `event` is the kind, `data` a JSON object, `id` what to come back with.",
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": EXAMPLE}},
    },
    400: response_of(400),
}


class EventStream(StreamingResponse):
    """Server-sent events."""

    media_type = "text/event-stream"


def _events(request: Request) -> EventService:
    found: EventService = request.app.state.services.events
    return found


async def admitted(request: Request, who: Reader, own: Annotated[Session, Depends(session)]) -> AsyncIterator[Member]:
    """A place among the open streams, until the answer is sent or its client gone."""
    request.state.is_endless = True
    async with _events(request).admitted(who.tenant, own) as member:
        yield member


@router.get(
    "", operation_id="streamEvents", response_class=EventStream, responses=_SAYS, dependencies=[Depends(streamed)]
)
async def stream_events(
    request: Request,
    who: Reader,
    member: Annotated[Member, Depends(admitted)],
    query: Annotated[EventQuery, Query()],
    last_event_id: Annotated[str | None, Header(description="Go on behind this event")] = None,
) -> EventStream:
    """What changes, as it happens: scores, findings, statuses, insights, collections.

    It begins now, or behind the event whose id is sent back. Every block has an id, those that only keep the
    connection alive too. The event `reset` says that something is missing: read again what you show.
    """
    cursor = last_event_id or query.last_event_id
    frames = await _events(request).stream(who.tenant, member, query, cursor)
    return EventStream(frames, headers={"X-Accel-Buffering": "no"})  # a proxy must not hold it back
