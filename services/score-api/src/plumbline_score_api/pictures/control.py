"""A finding without its evidence. Pure."""

from datetime import datetime

from plumbline_contracts.events import Outcome, UnknownReason
from pydantic import BaseModel, ConfigDict, TypeAdapter

from plumbline_score_api.decisions.decision import Seen


class Control(BaseModel):
    """A finding without its evidence: what lists and scores need of it. Written with the findings, never changed."""

    model_config = ConfigDict(frozen=True)

    control_id: str
    digest: str
    outcome: Outcome
    reason: UnknownReason | None
    explanation: str
    points: float
    max_points: float
    compliant: int | None
    total: int | None
    exposed: int
    exposed_listed: int
    exposed_digest: str | None
    observed: str | None
    evaluated_at: datetime
    first_seen_at: datetime
    changed_at: datetime
    stale_since: datetime | None
    regressed_at: datetime | None
    passed_at: datetime | None = None

    @property
    def key(self) -> str:
        """The key of the definition that it was judged by."""
        return f"{self.control_id}@{self.digest}"

    def seen(self, evaluation: str) -> Seen:
        """What a decision stands on."""
        return Seen(
            evaluation=evaluation,
            outcome=self.outcome,
            observed=self.observed,
            exposed=self.exposed,
            exposed_listed=self.exposed_listed,
            exposed_digest=self.exposed_digest,
        )


CONTROLS = TypeAdapter(list[Control])
