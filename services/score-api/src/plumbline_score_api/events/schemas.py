"""What is asked of the stream of events."""

from typing import Annotated

from plumbline_contracts.events import Identifier
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from plumbline_score_api.changes.changes import Change, ChangeKind
from plumbline_score_api.moments import Moment

ScopeName = Annotated[str, StringConstraints(pattern=r"^(tenant|product:[a-z]{1,32}|instance:[A-Za-z0-9._-]{1,64})$")]


_ASKED_FOR = frozenset({ChangeKind.COMPLIANCE_FINDING})
"""Large, and told beside a smaller event of the same: nobody gets them who does not name them."""


class EventFilters(BaseModel):
    """Filters; several values of one filter are alternatives. `compliance_finding` is sent only if it is named."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: list[ChangeKind] = Field(default_factory=list, max_length=50)
    instance: list[Identifier] = Field(
        default_factory=list, max_length=500, description="Events of these instances; those of wider scopes have none"
    )
    control: list[Identifier] = Field(default_factory=list, max_length=500, description="Events of these controls")
    scope: list[ScopeName] = Field(
        default_factory=list, max_length=500, description="`tenant`, `product:PRODUCT` or `instance:INSTANCE`"
    )

    def match(self, change: Change) -> bool:
        """Whether all filters let a change pass."""
        return (
            (change.kind in self.kind if self.kind else change.kind not in _ASKED_FOR)
            and (not self.instance or change.instance in self.instance)
            and (not self.control or change.control_id in self.control)
            and (not self.scope or change.scope in self.scope)
        )


class EventQuery(EventFilters):
    """Filters, and where to begin. The header `Last-Event-ID` wins, then `last_event_id`, then `since`, then now."""

    since: Moment | None = Field(default=None, description="Tell first what was written from this moment on")
    last_event_id: str | None = Field(
        default=None, description="The id of the last event, for clients that cannot set the header"
    )
    follow: bool = Field(default=True, description="`false`: tell what there is and end")
