"""What a new evaluation makes of the findings before it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from plumbline_contracts.events import (
    ControlDefinition,
    ControlResult,
    Effort,
    Outcome,
    Severity,
    UnknownReason,
)

from plumbline_score_api.scores.scoring import Measured, is_still_stale

_SEVERITIES = list(Severity)
_EFFORTS = list(Effort)
TO_ADDRESS, COMPLETED = "to_address", "completed"


@dataclass(frozen=True)
class Finding:
    """The state of one control on one instance after an evaluation.

    `result` is what counts: the new one, or the last one while it stands in for a passing failure to read
    (`stale_since`). `changed_at` is when the outcome last changed, `regressed_at` when it last fell from PASS.
    """

    result: ControlResult
    definition: ControlDefinition
    evaluated_at: datetime
    first_seen_at: datetime
    changed_at: datetime
    stale_since: datetime | None = None
    regressed_at: datetime | None = None

    @property
    def measured(self) -> Measured:
        """For the score."""
        result = self.result
        return Measured(result.outcome, result.points, result.max_points, self.stale_since is not None)

    @property
    def points_left(self) -> float:
        """Points that mending this would bring."""
        is_out = self.result.outcome is Outcome.NOT_APPLICABLE
        return 0.0 if is_out else round(self.result.max_points - self.result.points, 3)

    @property
    def status(self) -> str:
        """The status without any decision of a person."""
        return COMPLETED if self.result.outcome is Outcome.PASS else TO_ADDRESS

    def rank_key(self, instance: str) -> str:
        """Sorts as text: most points left, then severity, then least effort, then names."""
        severity = _SEVERITIES.index(self.definition.severity)
        effort = _EFFORTS.index(self.definition.implementation_cost) + _EFFORTS.index(self.definition.user_impact)
        return f"{round((10 - self.points_left) * 1000):05d}/{severity}/{effort}/{self.result.control_id}/{instance}"


def settle(
    before: Mapping[str, Finding],
    results: Iterable[ControlResult],
    definitions: Mapping[str, ControlDefinition],
    evaluated_at: datetime,
) -> list[Finding]:
    """The findings after an evaluation. `definitions` is by control id; controls without a result are gone."""
    return [_next(before.get(r.control_id), r, definitions[r.control_id], evaluated_at) for r in results]


def _next(known: Finding | None, result: ControlResult, definition: ControlDefinition, at: datetime) -> Finding:
    if known is None:
        return Finding(result, definition, at, first_seen_at=at, changed_at=at)
    if result.reason is UnknownReason.COLLECTION_ERROR and known.result.outcome is not Outcome.UNKNOWN:
        stale_since = known.stale_since or at
        if is_still_stale(stale_since, at):
            return replace(known, stale_since=stale_since)
    changed = result.outcome is not known.result.outcome
    fell = changed and known.result.outcome is Outcome.PASS and result.outcome in (Outcome.FAIL, Outcome.PARTIAL)
    recovered = result.outcome is Outcome.PASS
    return Finding(
        result,
        definition,
        at,
        first_seen_at=known.first_seen_at,
        changed_at=at if changed else known.changed_at,
        regressed_at=at if fell else (None if recovered else known.regressed_at),
    )
