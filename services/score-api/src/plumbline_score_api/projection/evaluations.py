"""What identifies an evaluation, and which of two is the newer. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from plumbline_contracts.envelope import BadRecordError
from plumbline_contracts.events import ControlResults, InstanceStatus, Product

from plumbline_score_api.instances.disconnection import connects

LARGEST_NUMBER = 2**31


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of one publication of an instance's snapshot, named by `key`.

    Of two evaluations of an instance the one of greater `precedence` stands: text that sorts by snapshot start
    (milliseconds, as stored), then catalogue generation, then evaluation id. `trace_id` is the trace that brought it.
    """

    instance: str
    product: Product
    snapshot_id: str
    key: str
    precedence: str
    trace_id: str | None = field(default=None, compare=False)

    @classmethod
    def of(cls, part: ControlResults, trace_id: str | None = None) -> Self:
        """The evaluation that a part belongs to."""
        return cls(
            instance=part.instance,
            product=part.product,
            snapshot_id=part.snapshot_id,
            key=f"{part.evaluation_id}.{part.snapshot_digest[:16]}",
            precedence=_precedence(part.snapshot_started_at, part.catalogue_generation, part.evaluation_id),
            trace_id=trace_id,
        )

    def replaces(self, current: Mapping[str, Any] | None) -> bool:
        """Whether it is newer than the current one. Of two publications of one snapshot the first whole one stands."""
        if current is None:
            return True
        if self.snapshot_id == current["snapshot_id"] and _publication(self.key) != _publication(current["key"]):
            return False
        return self.precedence > _precedence(current["started_at"], current["generation"], current["evaluation_id"])


@dataclass(frozen=True)
class Standing:
    """How an instance stands: the pointer to what readers see, and when it was last disconnected."""

    current: Mapping[str, Any] | None = None
    disconnected_at: datetime | None = None
    is_disconnected: bool = False
    is_closing: bool = False
    """Whether something must still follow the disconnection."""

    def takes(self, evaluation: Evaluation) -> bool:
        """Whether readers may be switched to an evaluation: it is newer, and began after any disconnection."""
        at = self.disconnected_at
        is_late = at is not None and evaluation.precedence <= last_precedence(at)
        return not is_late and evaluation.replaces(self.current)

    def takes_status(self, status: InstanceStatus) -> bool:
        """Whether a status is of the instance as it is connected now."""
        if self.disconnected_at is None:
            return True
        is_later = status.updated_at > self.disconnected_at
        return is_later and (not self.is_disconnected or connects(status, self.disconnected_at))


def refuse_wrong_numbers(part: ControlResults) -> None:
    """Raise BadRecordError when a part's numbers contradict each other or cannot be kept."""
    if part.part_count is not None and part.part != part.part_count - 1:
        raise BadRecordError(f"part {part.part} says it is the last of {part.part_count}; parts are numbered from 0")
    refuse_large(part.part, "part")
    refuse_large(part.catalogue_generation, "catalogue_generation")


def refuse_large(number: int, what: str) -> None:
    """Raise BadRecordError for a number that the database cannot keep."""
    if number >= LARGEST_NUMBER:
        raise BadRecordError(f"{what} is too large a number")


def last_precedence(moment: datetime) -> str:
    """Not less than the precedence of any evaluation whose snapshot began up to a moment."""
    return f"{moment.isoformat(timespec='milliseconds')}/~"


def _precedence(started_at: datetime, generation: int, evaluation_id: str) -> str:
    return f"{started_at.isoformat(timespec='milliseconds')}/{generation:010d}/{evaluation_id}"


def _publication(key: str) -> str:
    return key.rpartition(".")[2]
