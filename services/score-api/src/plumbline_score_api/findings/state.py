"""What SIEMs were told of a finding, what stands now, and one thing that is told. Pure.

Source of the numbers: OCSF 1.8.0, class Compliance Finding (2003), https://schema.ocsf.io/1.8.0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import Self

from plumbline_contracts.events import Insights, Outcome, UnknownReason
from plumbline_contracts.finding import Transition as Transition

from plumbline_score_api.decisions.decision import Ended, Status

MILLISECOND = timedelta(milliseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Activity(IntEnum):
    """OCSF's `activity_id`."""

    CREATE = 1
    UPDATE = 2
    CLOSE = 3


class StatusId(IntEnum):
    """OCSF's `status_id`: where a finding is in its life."""

    UNKNOWN = 0
    NEW = 1
    IN_PROGRESS = 2
    SUPPRESSED = 3
    RESOLVED = 4
    ARCHIVED = 5
    DELETED = 6


class Standing(StrEnum):
    """Where a finding stands, by its result and by what people decided. Told as `status_code`."""

    TO_ADDRESS = "TO_ADDRESS"
    PLANNED = "PLANNED"
    RISK_ACCEPTED = "RISK_ACCEPTED"
    THIRD_PARTY = "THIRD_PARTY"
    ALTERNATE_MITIGATION = "ALTERNATE_MITIGATION"
    COMPLETED = "COMPLETED"
    NOT_APPLICABLE = "NOT_APPLICABLE"
    NO_RESULT = "NO_RESULT"
    RETIRED = "RETIRED"
    DISCONNECTED = "DISCONNECTED"
    ERASED = "ERASED"


STATUS_IDS = {
    Standing.TO_ADDRESS: StatusId.NEW,
    Standing.PLANNED: StatusId.IN_PROGRESS,
    Standing.RISK_ACCEPTED: StatusId.SUPPRESSED,
    Standing.THIRD_PARTY: StatusId.RESOLVED,
    Standing.ALTERNATE_MITIGATION: StatusId.RESOLVED,
    Standing.COMPLETED: StatusId.RESOLVED,
    Standing.NOT_APPLICABLE: StatusId.ARCHIVED,
    Standing.NO_RESULT: StatusId.UNKNOWN,
    Standing.RETIRED: StatusId.ARCHIVED,
    Standing.DISCONNECTED: StatusId.ARCHIVED,
    Standing.ERASED: StatusId.DELETED,
}
OPEN = frozenset({Standing.TO_ADDRESS, Standing.PLANNED, Standing.RISK_ACCEPTED})
"""Statuses 1, 2 and 3: somebody has to look at it, now or one day."""
CLAIMED = frozenset({Standing.THIRD_PARTY, Standing.ALTERNATE_MITIGATION})
"""Closed by a person's word alone."""
UNSETTLED = OPEN | CLAIMED
"""It fails, or failed when there was last a result."""
DECIDED = {
    None: Standing.TO_ADDRESS,
    Status.PLANNED: Standing.PLANNED,
    Status.RISK_ACCEPTED: Standing.RISK_ACCEPTED,
    Status.RESOLVED_THIRD_PARTY: Standing.THIRD_PARTY,
    Status.RESOLVED_ALTERNATE_MITIGATION: Standing.ALTERNATE_MITIGATION,
}
"""Where a decision in force puts what fails."""


class Verdict(StrEnum):
    """An outcome as it is told: UNKNOWN is ERROR where reading or judging broke. Told as `compliance.status_code`."""

    PASS = "PASS"  # noqa: S105 - an outcome, not a password
    PARTIAL = "PARTIAL"
    FAIL = "FAIL"
    NOT_APPLICABLE = "NOT_APPLICABLE"
    UNKNOWN = "UNKNOWN"
    ERROR = "ERROR"
    NOT_EVALUATED = "NOT_EVALUATED"


FAILING = frozenset({Verdict.FAIL, Verdict.PARTIAL})
UNDECIDED = frozenset({Verdict.UNKNOWN, Verdict.ERROR})
_BROKEN = (UnknownReason.COLLECTION_ERROR, UnknownReason.EXPRESSION_ERROR)


def verdict_of(outcome: Outcome, reason: UnknownReason | None) -> Verdict:
    """An outcome as it is told."""
    return Verdict.ERROR if outcome is Outcome.UNKNOWN and reason in _BROKEN else Verdict(outcome.value)


def activity_of(before: Standing | None, after: Standing) -> Activity:
    """What a step from one standing to the next is to OCSF: every Create opens an episode."""
    if STATUS_IDS[after] in (StatusId.RESOLVED, StatusId.ARCHIVED, StatusId.DELETED):
        return Activity.CLOSE
    return Activity.CREATE if after in OPEN and before not in OPEN else Activity.UPDATE


