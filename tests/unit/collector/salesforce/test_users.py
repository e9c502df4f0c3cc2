"""A user's row carries what the joins know, and nothing that they do not."""

from datetime import UTC, datetime
from typing import Any

import pytest
from plumbline_collector.connectors.salesforce import tables
from plumbline_collector.connectors.salesforce.permissions import (
    KNOWN,
    PRIVILEGES,
    UNINSTALLED_APPS,
    PermissionColumns,
    mask_of,
    names_of,
)
from plumbline_collector.connectors.salesforce.run import SCHEMAS
from plumbline_collector.connectors.salesforce.users import KnownOfUsers, user
from plumbline_contracts.events import Row

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
ANN, PROFILE = "005000000000001AAA", "00e000000000001AAA"


def _record(**fields: Any) -> dict[str, Any]:
    profile = {"Name": "Vertrieb", "UserLicense": {"LicenseDefinitionKey": "SFDC"}}
    return {
        "Id": ANN, "Username": "ann@example.com", "UserType": "Standard", "ProfileId": PROFILE, "Profile": profile,
        "LastLoginDate": "2026-11-14T08:59:00.000+0000", "CreatedDate": "2025-11-24T09:00:00.000+0000",
        "LastPasswordChangeDate": "2026-10-25T09:00:00.000+0000", "FederationIdentifier": None, **fields,
    }  # fmt: skip


def _known(*permissions: str, is_custom: bool = True) -> KnownOfUsers:
    known = KnownOfUsers()
    assert known.containers is not None
    known.containers.add({"Id": "0PS0", "IsCustom": False, "IsOwnedByProfile": True, "ProfileId": "00e0"}, 0)
    record = {"Id": "0PS1", "IsCustom": is_custom, "IsOwnedByProfile": True, "ProfileId": PROFILE}
    known.containers.add(record, mask_of(permissions))
    return known


def _grant(known: KnownOfUsers, container: str = "0PS1", end: str | None = None) -> None:
    known.add_grant({"AssigneeId": ANN, "PermissionSetId": container, "ExpirationDate": end}, NOW)


def _row(known: KnownOfUsers, **fields: Any) -> Row:
    record = _record(**fields)
    row = {**tables.USERS.maker(SCHEMAS["users"], NOW)(record), **user(record, known, NOW)}
    assert SCHEMAS["users"].violations(row) == []
    return row


def test_a_user_carries_what_the_joins_know() -> None:
    known = _known("ViewAllData", "ExportReport")
    assert known.containers is not None
    known.containers.add({"Id": "0PS2", "IsCustom": True}, mask_of(["ModifyAllData", "ManageUsers"]))
    known.add_login({"UserId": ANN, "IsFrozen": True, "IsPasswordLocked": False})
    _grant(known)
    _grant(known, "0PS2")
    known.add_methods({"UserId": ANN, "HasTotp": True, "HasSecurityKey": False})
    row = _row(known)
    assert (row["is_frozen"], row["is_password_locked"]) == (True, False)
    assert (row["idle_days"], row["age_days"], row["password_age_days"]) == (10, 365, 30)
    assert row["privileged_permissions"] == ["ModifyAllData", "ViewAllData", "ManageUsers"]
    assert row["permissions"] == ["ModifyAllData", "ViewAllData", "ManageUsers", "ExportReport"]
    assert (row["is_super_admin"], row["has_identity_permission"]) == (True, True)
    assert (row["mfa_methods"], row["has_phishing_resistant_mfa"]) == (["totp"], False)
    assert row["has_used_phishing_resistant_mfa"] is False


def test_paths_are_counted_once_for_a_user_and_each_for_its_container() -> None:
    known = _known("ModifyAllData")
    assert known.containers is not None
    known.containers.add({"Id": "0PS2"}, mask_of(["ModifyAllData"]))
    _grant(known)
    _grant(known, "0PS2")
    assert list(known.privileged_users()) == [ANN[:15]]
    assert [known.containers.get(name).active_users for name in ("0PS1", "0PS2")] == [1, 1]  # type: ignore[union-attr]
    assert known.containers.privileged_profiles() == [PROFILE]


