"""Users carry what the joins know of them, and nothing that could not be read."""

import pytest
from plumbline_collector.connectors.servicenow import people
from plumbline_collector.connectors.servicenow.identifiers import key
from plumbline_collector.connectors.servicenow.people_reader import MOST_ELEVATED, elevated_fields_left_open
from plumbline_contracts.datasets import datasets
from plumbline_contracts.events import DatasetState, Product

from tests.unit.collector.servicenow.fakes import ADMIN, NOW, small_instance, sys_id

SCHEMAS = datasets(Product.SERVICENOW)
USER = small_instance().tables["sys_user"][0]


def test_a_user_carries_what_the_joins_know() -> None:
    known = people.KnownOfUsers(["security_admin", "sn_kmf.admin"])
    for role in ("admin", "catalog_admin", "sn_kmf.admin", "snc_basic_auth_api_access"):
        known.add_role({"user": ADMIN, "role.name": role, "user.active": "true"})
    known.add_factor({"user": ADMIN, "validated": "true"})
    known.add_factor({"user": sys_id(2), "validated": "false"})
    known.exceptions = {key(ADMIN)}
    row = people.user(USER, known, NOW)
    assert (row["privileged_roles"], row["is_admin"], row["has_mfa_method"]) == (["admin"], True, True)
    assert (row["elevated_roles"], row["holds_basic_auth_role"]) == (["sn_kmf.admin"], True)
    assert (row["idle_days"], row["age_days"], row["is_integration"], row["is_sso_bound"]) == (10, 365, False, False)
    assert (row["is_machine_account"], row["is_mid_server"], row["failed_attempts"]) == (True, False, 0)
    assert SCHEMAS["users"].violations(row) == []
    other = people.user({**USER, "sys_id": sys_id(2)}, known, NOW)
    assert (other["has_mfa_method"], other["is_privileged"], other["is_machine_account"]) == (False, False, False)


@pytest.mark.parametrize(("cell", "expected"), [("", 0), ("0", 0), ("12", 12), ("many", None), (None, None)])
def test_no_failed_login_is_written_down_as_nothing(cell: str | None, expected: int | None) -> None:
    cells = {name: value for name, value in USER.items() if name != "failed_attempts"}
    row = people.user(cells | ({} if cell is None else {"failed_attempts": cell}), people.KnownOfUsers(), NOW)
    assert row.get("failed_attempts") == expected


def test_what_a_join_could_not_read_is_absent_and_not_false() -> None:
    known = people.KnownOfUsers()
    known.roles = known.factors = known.exceptions = None
    row = people.user(USER, known, NOW)
    absent = {
        "is_privileged",
        "has_mfa_method",
        "has_basic_auth_exception",
        "is_machine_account",
        "holds_elevated_role",
    }
    assert not absent & row.keys()


@pytest.mark.parametrize(
    ("cells", "has_logged_in", "idle"),
    [
        ({"last_login_time": ""}, False, 365),
        ({"last_login_time": "soon"}, None, None),
        ({"last_login_time": "2099-01-01 00:00:00"}, True, None),
        ({"last_login_time": "", "sys_created_on": "2099-01-01 00:00:00"}, False, None),
        ({"sys_created_on": "?"}, True, 10),
    ],
)
def test_idle_days_need_dates_that_are_dates(
    cells: dict[str, str], has_logged_in: bool | None, idle: int | None
) -> None:
    row = people.user({**USER, **cells}, people.KnownOfUsers(), NOW)
    assert (row.get("has_logged_in"), row.get("idle_days")) == (has_logged_in, idle)


def test_a_withheld_column_of_a_user_is_not_guessed() -> None:
    kept = {
        name: value
        for name, value in USER.items()
        if name not in ("last_login_time", "sso_source", "web_service_access_only")
    }
    row = people.user(kept, people.KnownOfUsers(), NOW)
    assert not {"idle_days", "has_logged_in", "is_sso_bound", "is_integration", "is_web_service_only"} & row.keys()
    sure = people.user({**kept, "internal_integration_user": "true"}, people.KnownOfUsers(), NOW)
    assert sure["is_integration"] is True


def test_who_is_inactive_and_privileged_is_remembered() -> None:
    known = people.KnownOfUsers()
    for role in ("admin", "impersonator", "mid_server"):
        known.add_role({"user": sys_id(7), "role.name": role, "user.active": "false", "user.user_name": "bob"})
    known.add_role({"user": ADMIN, "role.name": "admin", "user.active": "true", "user.user_name": "ann"})
    rows = people.inactive_holders(known)
    assert rows == [{"sys_id": sys_id(7), "user_name": "bob", "privileged_roles": ["admin", "impersonator"]}]
    assert SCHEMAS["inactive_privileged_users"].violations(rows[0]) == []


def test_a_role_row_without_its_user_is_an_error() -> None:
    with pytest.raises(KeyError):
        people.KnownOfUsers().add_role({"role.name": "admin"})


def test_built_in_accounts_say_what_they_may_do() -> None:
    demo = {**USER, "user_name": "Abel.Tuter", "active": "true"}
    row = people.built_in_account(demo, {key(ADMIN): ["itil", "itil"]}, NOW)
    assert (row["is_demo"], row["is_active"], row["roles"], row["has_roles"]) == (True, True, ["itil"], True)
    assert SCHEMAS["built_in_accounts"].violations(row) == []
    assert "has_roles" not in people.built_in_account(demo, None, NOW)


def test_a_basic_auth_exception_says_what_was_decided() -> None:
    cells = {"sys_id": "1", "user": "u", "user.user_name": "svc", "decision": "", "action_taken": "false"}
    row = people.basic_auth_exception(
        {**cells, "usage_count": "17", "source": "tracking", "last_seen": "2026-11-20 09:00:00"}, NOW
    )
    assert (row["user_name"], row["is_decided"], row["usage_count"], row["unseen_days"]) == ("svc", False, 17, 4)
    assert SCHEMAS["basic_auth_exceptions"].violations(row) == []


def test_ids_are_small_and_spelling_does_not_matter() -> None:
    assert key(ADMIN) == key(ADMIN.upper())
    assert len(key(ADMIN)) == 16
    assert key("global") != key("GLOBAL0")


def test_more_elevated_roles_than_are_looked_for_leave_the_fields_open() -> None:
    few = ["security_admin", *(f"role{number}" for number in range(MOST_ELEVATED - 1))]
    assert elevated_fields_left_open(few) == []
    missing = elevated_fields_left_open([*few, "one_more"])
    assert {field.field for field in missing} == {"holds_elevated_role", "elevated_roles"}
    assert {field.state for field in missing} == {DatasetState.TRUNCATED}
    assert {field.state for field in elevated_fields_left_open([])} == {DatasetState.DENIED}
