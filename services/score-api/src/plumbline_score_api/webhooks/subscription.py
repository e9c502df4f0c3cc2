"""What a subscription is: where messages go, which ones, and why there are none any more. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from plumbline_contracts.events import Health, Identifier, Product, Severity
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

MOST_FILTERED = 100

Scope = Literal["tenant", "product", "instance"]
Instances = Annotated[frozenset[Identifier], Field(max_length=MOST_FILTERED)]


def _no_text(sent: object) -> object:
    if isinstance(sent, bool) or not isinstance(sent, int | float):
        raise ValueError("expected a number")
    return sent


Count = Annotated[int, BeforeValidator(_no_text)]
"""A whole number as JSON has it: `24` or `24.0`, not `"24"` or `true`."""


class _Condition(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScoreDropped(_Condition):
    """A score fell by at least so much in one step of its history. With both limits, reaching one is enough."""

    scopes: frozenset[Scope] = Field(default=frozenset({"product"}), min_length=1, description="Whose scores")
    points: float | None = Field(
        default=None, strict=True, gt=0, le=100_000, description="At least so many achieved points"
    )
    percent: float | None = Field(
        default=None, strict=True, gt=0, le=100, description="At least so many percentage points"
    )

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.points is None and self.percent is None:
            raise ValueError("give `points`, `percent`, or both")
        return self


class FindingOpened(_Condition):
    """A control fails that did not, and nobody has decided about it."""

    severity: Severity = Field(default=Severity.HIGH, description="At least so severe")


class FindingRegressed(_Condition):
    """A control fails that was passed."""

    severity: Severity = Field(default=Severity.INFORMATIONAL, description="At least so severe")


class ExceptionExpiring(_Condition):
    """A decision ends by itself soon."""

    days: Count = Field(default=14, ge=1, le=90, description="So many days before")


class ConnectionUnhealthy(_Condition):
    """An instance cannot be read as it should be; a second message tells when it can again."""

    health: Literal["degraded", "failed"] = Field(default="failed", description="At least so bad")

    @property
    def least(self) -> Health:
        """From which health on it is told."""
        return Health(self.health)


class ComplianceFinding(_Condition):
    """A finding changed in whatever way: the events of the topic `compliance-findings`, for SIEMs without Kafka."""

    severity: Severity = Field(
        default=Severity.INFORMATIONAL, description="Of controls at least so severe, whatever their outcome"
    )


class Events(_Condition):
    """What is told; at least one kind."""

    score_dropped: ScoreDropped | None = None
    finding_opened: FindingOpened | None = None
    finding_regressed: FindingRegressed | None = None
    exception_expiring: ExceptionExpiring | None = None
    connection_unhealthy: ConnectionUnhealthy | None = None
    compliance_finding: ComplianceFinding | None = None

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if not self.kinds:
            raise ValueError("name at least one kind of event")
        return self

    @property
    def kinds(self) -> list[str]:
        """The names of the kinds that are told."""
        return [name for name in type(self).model_fields if getattr(self, name) is not None]


class DisabledReason(StrEnum):
    """Why a subscription gets nothing."""

    BY_PERSON = "by_person"
    GONE = "gone"
    FAILING = "failing"


class Disabled(BaseModel):
    """Since when, and why, a subscription gets nothing."""

    model_config = ConfigDict(frozen=True)

    reason: DisabledReason
    at: datetime
    detail: str


class Subscription(BaseModel):
    """One subscription. Its secrets are kept beside it and are no part of it, so that nothing can show them."""

    model_config = ConfigDict(frozen=True)

    webhook_id: str
    revision: int
    name: str
    url: str
    events: Events
    instances: Instances = frozenset()
    products: frozenset[Product] = frozenset()
    created_at: datetime
    created_by: str
    changed_at: datetime
    changed_by: str
    disabled: Disabled | None = None

    @property
    def is_enabled(self) -> bool:
        """Whether it gets messages."""
        return self.disabled is None


@dataclass(frozen=True)
class Secret:
    """A secret that signs until `expires_at`; None for the one that stands."""

    text: str = field(repr=False)
    expires_at: datetime | None = None


@dataclass(frozen=True)
class Subscriber:
    """A subscription with what its messages need.

    `heard_from` is by partition of the change log, `hold_until` the end of the rest that its target wants, and
    `delivered_at` when something got through last.
    """

    subscription: Subscription
    heard_from: Mapping[str, int]
    hold_until: datetime | None = None
    delivered_at: datetime | None = None

    def hears(self, partition: int, number: int) -> bool:
        """Whether an entry of the change log was written after it subscribed."""
        return number > self.heard_from.get(str(partition), 0)