@dataclass(frozen=True, slots=True)
class Seen:
    """What stands now for one control on one instance.

    `finding` is its uid. Digests are short ones that change when what they stand for does. `disposition` is the status
    decided and in force, None without one; `decision` the digest of that very decision, empty without one; `ended` says
    how the last one ended, None when it was taken back or there never was one. While `is_stale`, an older result stands
    in for one that could not be read, and the snapshot showed nothing.
    """

    finding: str
    verdict: Verdict
    observed: str
    exposed: str
    definition: str
    insights: Insights
    evaluation: str
    snapshot_started_at: datetime
    disposition: Status | None = None
    decision: str = ""
    ended: Ended | None = None
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class FindingState:
    """What was last told of a finding, as far as the next step needs it. Moments are whole milliseconds, UTC.

    `sequence` is the number of events so far; with 0 nobody heard of it. `created_at` and `modified_at` are the moments
    of the first and the last event. `evidence_told_at` is when changed evidence was last told, `is_held_back` says that
    it has changed again since and waits.
    """

    finding: str
    standing: Standing
    verdict: Verdict
    episode: int
    sequence: int
    first_seen_at: datetime
    last_seen_at: datetime
    created_at: datetime | None
    modified_at: datetime | None
    evidence_told_at: datetime | None
    is_held_back: bool
    decision: str
    observed: str
    exposed: str
    definition: str
    insights: Insights

    def to_list(self) -> list[str | int | None]:
        """Everything but the uid, in under 250 bytes of JSON."""
        return [
            _FORM,
            self.standing.value,
            self.verdict.value,
            self.episode,
            self.sequence,
            milliseconds(self.first_seen_at),
            milliseconds(self.last_seen_at),
            _stored(self.created_at),
            _stored(self.modified_at),
            _stored(self.evidence_told_at),
            int(self.is_held_back),
            self.decision,
            self.observed,
            self.exposed,
            self.definition,
            self.insights.value,
        ]

    @classmethod
    def from_list(cls, finding: str, values: Sequence[str | int | None]) -> Self:
        """The state of a finding from `to_list`. Raises ValueError for anything else."""
        try:
            form, standing, verdict, episode, sequence, first, last, created, modified, told, held, *rest = values
            decision, observed, exposed, definition, insights = map(str, rest)
            if form != _FORM:
                raise ValueError(f"it has the form {form!r}, this release reads {_FORM}")
            return cls(
                finding=finding,
                standing=Standing(str(standing)),
                verdict=Verdict(str(verdict)),
                episode=int(episode or 0),
                sequence=int(sequence or 0),
                first_seen_at=moment_of(int(first or 0)),
                last_seen_at=moment_of(int(last or 0)),
                created_at=_read(created),
                modified_at=_read(modified),
                evidence_told_at=_read(told),
                is_held_back=bool(held),
                decision=decision,
                observed=observed,
                exposed=exposed,
                definition=definition,
                insights=Insights(insights),
            )
        except ValueError as error:
            raise ValueError(f"The state of the finding {finding} cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class Telling:
    """One event of a finding before it is written out. `event_uid` is the same whenever it is sent again."""

    finding: str
    event_uid: str
    transition: Transition
    activity: Activity
    standing_before: Standing | None
    standing: Standing
    verdict_before: Verdict | None
    verdict: Verdict
    episode: int
    sequence: int
    cause_id: str
    at: datetime
    created_at: datetime
    first_seen_at: datetime
    last_seen_at: datetime

    @property
    def status_before(self) -> StatusId | None:
        """OCSF's `status_id` before; None when nothing was known."""
        return None if self.standing_before is None else STATUS_IDS[self.standing_before]

    @property
    def status(self) -> StatusId:
        """OCSF's `status_id`."""
        return STATUS_IDS[self.standing]


_FORM = 1
"""Of `to_list`; another one when the meaning of a place changes."""


def milliseconds(moment: datetime) -> int:
    """Since the epoch."""
    return (moment - EPOCH) // MILLISECOND


def moment_of(stored: int) -> datetime:
    """The moment so many milliseconds after the epoch."""
    return EPOCH + stored * MILLISECOND


def short_digest(text: str) -> str:
    """Twelve hex digits that change when the text does."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


@lru_cache(maxsize=1024)
def rfc3339(moment: datetime) -> str:
    """In UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _stored(moment: datetime | None) -> int | None:
    return None if moment is None else milliseconds(moment)


def _read(stored: str | int | None) -> datetime | None:
    return None if stored is None else moment_of(int(stored))
