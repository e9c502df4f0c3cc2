"""What Plumbline adds to OCSF in an event for SIEMs: the object `unmapped`, typed.

The event itself is an OCSF Compliance Finding; its schema is OCSF's, narrowed to what is promised
(`finding_schema`). Writers build `unmapped` with every field known; readers ignore fields that they do not know.
"""

from enum import StrEnum
from typing import Literal

from pydantic import Field

from plumbline_contracts.events import Event, Identifier, Insights, Product, Timestamp

FINDING_EVENT = "plumbline.finding.v1"
"""CloudEvents `type` of an event on `compliance-findings`."""

OCSF_VERSION = "1.8.0"
MOST_FINDING_BYTES = 8_000
"""The largest event: line-based receivers cut at 8,096."""


class Transition(StrEnum):
    """What happened to a finding. Later minor versions may add values."""

    BASELINE_PASS = "baseline_pass"  # noqa: S105 - a transition, not a password
    FAILED = "failed"
    EVIDENCE_CHANGED = "evidence_changed"
    PASSED = "passed"
    REGRESSED = "regressed"
    NO_RESULT = "no_result"
    PLANNED = "planned"
    RISK_ACCEPTED = "risk_accepted"
    CLAIMED = "claimed"
    REOPENED = "reopened"
    EXCEPTION_EXPIRED = "exception_expired"
    NOT_APPLICABLE = "not_applicable"
    CONTROL_CHANGED = "control_changed"
    INSIGHTS_CHANGED = "insights_changed"
    CONTROL_RETIRED = "control_retired"
    INSTANCE_DISCONNECTED = "instance_disconnected"
    TENANT_ERASED = "tenant_erased"
    HEARTBEAT = "heartbeat"
    REPLAYED = "replayed"


class Previous(Event):
    """What was told of the finding before."""

    status_id: int = Field(ge=0, description="OCSF's `status_id` of the event before")
    outcome: str = Field(description="`compliance.status_code` of the event before")


class FindingInstance(Event):
    """The instance, once more: `resources[0]` is hard to filter by."""

    id: Identifier = Field(description="Id of the instance")
    product: Product = Field(description="The product of the instance")
    insights: Insights | None = Field(default=None, description="Whether its results count in Secure Score")
    url: str | None = Field(default=None, description="Address of the instance")


class FindingScore(Event):
    """Points of the finding as the instance's score has them."""

    points: float = Field(ge=0, description="Points achieved; always written with a decimal point")
    points_max: float = Field(ge=0, le=10, description="Points possible; 0.0 for a finding that is gone")


class FindingCounts(Event):
    """Rows that were judged, and exposed entities."""

    compliant: int | None = Field(default=None, ge=0, description="Rows that comply; absent where nothing is counted")
    total: int | None = Field(default=None, ge=0, description="Rows that were judged; absent where nothing is counted")
    exposed: int = Field(ge=0, description="The exact number of exposed entities")
    listed: int = Field(ge=0, description="How many of them stand in `resources`; the API has all")


class Disposition(Event):
    """What a person decided about the finding."""

    state: str = Field(description="The status that was decided, such as `risk_accepted`")
    by: str = Field(description="Who decided, as an opaque id unless names are allowed")
    at: Timestamp = Field(description="When it was decided")
    expires_at: Timestamp | None = Field(default=None, description="When the decision ends; absent if it does not")
    reason: str | None = Field(default=None, description="Why, in the person's words")
    ticket: str | None = Field(default=None, description="Reference to a system of tickets")


class Unmapped(Event):
    """What OCSF has no place for: flat enough to search, every path of one type, absent rather than null."""

    contract: Literal["plumbline.finding/1"] = Field(description="This contract and its major version")
    transition: Transition = Field(description="What happened")
    episode: int = Field(ge=0, description="How often the finding was opened so far")
    cause_id: str = Field(description="The evaluation, decision or catalogue that brought the event")
    instance: FindingInstance = Field(description="The instance")
    catalogue_version: str = Field(description="Generation of the catalogue that the control is of")
    score: FindingScore = Field(description="Points of the finding")
    previous: Previous | None = Field(default=None, description="What was told before; absent in the first event")
    snapshot_id: str | None = Field(default=None, description="The snapshot that was judged")
    evaluation_id: str | None = Field(default=None, description="The evaluation that measured the result")
    counts: FindingCounts | None = Field(default=None, description="Counts of the result; absent without one")
    disposition: Disposition | None = Field(default=None, description="The decision in force; absent without one")
