"""Questions and answers about events of findings."""

from typing import Any

from plumbline_contracts.events import Identifier
from pydantic import BaseModel, ConfigDict, Field

from plumbline_score_api.events.cursors import LONGEST
from plumbline_score_api.moments import Moment


class FindingQuery(BaseModel):
    """Where to go on, and what is wanted. Several values of one filter are alternatives."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cursor: str | None = Field(
        default=None,
        min_length=1,
        max_length=LONGEST,
        description="`next_cursor` of the answer before. Without one it begins with the oldest event that is kept",
    )
    since: Moment | None = Field(
        default=None, description="Without a cursor: begin with what was written from this moment on"
    )
    instance: list[Identifier] = Field(default_factory=list, max_length=500, description="Events of these instances")
    control: list[Identifier] = Field(default_factory=list, max_length=500, description="Events of these controls")
    limit: int = Field(default=100, ge=1, le=500)


class FindingPage(BaseModel):
    """Events in the order in which they were written, per instance; those of instances are mixed.

    `next_cursor` is there always: keep it, and come back with it. `is_cut` says that events which lie between the
    cursor, or `since`, and the first item have been deleted: ask for a replay.
    """

    items: list[dict[str, Any]] = Field(description="OCSF 1.8.0 Compliance Findings, the same as on the topic")
    next_cursor: str
    has_more: bool = Field(description="Whether more is there now")
    is_cut: bool
