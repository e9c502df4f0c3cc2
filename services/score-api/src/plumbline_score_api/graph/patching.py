"""What a PATCH of Graph makes of what stands on one instance. Pure."""

from datetime import datetime

from plumbline_score_api.decisions.decision import Decision, Status
from plumbline_score_api.decisions.schemas import Decidable, StatusBody
from plumbline_score_api.graph.schemas import ProfilePatch
from plumbline_score_api.graph.shaping import STATES, graph_state

_STATUSES = {state: status for status, state in STATES.items()} | {"Default": Status.TO_ADDRESS}


def wish_of(patch: ProfilePatch, standing: Decision | None, now: datetime) -> StatusBody | None:
    """The decision that a PATCH asks for, None when it stands already.

    What is not sent stays. The state that is shown, sent again, changes nothing: `planned`, which Graph shows as
    `Default`, survives it. Reason and expiry belong to a status and go with it.
    """
    status = _status(patch, standing)
    is_kept = standing is not None and standing.status is status
    wish = StatusBody(
        status=Decidable(status),
        note=_text(patch, "comment", standing.note if standing else None),
        assignee=_text(patch, "assigned_to", standing.assignee if standing else None),
        reason=standing.reason if standing is not None and is_kept else None,
        expires_at=_expiry(standing, now) if is_kept else None,
    )
    return None if (_says_nothing(wish) and standing is None) or _stands(wish, standing) else wish


def _status(patch: ProfilePatch, standing: Decision | None) -> Status:
    known = standing.status if standing is not None and standing.status is not None else Status.TO_ADDRESS
    return known if patch.state in (None, graph_state(standing)) else _STATUSES[str(patch.state)]


def _text(patch: ProfilePatch, name: str, known: str | None) -> str | None:
    """What was sent, None for nothing but space; what is known where nothing was sent."""
    if name not in patch.model_fields_set:
        return known
    return (getattr(patch, name) or "").strip() or None


def _expiry(standing: Decision | None, now: datetime) -> datetime | None:
    found = standing.expires_at if standing is not None else None
    return found if found is not None and found > now else None


def _says_nothing(wish: StatusBody) -> bool:
    return wish.status is Decidable.TO_ADDRESS and wish.note is None and wish.assignee is None


def _stands(wish: StatusBody, standing: Decision | None) -> bool:
    if standing is None or standing.status is None:
        return False
    said = (standing.status.value, standing.note, standing.assignee)
    return (wish.status.value, wish.note, wish.assignee) == said
