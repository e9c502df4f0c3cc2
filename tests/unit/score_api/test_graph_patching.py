"""What a PATCH makes of what stands."""

from datetime import timedelta
from typing import Any

import pytest
from plumbline_score_api.decisions.decision import Decision, Status
from plumbline_score_api.decisions.schemas import StatusBody
from plumbline_score_api.graph.patching import wish_of
from plumbline_score_api.graph.schemas import ProfilePatch
from pydantic import ValidationError

from tests.unit.score_api.painting import START, decision

VENDOR = {"provider": "SecureScore", "vendor": "Microsoft"}
LATER = START + timedelta(days=30)


def _patch(**sent: Any) -> ProfilePatch:
    return ProfilePatch.model_validate({"vendorInformation": VENDOR, **sent})


def _wish(standing: Decision | None = None, **sent: Any) -> StatusBody | None:
    return wish_of(_patch(**sent), standing, START)


def _known(status: Status = Status.RISK_ACCEPTED, **more: Any) -> Decision:
    return decision("C-1", status, note="n", assignee="ann", reason="r", expires_at=LATER, **more)


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("Ignored", "risk_accepted"), ("ignored", "risk_accepted"), ("thirdParty", "resolved_third_party"),
        ("REVIEWED", "resolved_alternate_mitigation"), ("Default", "to_address"),
    ],
)  # fmt: skip
def test_a_state_is_a_status(state: str, status: str) -> None:
    wish = _wish(state=state, comment=" why ", assignedTo="ben")
    assert wish == StatusBody(status=status, note="why", assignee="ben")


def test_what_is_not_sent_stays() -> None:
    assert _wish(_known(), comment="new") == StatusBody(
        status="risk_accepted", note="new", assignee="ann", reason="r", expires_at=LATER
    )
    assert _wish(_known(), assignedTo=None) == StatusBody(
        status="risk_accepted", note="n", assignee=None, reason="r", expires_at=LATER
    )


def test_an_empty_text_empties() -> None:
    wish = _wish(_known(), comment="", assignedTo="  ")
    assert wish is not None
    assert (wish.note, wish.assignee) == (None, None)


def test_reason_and_expiry_go_with_the_status() -> None:
    assert _wish(_known(), state="Reviewed") == StatusBody(
        status="resolved_alternate_mitigation", note="n", assignee="ann"
    )
    past = _wish(_known().model_copy(update={"expires_at": START}), comment="new")
    assert past is not None
    assert past.expires_at is None


def test_the_state_that_is_shown_changes_nothing() -> None:
    assert _wish(_known(Status.PLANNED), state="Default") is None
    assert _wish(_known(), state="Ignored", comment="n", assignedTo="ann") is None
    assert _wish(_known()) is None
    kept = _wish(_known(Status.PLANNED), state="Default", comment="new")
    assert kept is not None
    assert kept.status == "planned"


def test_nothing_is_decided_where_nothing_is_said() -> None:
    assert _wish() is _wish(state="Default") is _wish(comment="", assignedTo="") is None
    assert _wish(comment="seen") == StatusBody(status="to_address", note="seen")


def test_default_takes_a_decision_back_even_from_a_template() -> None:
    template = decision("C-1", Status.RISK_ACCEPTED)
    assert _wish(template, state="Default") == StatusBody(status="to_address")


@pytest.mark.parametrize(
    "sent",
    [
        {"state": "Planned"}, {"state": 1}, {"state": ["Ignored"]}, {"comment": 7}, {"comment": "x" * 2001},
        {"assignedTo": "x" * 201}, {"assignedTo": {"$gt": ""}}, {"status": "Ignored"}, {"tenantNote": "x"},
        {"vendorInformation": None}, {"vendorInformation": {"provider": "SecureScore"}},
        {"vendorInformation": {"provider": "SecureScore", "vendor": "Fabrikam"}},
        {"vendorInformation": {"provider": "MDATP", "vendor": "Microsoft"}},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_refused(sent: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        _patch(**sent)


def test_a_vendor_is_required_and_nothing_but_an_object_is_a_patch() -> None:
    wrong: tuple[Any, ...] = ({"state": "Ignored"}, {}, [], "x", None, 7)
    for sent in wrong:
        with pytest.raises(ValidationError):
            ProfilePatch.model_validate(sent)


def test_read_only_properties_and_annotations_are_ignored() -> None:
    sent = {"id": "other", "maxScore": 99, "controlStateUpdates": [{"state": "Ignored"}], "@odata.type": "#x"}
    more = {"vendorInformation": {**VENDOR, "vendor": "Plumbline", "subProvider": None, "providerVersion": "1"}}
    assert _patch(**sent, **more, state="Ignored").model_dump(exclude_unset=True)["state"] == "Ignored"
    assert wish_of(_patch(**sent), None, START) is None
