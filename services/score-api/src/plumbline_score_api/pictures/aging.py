"""What time alone does to an evaluation when nothing newer arrives. Pure.

A result that stands in for an unread one does so for 24 hours, then the control is UNKNOWN. An instance whose newest
snapshot is older than it may be is stale as a whole: its outcomes stand, but nothing of them counts as measured now.
The projector turns an instance's clock when one of these moments has come; readers see what the clock says.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from plumbline_contracts.events import Outcome, UnknownReason

from plumbline_score_api.pictures.control import Control
from plumbline_score_api.scores.scoring import STALE_LIMIT, is_still_stale

TICK = timedelta(milliseconds=1)
"""The smallest step of a moment that is kept in the database."""


def aged(control: Control, clock: datetime | None) -> Control:
    """The control when the clock says so."""
    if clock is None or control.stale_since is None or is_still_stale(control.stale_since, clock):
        return control
    text = f"It could not be read for more than 24 hours. When it was last read: {control.explanation}"
    change = {
        "outcome": Outcome.UNKNOWN,
        "reason": UnknownReason.COLLECTION_ERROR,
        "explanation": text,
        "points": 0.0,
        "changed_at": control.stale_since + STALE_LIMIT,
        "stale_since": None,
    }
    return control.model_copy(update=change)


def stale_from(stale_at: datetime | None, clock: datetime | None) -> datetime | None:
    """Since when an instance is stale as a whole; None while it is not. `stale_at` is when it is to become so."""
    return stale_at if stale_at is not None and clock is not None and clock >= stale_at else None


@dataclass(frozen=True)
class Turned:
    """A clock, and the next moment after it at which time alone changes what is seen."""

    clock: datetime | None
    next_due: datetime | None


def turned(
    controls: Iterable[Control], stale_at: datetime | None, clock: datetime | None, until: datetime | None
) -> Turned:
    """A clock turned on to the last moment up to `until` that changes what is seen; None turns nothing."""
    known = list(controls)
    due = next_due(known, stale_at, clock)
    while due is not None and until is not None and due <= until:
        clock, due = due, next_due(known, stale_at, due)
    return Turned(clock, due)


def next_due(controls: Iterable[Control], stale_at: datetime | None, clock: datetime | None) -> datetime | None:
    """The next moment, after what the clock says, at which time alone changes what is seen."""
    moments = [control.stale_since + STALE_LIMIT + TICK for control in controls if control.stale_since is not None]
    if stale_at is not None:
        moments.append(stale_at)
    return min((moment for moment in moments if clock is None or moment > clock), default=None)
