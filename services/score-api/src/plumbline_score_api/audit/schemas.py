"""Entries of the audit trail."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Self

from plumbline_contracts.events import Identifier
from pydantic import BaseModel, ConfigDict, Field

from plumbline_score_api.keys.schemas import Caller
from plumbline_score_api.moments import Moment


class Author(NamedTuple):
    """Who acts: a name, and an identity that is unique and lasting."""

    name: str
    identity: str

    @classmethod
    def of(cls, who: Caller) -> Self:
        """A caller."""
        return cls(who.name, who.identity)


SYSTEM = Author("system", "system")
"""Who acts when no person does: evidence reopens, time expires."""


class Action(StrEnum):
    """What was done."""

    STATUS_SET = "status_set"
    STATUS_CLEARED = "status_cleared"
    STATUS_REOPENED = "status_reopened"
    STATUS_EXPIRED = "status_expired"
    TEMPLATE_SET = "template_set"
    TEMPLATE_CLEARED = "template_cleared"
    TEMPLATE_EXPIRED = "template_expired"
    INSIGHTS_SET = "insights_set"
    ZONES_SET = "zones_set"
    ZONES_CLEARED = "zones_cleared"
    INSTANCE_DISCONNECTED = "instance_disconnected"
    KEY_CREATED = "key_created"
    KEY_REVOKED = "key_revoked"
    WEBHOOK_CREATED = "webhook_created"
    WEBHOOK_CHANGED = "webhook_changed"
    WEBHOOK_DELETED = "webhook_deleted"
    WEBHOOK_SECRET_ROTATED = "webhook_secret_rotated"  # noqa: S105 - no secret
    WEBHOOK_DISABLED = "webhook_disabled"
    WEBHOOK_TESTED = "webhook_tested"
    WEBHOOK_REDELIVERED = "webhook_redelivered"


class AuditEntry(BaseModel):
    """One change. `before` and `after` are what people saw: a status, or insights."""

    model_config = ConfigDict(frozen=True)

    entry_id: str
    at: datetime
    who: str = Field(description="The name of the key or person")
    identity: str = Field(description="Unique and lasting, as a name is not")
    action: Action
    instance: str | None = None
    control_id: str | None = None
    before: str | None = None
    after: str | None = None
    note: str | None = None
    detail: str | None = Field(default=None, description="Assignee, reason and expiry; or why the system did it")


class AuditFilters(BaseModel):
    """Filters; several values of one filter are alternatives."""

    model_config = ConfigDict(extra="forbid")

    action: list[Action] = Field(default_factory=list)
    instance: list[Identifier] = Field(default_factory=list)
    control: list[Identifier] = Field(default_factory=list)
    who: list[str] = Field(default_factory=list, max_length=50)
    since: Moment | None = Field(default=None, description="From this moment on")
    until: Moment | None = Field(default=None, description="Before this moment")


class AuditQuery(AuditFilters):
    """Filters and page."""

    limit: int = Field(default=50, ge=1, le=500)
    cursor: str | None = Field(
        default=None, min_length=1, max_length=500, description="`next_cursor` of the page before"
    )


class AuditPage(BaseModel):
    """A page of the audit trail, the newest first."""

    items: list[AuditEntry]
    next_cursor: str | None
