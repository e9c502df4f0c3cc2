"""What a new evaluation makes of the findings before it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from plumbline_contracts.events import ControlResult, Outcome, UnknownReason

from plumbline_score_api.pictures.control import Control
from plumbline_score_api.scores.scoring import is_still_stale


@dataclass(frozen=True)
class Finding:
    """The state of one control on one instance after an evaluation.

    `result` is what counts: the new one, or the last one while it stands in for a passing failure to read
    (`stale_since`). `changed_at` is when the outcome last changed, `regressed_at` when it last fell from PASS,
    `passed_at` when it was last measured as PASS.
    """

    result: ControlResult
    evaluated_at: datetime
    first_seen_at: datetime
    changed_at: datetime
    stale_since: datetime | None = None
    regressed_at: datetime | None = None
    passed_at: datetime | None = None

    @cached_property
    def control(self) -> Control:
        """For pictures."""
        result = self.result
        return Control(
            control_id=result.control_id,
            digest=result.control_digest,
            outcome=result.outcome,
            reason=result.reason,
            explanation=result.explanation,
            points=result.points,
            max_points=result.max_points,
            compliant=result.compliant,
            total=result.total,
            exposed=result.exposed,
            exposed_listed=result.exposed_listed,
            exposed_digest=result.exposed_digest,
            observed=result.observed,
            evaluated_at=self.evaluated_at,
            first_seen_at=self.first_seen_at,
            changed_at=self.changed_at,
            stale_since=self.stale_since,
            regressed_at=self.regressed_at,
            passed_at=self.passed_at,
        )


def settle(
    before: Mapping[str, Control],
    kept: Mapping[str, ControlResult],
    results: Iterable[ControlResult],
    evaluated_at: datetime,
) -> list[Finding]:
    """The findings after an evaluation; controls without a result are gone.

    `before` is what stood, by control id; `kept` has the former results of those that could not be read now
    (`could_not_be_read`), which may stand in.
    """
    return [_next(before.get(r.control_id), kept.get(r.control_id), r, evaluated_at) for r in results]


def could_not_be_read(result: ControlResult) -> bool:
    """Whether the former result may stand in for this one."""
    return result.reason is UnknownReason.COLLECTION_ERROR


def _next(known: Control | None, former: ControlResult | None, result: ControlResult, at: datetime) -> Finding:
    has_passed = result.outcome is Outcome.PASS
    if known is None:
        return Finding(result, at, first_seen_at=at, changed_at=at, passed_at=at if has_passed else None)
    if could_not_be_read(result) and former is not None and known.outcome is not Outcome.UNKNOWN:
        stale_since = known.stale_since or at
        if is_still_stale(stale_since, at):
            return _standing(known, former, stale_since)
    changed = result.outcome is not known.outcome
    fell = changed and known.outcome is Outcome.PASS and result.outcome in (Outcome.FAIL, Outcome.PARTIAL)
    return Finding(
        result,
        at,
        first_seen_at=known.first_seen_at,
        changed_at=at if changed else known.changed_at,
        regressed_at=at if fell else (None if has_passed else known.regressed_at),
        passed_at=at if has_passed else known.passed_at,
    )


def _standing(known: Control, former: ControlResult, stale_since: datetime) -> Finding:
    """The former result, which stands in for one that could not be read."""
    return Finding(
        former,
        known.evaluated_at,
        first_seen_at=known.first_seen_at,
        changed_at=known.changed_at,
        stale_since=stale_since,
        regressed_at=known.regressed_at,
        passed_at=known.passed_at,
    )
