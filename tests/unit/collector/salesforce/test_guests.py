"""What guests may do follows from their profile and from the permission sets that they hold."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from plumbline_collector.connectors.salesforce.client import SalesforceClient
from plumbline_collector.connectors.salesforce.guests import Guests
from plumbline_collector.connectors.salesforce.permissions import mask_of
from plumbline_collector.connectors.salesforce.run import SCHEMAS, Run
from plumbline_collector.connectors.salesforce.users import KnownOfUsers
from plumbline_contracts.events import DatasetState, DatasetSummary, Row

from tests.integration.collector.sink import Rows
from tests.unit.collector.salesforce.fake_org import FakeOrg

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
GUEST, ANN = "005000000000058AAA", "005000000000001AAA"
PROFILE = "00e000000000004AAA"
OF_PROFILE, OF_GUESTS, OF_OTHERS = "0PS000000000004AAA", "0PS000000000011AAA", "0PS000000000012AAA"
KINDS = ("Create", "Read", "Edit", "Delete", "ViewAllRecords", "ModifyAllRecords")


def _access(parent: str, name: str, *kinds: str, profile: str | None = None) -> Row:
    granted: Row = {f"Permissions{kind}": kind in kinds for kind in KINDS}
    return {"ParentId": parent, "Parent": {"ProfileId": profile}, "SobjectType": name, **granted}


def _org() -> FakeOrg:
    guest = {
        "Id": GUEST, "Username": "shop@guest.example", "ProfileId": PROFILE, "Profile": {"Name": "Shop"},
        "UserType": "Guest", "IsActive": True,
    }  # fmt: skip
    access = [
        _access(OF_PROFILE, "Case", "Create", "Read", profile=PROFILE),
        _access(OF_GUESTS, "Case", "Read"),
        _access(OF_GUESTS, "Order", "Read", "ViewAllRecords"),
        _access(OF_OTHERS, "Lead", "Read", "Edit"),
    ]
    return FakeOrg({"User": [guest], "ObjectPermissions": access})


def _known(*, of_profile: tuple[str, ...] = ()) -> KnownOfUsers:
    known = KnownOfUsers()
    assert known.containers is not None
    mirror = {"Id": OF_PROFILE, "IsCustom": True, "IsOwnedByProfile": True, "ProfileId": PROFILE}
    known.containers.add(mirror, mask_of(of_profile))
    known.containers.add({"Id": OF_GUESTS, "IsCustom": True}, mask_of(["ApiEnabled"]))
    known.containers.add({"Id": OF_OTHERS, "IsCustom": True}, mask_of(["ModifyAllData"]))
    return known


def _grant(known: KnownOfUsers, user: str, container: str, end: str | None = None, **assignee: Any) -> None:
    of_user = {"UserType": "Guest" if user == GUEST else "Standard"}
    record = {"AssigneeId": user, "PermissionSetId": container, "ExpirationDate": end, "Assignee": of_user}
    known.add_grant({**record, **assignee}, NOW)


async def _read(known: KnownOfUsers, org: FakeOrg | None = None) -> tuple[dict[str, DatasetSummary], Rows]:
    rows = Rows()
    run = Run(cast("SalesforceClient", org or _org()), rows, NOW)
    run.rights.take({"PermissionsViewAllUsers": True, "PermissionsViewSetup": True})
    summaries = await Guests(run, known).read()
    for name, found in rows.found.items():
        assert not [SCHEMAS[name].violations(row) for row in found if SCHEMAS[name].violations(row)]
    return {each.name: each for each in summaries}, rows


async def test_what_a_permission_set_gives_a_guest_counts() -> None:
    known, org = _known(), _org()
    _grant(known, GUEST, OF_PROFILE)
    _grant(known, GUEST, OF_GUESTS)
    _grant(known, ANN, OF_OTHERS)
    found, rows = await _read(known, org)
    (guest,), (totals,) = rows.found["guest_users"], rows.found["guest_access"]
    assert (guest["permissions"], guest["has_api_access"]) == (["ApiEnabled"], True)
    reached = {(row["object"], row["profile_id"]) for row in rows.found["guest_object_access"]}
    assert reached == {("Case", PROFILE), ("Case", ""), ("Order", "")}
    counts = ("readable_objects", "writable_objects", "wholly_reachable_objects", "guest_users_with_api_access")
    assert [totals[name] for name in counts] == [2, 1, 1, 1]
    assert {each.state for each in found.values()} == {DatasetState.OK}
    assert org.calls == 2, "one for the guests and one for what they reach"


async def test_a_set_that_a_guest_no_longer_holds_gives_nothing() -> None:
    known = _known()
    _grant(known, GUEST, OF_PROFILE)
    _grant(known, GUEST, OF_GUESTS, end="2026-11-24T09:00:00.000+0000")
    _, rows = await _read(known)
    assert rows.found["guest_users"][0]["has_api_access"] is False
    assert [row["object"] for row in rows.found["guest_object_access"]] == ["Case"]


@pytest.mark.parametrize("of_profile", [(), ("ApiEnabled",)])
async def test_a_guest_whose_assignments_are_hidden_is_no_harmless_one(of_profile: tuple[str, ...]) -> None:
    _, rows = await _read(_known(of_profile=of_profile))
    (guest,), (totals,) = rows.found["guest_users"], rows.found["guest_access"]
    assert "permissions" not in guest
    assert guest.get("has_api_access") is (True if of_profile else None), "what the profile grants is certain"
    assert "guest_users_with_api_access" not in totals


async def test_objects_are_not_all_known_where_assignments_are_not() -> None:
    cut, unsaid = _known(), _known()
    _grant(cut, GUEST, OF_GUESTS)
    cut.has_permissions = False
    _grant(unsaid, GUEST, OF_PROFILE)
    _grant(unsaid, GUEST, OF_GUESTS, Assignee=None)
    for each, seen in ((cut, ["Case", "Case", "Order"]), (unsaid, ["Case"])):
        found, rows = await _read(each)
        assert [row["object"] for row in rows.found["guest_object_access"]] == seen
        assert {found[name].state for name in ("guest_object_access", "guest_access")} == {DatasetState.TRUNCATED}
        error = found["guest_object_access"].error
        assert error is not None
        assert error.code == "no_assignments"


async def test_without_all_guests_their_objects_are_not_all_either() -> None:
    known = _known()
    run = Run(cast("SalesforceClient", FakeOrg({"User": [], "ObjectPermissions": []})), Rows(), NOW)
    run.rights.take({"PermissionsViewAllUsers": False, "PermissionsViewSetup": True})
    found = await Guests(run, known).read()
    assert {each.state for each in found} == {DatasetState.TRUNCATED}
