"""Answers and bodies about instances."""

from datetime import datetime

from plumbline_contracts.events import ApiBudget, AuditEntry, DatasetSummary, Health, Insights, Product, RunSummary
from pydantic import BaseModel, ConfigDict, Field

from plumbline_score_api.scores.schemas import InstanceScore
from plumbline_score_api.texts import Text


class InstanceItem(InstanceScore):
    """One instance in a list."""

    product: Product
    health: Health
    message: str = Field(description="What happened last and what to do next")
    is_collecting: bool
    url: str | None
    last_run: RunSummary | None
    next_full_at: datetime | None


class InstanceDetail(InstanceItem):
    """One instance with its datasets."""

    last_success: RunSummary | None
    consecutive_failures: int
    next_watch_at: datetime | None = Field(description="When the product is next asked whether something changed")
    budget: ApiBudget | None = Field(description="Calls of the product's API today, against the connection's share")
    datasets: list[DatasetSummary] = Field(description="What was read: state, rows, calls, bytes, seconds")
    changes: list[AuditEntry] = Field(description="What the product's audit trail said when it was last read")
    outcomes: dict[str, int] = Field(description="Outcome to number of controls")
    stale: int = Field(description="Controls that were not measured in time")
    trace_id: str | None = Field(
        description="The trace of the current evaluation, from the request for its collection on: all logs have it"
    )


class InstanceList(BaseModel):
    """All instances of the tenant."""

    items: list[InstanceItem]


class ScanBody(BaseModel):
    """Nothing is needed."""

    model_config = ConfigDict(extra="forbid")


class ScanAccepted(BaseModel):
    """A collection was asked for. Requests that come while one waits are answered by the same collection."""

    request_id: str
    instance: str
    requested_at: datetime
    trace_id: str | None = Field(description="The trace that the collection and its evaluation will have")


class DisconnectQuery(BaseModel):
    """Why the instance is disconnected."""

    model_config = ConfigDict(extra="forbid")

    note: Text | None = Field(default=None, description="It stands in the audit trail and in the history")


class InsightsBody(BaseModel):
    """Whether the instance counts."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"insights": "main", "note": "This org holds the customer data."}]},
    )

    insights: Insights
    note: Text | None = Field(default=None, description="Why; it stands in the audit trail and in the history")
