"""What a webhook says. Small: what happened, and the names with which the API tells more. Pure."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from plumbline_contracts.events import Health, Outcome, Product, Severity, Timestamp
from plumbline_contracts.ids import NAMESPACE
from pydantic import BaseModel, ConfigDict, Field, RootModel

from plumbline_score_api.decisions.decision import Status

LONGEST_TEXT = 500


class MessageType(StrEnum):
    """What happened."""

    SCORE_DROPPED = "score.dropped"
    FINDING_OPENED = "finding.opened"
    FINDING_REGRESSED = "finding.regressed"
    EXCEPTION_EXPIRING = "exception.expiring"
    CONNECTION_UNHEALTHY = "connection.unhealthy"
    CONNECTION_RECOVERED = "connection.recovered"
    COMPLIANCE_FINDING = "compliance.finding"
    TEST = "webhook.test"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class ScoreData(_Part):
    """A score fell: in points, in per cent, or in both."""

    scope: Literal["tenant", "product", "instance"]
    product: Product | None
    instance: str | None
    current: float = Field(description="Achieved points now")
    max: float = Field(description="Possible points now")
    percentage: float
    points: float = Field(description="Achieved points now, less those before")
    percent: float = Field(description="Percentage now, less that before: percentage points")
    insights: list[str] = Field(description="Instances that came to count, or ceased to, if that moved the score")


class FindingData(_Part):
    """A control fails on an instance. `before` is its outcome until then; null where it is new."""

    instance: str
    product: Product
    control_id: str
    title: str
    severity: Severity
    outcome: Outcome
    before: Outcome | None
    status: Status
    points: float = Field(description="Points that this took from the instance; below zero, or 0")
    path: str = Field(description="Where the API tells more")


class ExceptionData(_Part):
    """A decision ends soon. Without an instance it is a template, for the control on all instances."""

    instance: str | None
    product: Product | None
    control_id: str
    status: Status
    assignee: str | None
    reason: str | None
    decided_at: Timestamp
    expires_at: Timestamp


class ConnectionData(_Part):
    """How an instance's connection is."""

    instance: str
    product: Product
    health: Health
    message: str = Field(description=f"What happened and what to do next; at most {LONGEST_TEXT} characters")
    last_success_at: Timestamp | None
    consecutive_failures: int


class OcsfData(RootModel[dict[str, Any]]):
    """An OCSF 1.8.0 Compliance Finding, the same as on the topic `compliance-findings`."""

    model_config = ConfigDict(frozen=True)


class ProbeData(_Part):
    """A person wants to know whether messages arrive."""

    webhook_id: str
    name: str
    asked_by: str


Data = ScoreData | FindingData | ExceptionData | ConnectionData | OcsfData | ProbeData


class _Message(_Part):
    timestamp: Timestamp = Field(description="When it happened; the header `webhook-timestamp` is when it was sent")


class ScoreDroppedMessage(_Message):
    """A score fell by at least as much as the subscription says."""

    type: Literal["score.dropped"]
    data: ScoreData


class FindingMessage(_Message):
    """A finding opened, or regressed. A regression is told as such alone where the subscription wants both."""

    type: Literal["finding.opened", "finding.regressed"]
    data: FindingData


class ExceptionMessage(_Message):
    """A decision ends soon. It is told once for each end that it is given."""

    type: Literal["exception.expiring"]
    data: ExceptionData


class ConnectionMessage(_Message):
    """A connection became unhealthy, or is well again."""

    type: Literal["connection.unhealthy", "connection.recovered"]
    data: ConnectionData


class OcsfMessage(_Message):
    """A finding changed, as SIEMs are told of it."""

    type: Literal["compliance.finding"]
    data: OcsfData


class ProbeMessage(_Message):
    """A test."""

    type: Literal["webhook.test"]
    data: ProbeData


def body_of(kind: MessageType, at: datetime, data: Data) -> str:
    """The body, once and for all: what is signed and sent at every attempt."""
    return _Envelope(type=kind, timestamp=at, data=data).model_dump_json()


class _Envelope(BaseModel):
    type: MessageType
    timestamp: Timestamp
    data: Data


def message_id(tenant: str, kind: MessageType, event_id: str) -> str:
    """The id of the message about one event, the same whenever it is made. It holds no dot, which ends it."""
    return f"msg_{uuid.uuid5(NAMESPACE, chr(31).join(('webhook', tenant, kind, event_id))).hex}"
