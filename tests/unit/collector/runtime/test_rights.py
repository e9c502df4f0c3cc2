"""What a missing right costs, and how it is told."""

from io import StringIO

import pytest
from plumbline_collector import reports, rights
from plumbline_contracts.events import DatasetError, DatasetState, DatasetSummary, MissingField, Product
from rich.console import Console

INDEX = {
    "controls": {"C-1": {"points": 7}, "C-2": {"points": 4}, "C-3": {"points": 2}},
    "datasets": {
        "salesforce": {
            "users": {"is_frozen": ["C-1"], "mfa_methods": ["C-1", "C-2"]},
            "certificates": {"key_size": ["C-3"]},
        }
    },
}
DENIED = DatasetError(code="X", message="refused", permission="View Setup", remedy="Setup > tick it")


@pytest.fixture(autouse=True)
def index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rights, "control_index", lambda: INDEX)


def _summary(name: str, error: DatasetError | None = None, **changes: object) -> DatasetSummary:
    state = DatasetState.DENIED if error else DatasetState.OK
    return DatasetSummary(name=name, kind="rows", state=state, source="X", error=error).model_copy(update=changes)


def _withheld(field: str, permission: str) -> MissingField:
    error = DENIED.model_copy(update={"permission": permission})
    return MissingField(field=field, state=DatasetState.DENIED, error=error)


def test_each_right_names_what_it_opens_and_counts_a_control_once() -> None:
    users = _summary(
        "users", missing_fields=[_withheld("mfa_methods", "Manage MFA"), _withheld("is_frozen", "Manage MFA")]
    )
    found = rights.unread(Product.SALESFORCE, [users, _summary("certificates", DENIED), _summary("organization")])
    costly, cheap = rights.missing_rights(found)
    assert (costly.permission, costly.controls, costly.points) == ("Manage MFA", ["C-1", "C-2"], 11)
    assert costly.unread == ["users.mfa_methods", "users.is_frozen"]
    assert (cheap.permission, cheap.unread, cheap.points) == ("View Setup", ["certificates"], 2)


def test_a_dataset_that_cannot_be_read_costs_all_its_controls() -> None:
    (line,) = rights.unread(Product.SALESFORCE, [_summary("users", DENIED)])
    assert (line.controls, line.points) == (["C-1", "C-2"], 11)


def test_what_no_permission_mends_is_no_right() -> None:
    broken = DENIED.model_copy(update={"permission": None, "remedy": None})
    found = rights.unread(Product.SALESFORCE, [_summary("users", broken)])
    assert rights.missing_rights(found) == []
    assert reports.cost_sentence(found) == "2 controls worth 11 points need what is not readable."
    assert reports.cost_sentence([]) == "No control of the catalogue needs them."


def test_the_table_names_right_place_datasets_controls_and_points() -> None:
    found = rights.unread(Product.SALESFORCE, [_summary("users", DENIED), _summary("certificates", DENIED)])
    console = Console(width=160, record=True, file=StringIO())
    console.print(reports.rights_table(rights.missing_rights(found)))
    text = console.export_text()
    for expected in ("View Setup", "users", "certificates", "C-1, C-2, C-3", "13"):
        assert expected in text


def test_only_what_some_control_needs_and_might_be_read_keeps_an_instance_from_being_healthy() -> None:
    def found(name: str, state: DatasetState) -> list[rights.Unread]:
        return rights.unread(Product.SALESFORCE, [_summary(name, DENIED, state=state)])

    assert rights.blocking(found("users", DatasetState.DENIED))
    assert rights.blocking(found("users", DatasetState.ERROR))
    assert not rights.blocking(found("users", DatasetState.NOT_LICENSED))
    assert not rights.blocking(found("organization", DatasetState.DENIED))


def test_the_place_to_grant_rights_in_is_said_once_for_all_that_are_granted_alike() -> None:
    def right(permission: str, remedy: str) -> rights.MissingRight:
        return rights.MissingRight(permission, remedy, ["x"], [], 0)

    acls = [right(f"read ACL on {table}", f"ACL > New: {table} and {table}.*") for table in ("sys_user", "sys_public")]
    assert reports.places([*acls, right("View Setup", "Setup > tick View Setup")]) == [
        "ACL > New: … and ….*, for each",
        "Setup > tick View Setup",
    ]