def test_an_expired_assignment_grants_nothing() -> None:
    known = _known()
    assert known.containers is not None
    known.containers.add({"Id": "0PS2", "IsCustom": True}, mask_of(["ModifyAllData"]))
    _grant(known)
    _grant(known, "0PS2", end="2026-11-24T09:00:00.000+0000")
    assert _row(known)["is_privileged"] is False
    _grant(known, "0PS2", end="2026-11-24T09:00:01.000+0000")
    assert _row(known)["is_privileged"] is True


def test_a_user_whose_assignments_are_hidden_is_not_one_without_permissions() -> None:
    row = _row(_known("ModifyAllData"))
    assert not {"is_privileged", "permissions", "is_integration"} & row.keys()


def test_a_profile_grants_also_where_its_assignment_is_hidden() -> None:
    known = _known("ModifyAllData")
    assert known.containers is not None
    known.containers.add({"Id": "0PS2", "IsCustom": True}, 0)
    _grant(known, "0PS2")
    assert _row(known)["is_privileged"] is True


def test_a_user_of_no_known_kind_is_not_one_of_another_kind() -> None:
    row = _row(_known(), UserType=None)
    assert not {"is_standard", "is_guest", "is_external"} & row.keys()


@pytest.mark.parametrize("value", ["", " ", None])
def test_an_empty_federation_id_binds_nobody(value: str | None) -> None:
    assert _row(_known(), FederationIdentifier=value)["is_sso_bound"] is False


def test_a_login_in_the_future_is_no_recent_one() -> None:
    assert "idle_days" not in _row(_known(), LastLoginDate="2099-01-01T00:00:00.000+0000")


@pytest.mark.parametrize("licence", ["PID_Capital_Partner", "PID_Therapist", "SFDC"])
def test_a_licence_with_api_inside_a_word_is_a_persons(licence: str) -> None:
    known = _known()
    _grant(known)
    row = _row(known, Profile={"Name": "P", "UserLicense": {"LicenseDefinitionKey": licence}})
    assert row["is_integration"] is False


def test_an_assignment_of_an_unknown_set_is_remembered_as_such() -> None:
    known = _known()
    _grant(known, "0PS9")
    assert known.unresolved == 1


@pytest.mark.parametrize("name", ["System Administrator", "Systemadministrator", "システム管理者"])
def test_an_administrator_is_known_in_every_language(name: str) -> None:
    known = _known(*PRIVILEGES, is_custom=False)
    assert _row(known, Profile={"Name": name, "UserLicense": None})["is_system_administrator"] is True


@pytest.mark.parametrize(
    ("held", "is_custom"), [(PRIVILEGES, True), (PRIVILEGES[:-1], False), ((), False)], ids=["custom", "less", "none"]
)
def test_no_other_profile_is_taken_for_it(held: tuple[str, ...], is_custom: bool) -> None:
    row = _row(_known(*held, is_custom=is_custom), Profile={"Name": "System Administrator", "UserLicense": None})
    assert row["is_system_administrator"] is False
    assert row["has_custom_profile"] is is_custom


def test_an_org_that_marks_no_profile_as_standard_says_nothing_of_administrators() -> None:
    known = KnownOfUsers()
    assert known.containers is not None
    record = {"Id": "0PS1", "IsCustom": True, "IsOwnedByProfile": True, "ProfileId": PROFILE}
    known.containers.add(record, mask_of(PRIVILEGES))
    assert not {"is_system_administrator", "has_custom_profile"} & _row(known).keys()


def test_what_a_join_could_not_read_is_absent_and_not_false() -> None:
    known = KnownOfUsers()
    known.has_methods = known.has_permissions = known.has_logins = False
    known.containers = None
    row = _row(known)
    unknown = {"mfa_methods", "has_mfa_method", "is_privileged", "permissions", "is_frozen", "is_system_administrator"}
    assert not unknown & row.keys()
    assert "is_integration" not in row, "whether some path grants API Only User is not known"


