"""What is written into a stream of events. Pure. Source: HTML Living Standard, server-sent events.

A block with an id and without data moves the client's `Last-Event-ID` and is no event.
"""

import json
from enum import StrEnum

from fastapi.sse import format_sse_event

from plumbline_score_api.changes.repository import Entry

RETRY_MS = 2000


class Reset(StrEnum):
    """Why a client has to read again what it shows."""

    DELETED = "deleted"
    """Entries behind its place are older than the log is kept."""
    UNKNOWN = "unknown"
    """Its place lies beyond the end of the log: the database is another one, or was restored."""


_TELLS = {
    Reset.DELETED: "Some of what happened since is no longer kept.",
    Reset.UNKNOWN: "The log does not go as far as this place; it was restored, or is another one.",
}
_THEN = "Read again what you show; what is kept follows."


def hello(cursor: str) -> bytes:
    """The start of a stream: from where on it tells, and when to come back after a break."""
    return format_sse_event(comment="plumbline", id=cursor, retry=RETRY_MS)


def event(entry: Entry, cursor: str) -> bytes:
    """An entry, and the place behind it."""
    return format_sse_event(event=entry.change.kind.value, data_str=entry.body, id=cursor)


def reset(reason: Reset, cursor: str) -> bytes:
    """Something was skipped."""
    data = {"kind": "reset", "reason": reason.value, "detail": f"{_TELLS[reason]} {_THEN}"}
    return format_sse_event(event="reset", data_str=json.dumps(data), id=cursor)


def beat(cursor: str) -> bytes:
    """Nothing happened that the client wants to know; it is at this place now."""
    return format_sse_event(comment="beat", id=cursor)


def end(reason: str) -> bytes:
    """Why a stream ends here, for people."""
    return format_sse_event(comment=reason)
