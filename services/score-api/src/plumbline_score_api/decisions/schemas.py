"""Bodies and answers about statuses."""

from datetime import datetime
from enum import StrEnum
from typing import Literal, Self

from plumbline_contracts.events import Identifier, Outcome
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from plumbline_score_api.decisions.decision import Decision, Ended, Seen, Status
from plumbline_score_api.moments import Moment
from plumbline_score_api.recommendations.filters import Filters
from plumbline_score_api.texts import Line, Text

MOST_ITEMS = 500
MOST_SELECTED = 2_000
_ACCEPTED: JsonDict = {
    "status": "risk_accepted",
    "note": "A test org without customer data; it is switched off in spring.",
    "assignee": "ann@contoso.example",
    "reason": "EX-114",
    "expires_at": "2036-03-31T00:00:00Z",
}


class Decidable(StrEnum):
    """What a person may decide: all statuses but `completed`."""

    TO_ADDRESS = "to_address"
    PLANNED = "planned"
    RISK_ACCEPTED = "risk_accepted"
    RESOLVED_THIRD_PARTY = "resolved_third_party"
    RESOLVED_ALTERNATE_MITIGATION = "resolved_alternate_mitigation"


class StatusBody(BaseModel):
    """A decision. What is left out is empty afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [_ACCEPTED]})

    status: Decidable
    note: Text | None = Field(default=None, description="Why, in the author's words")
    assignee: Line | None = Field(default=None, description="Who looks after it")
    reason: Line | None = Field(default=None, description="A short reason, such as the name of an exception process")
    expires_at: Moment | None = Field(default=None, description="When the decision ends by itself; in the future")


class Target(BaseModel):
    """One control on one instance."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    instance: Identifier
    control: Identifier


class StatusesBody(StatusBody):
    """One decision for many recommendations: `items`, or all that match `filter`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "planned", "filter": {"severity": ["high"]}}]})

    items: list[Target] | None = Field(default=None, min_length=1, max_length=MOST_ITEMS)
    filter: Filters | None = Field(default=None, description=f"Matches at most {MOST_SELECTED:,} recommendations")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.items is None) == (self.filter is None):
            raise ValueError("give either `items` or `filter`")
        return self


class DecisionView(BaseModel):
    """What was decided, by whom, and whether it still holds."""

    decision_id: str
    status: Status
    author: str
    note: str | None
    assignee: str | None
    reason: str | None
    decided_at: datetime
    expires_at: datetime | None
    is_template: bool = Field(description="Whether it comes from the control's template for all instances")
    holds: bool
    ended: Ended | None = Field(description="Why it does not hold any more")
    ended_at: datetime | None
    ended_detail: str | None
    evidence: Seen | None = Field(
        description="What was seen when it was made; None for a template not yet applied here"
    )


class StatusView(BaseModel):
    """The status of one recommendation. `completed` while the outcome is PASS, else what holds of the decision."""

    instance: str
    control_id: str
    outcome: Outcome
    status: Status
    decision: DecisionView | None


class ItemResult(BaseModel):
    """What became of one recommendation of many."""

    instance: str
    control: str
    result: Literal["changed", "unchanged", "not_found", "conflict"]
    status: Status | None = Field(default=None, description="The status shown afterwards")
    detail: str | None = None


class StatusesResult(BaseModel):
    """What became of each recommendation, in the order in which they were named."""

    items: list[ItemResult]
    changed: int
    unchanged: int
    failed: int


class TemplateView(BaseModel):
    """The decision about a control on all instances, present and future."""

    control_id: str
    status: Status
    author: str
    note: str | None
    assignee: str | None
    reason: str | None
    decided_at: datetime
    expires_at: datetime | None
    holds: bool
    ended: Ended | None
    ended_at: datetime | None


class TemplateList(BaseModel):
    """All templates of the tenant."""

    items: list[TemplateView]


def view(decision: Decision | None, reopened: str | None) -> DecisionView | None:
    """A decision as it is shown; `reopened` is the one that the evaluation contradicts."""
    if decision is None or decision.status is None:
        return None
    is_reopened = decision.ended is None and decision.decision_id == reopened
    return DecisionView(
        **decision.model_dump(
            include={
                "decision_id", "status", "author", "note", "assignee", "reason", "decided_at", "expires_at",
                "ended_at", "ended_detail", "evidence",
            }
        ),
        is_template=decision.template is not None or decision.evidence is None,
        holds=decision.holds and not is_reopened,
        ended=Ended.REOPENED if is_reopened else decision.ended,
    )  # fmt: skip