@pytest.mark.parametrize("licence", ["PID_Salesforce_Integration", "PID_API_Only", "pid_api_only", "PID_INTEGRATION"])
def test_integration_users_are_known_by_their_licence(licence: str) -> None:
    row = _row(_known(), Profile={"Name": "P", "UserLicense": {"LicenseDefinitionKey": licence}})
    assert row["is_integration"] is True


def test_integration_users_are_known_by_a_permission_too() -> None:
    known = _known("ApiUserOnly")
    assert "is_integration" not in _row(known)
    _grant(known)
    assert _row(known)["is_integration"] is True


@pytest.mark.parametrize("profile", [None, {"Name": None, "UserLicense": None}])
def test_a_user_without_profile_or_licence_is_still_a_row(profile: Any) -> None:
    row = _row(_known(), Profile=profile, ProfileId=None)
    assert (row["licence"], row["is_integration"]) == ("", False)


def test_a_user_who_never_logged_in_is_idle_since_creation() -> None:
    row = _row(_known(), LastLoginDate=None)
    assert (row["has_logged_in"], row["idle_days"]) == (False, 365)


def test_a_withheld_login_date_makes_nobody_idle() -> None:
    record = _record()
    del record["LastLoginDate"]
    row = user(record, _known(), NOW)
    assert not {"has_logged_in", "idle_days"} & row.keys()


def test_a_proof_with_a_key_is_kept_for_privileged_users() -> None:
    known = _known("ViewAllData")
    _grant(known)
    known.add_verification(ANN)
    assert _row(known)["has_used_phishing_resistant_mfa"] is True


def test_every_set_of_permissions_survives_as_a_number() -> None:
    assert names_of(mask_of(KNOWN)) == list(KNOWN)
    assert names_of(0) == []
    assert mask_of(KNOWN) < 1 << 64


def test_gated_permissions_are_found_by_what_the_org_describes() -> None:
    labels = {
        "Id": "Id", "PermissionsModifyAllData": "Modify All Data",
        "PermissionsAppApprovals": "Approve Uninstalled Connected Apps",
    }  # fmt: skip
    found = PermissionColumns(labels)
    assert found.existing == ["ModifyAllData", UNINSTALLED_APPS]
    assert "BypassMFAForUiLogins" in found.absent
    assert found.columns == ("PermissionsModifyAllData", "PermissionsAppApprovals")
    assert names_of(found.mask({"PermissionsModifyAllData": False, "PermissionsAppApprovals": True})) == [
        UNINSTALLED_APPS
    ]
    with pytest.raises(LookupError):
        found.mask({"PermissionsModifyAllData": True})
    in_german = {"PermissionsCanApproveUninstalledApps": "Nicht installierte verbundene Apps genehmigen"}
    assert PermissionColumns(in_german).existing == [UNINSTALLED_APPS]


@pytest.mark.parametrize("hidden", PRIVILEGES)
def test_a_description_that_hides_a_permission_of_every_org_is_not_whole(hidden: str) -> None:
    labels = {f"Permissions{name}": name for name in PRIVILEGES}
    assert PermissionColumns(labels).is_whole
    del labels[f"Permissions{hidden}"]
    assert not PermissionColumns(labels).is_whole


def test_a_permission_is_granted_in_each_form_of_true_and_never_by_guess() -> None:
    columns = PermissionColumns({"PermissionsModifyAllData": "Modify All Data"})
    assert names_of(columns.mask({"PermissionsModifyAllData": "true"})) == ["ModifyAllData"]
    assert names_of(columns.mask({"PermissionsModifyAllData": "false"})) == []
    with pytest.raises(ValueError, match="neither true nor false"):
        columns.mask({"PermissionsModifyAllData": None})
