"""What may be concluded from what the caller holds; an ambiguous refusal stays a refusal."""

import pytest
from plumbline_collector.connectors import summaries
from plumbline_collector.connectors.salesforce.rights import BASE, LABELS, MORE_THAN_READING, Rights, hidden_field
from plumbline_collector.connectors.salesforce.run import SCHEMAS
from plumbline_collector.errors import ReadError
from plumbline_contracts.events import DatasetState

UNKNOWN = ReadError(DatasetState.DENIED, "INVALID_TYPE", "sObject type 'TenantSecret' is not supported.")


def _rights(*held: str) -> Rights:
    rights = Rights()
    rights.take({f"Permissions{name}": name in held for name in LABELS})
    return rights


@pytest.mark.parametrize(
    ("dataset", "held", "state"),
    [
        ("tenant_secrets", ("ManageEncryptionKeys",), DatasetState.NOT_LICENSED),
        ("tenant_secrets", ("ViewSetup",), DatasetState.DENIED),
        ("event_log_types", ("ViewEventLogFiles",), DatasetState.NOT_LICENSED),
        ("networks", ("ViewSetup",), DatasetState.DENIED),
        ("remote_sites", tuple(LABELS), DatasetState.DENIED),
    ],
)
def test_an_unknown_object_is_unlicensed_only_by_proof(
    dataset: str, held: tuple[str, ...], state: DatasetState
) -> None:
    assert _rights(*held).judged(dataset, UNKNOWN).state is state


def test_without_the_callers_rights_nothing_is_proved() -> None:
    assert Rights().judged("tenant_secrets", UNKNOWN).state is DatasetState.DENIED


@pytest.mark.parametrize("code", ["INSUFFICIENT_ACCESS", "INVALID_FIELD", "NOT_FOUND", "http_503"])
def test_other_failures_prove_nothing(code: str) -> None:
    failure = ReadError(DatasetState.DENIED, code, "no")
    assert _rights("ManageEncryptionKeys").judged("tenant_secrets", failure) is failure


def test_digital_experiences_that_are_off_have_no_sites() -> None:
    rights = _rights()
    rights.has_sites = False
    assert rights.judged("networks", UNKNOWN).state is DatasetState.NOT_LICENSED
    assert rights.judged("remote_sites", UNKNOWN).state is DatasetState.DENIED


def test_rows_may_be_hidden_without_a_word() -> None:
    assert _rights("MonitorLoginHistory").hidden(("MonitorLoginHistory", "ManageUsers"), "rows") is None
    assert _rights().hidden((), "rows") is None
    hidden = _rights().hidden(("MonitorLoginHistory", "ManageUsers"), "rows")
    assert hidden is not None
    assert (hidden.state, hidden.code) == (DatasetState.TRUNCATED, "hidden_rows")
    assert "Monitor Login History or Manage Users" in hidden.message
    unread = Rights().hidden(("ViewAllUsers",), "rows")
    assert unread is not None
    assert unread.code == "visibility_unknown"


def test_lacking_base_permissions_are_named_and_those_the_org_lacks_are_not() -> None:
    rights = Rights()
    rights.take({"PermissionsViewSetup": True, "PermissionsViewAllUsers": False})
    assert [each.error.permission for each in rights.missing_base()] == ["View All Users"]
    assert rights.document() == {"held": ["ViewSetup"], "missing": ["ViewAllUsers"]}


def test_every_permission_of_a_dataset_is_one_that_is_looked_up() -> None:
    named = {schema.permission for schema in SCHEMAS.values()}
    named |= {each.permission for schema in SCHEMAS.values() for each in schema.fields.values() if each.permission}
    assert named <= set(LABELS.values())
    assert set(BASE.values()) <= SCHEMAS["collector_permissions"].fields.keys()


def test_a_hidden_field_names_field_level_security() -> None:
    failure = ReadError(DatasetState.DENIED, "INVALID_FIELD", "No such column")
    missing = hidden_field("is_sso_bound", "User", "FederationIdentifier", failure)
    assert "User > Fields & Relationships > FederationIdentifier" in (missing.error.remedy or "")


def test_what_a_lacking_permission_opens_is_doubted_even_where_rows_came() -> None:
    rights = _rights("ViewAllUsers")
    found = rights.lacking("View Setup and Configuration", "rows of RemoteProxy")
    assert found is not None
    assert (found.state, found.code) == (DatasetState.TRUNCATED, "hidden_rows")
    assert rights.lacking("View All Users", "rows of User", is_empty=True) is None
    assert rights.lacking("API Enabled or another", "rows of User", is_empty=True) is None


def test_what_is_empty_is_doubted_while_the_permissions_are_not_known() -> None:
    found = Rights().lacking("View Setup and Configuration", "rows of RemoteProxy", is_empty=True)
    assert found is not None
    assert found.code == "visibility_unknown"
    assert Rights().lacking("View Setup and Configuration", "rows of RemoteProxy") is None


def test_nobody_is_told_to_grant_what_is_held() -> None:
    failed = summaries.failed(SCHEMAS["transaction_security_policies"], UNKNOWN)
    lacking, holding = _rights("ViewAllUsers").advised(failed), _rights("ViewSetup").advised(failed)
    assert lacking == failed
    assert holding.error is not None
    assert (holding.state, holding.error.permission, holding.error.remedy) == (DatasetState.DENIED, None, None)
    assert "View Setup and Configuration is held" in holding.error.message


@pytest.mark.parametrize("dataset", ["session_activity", "public_links", "oauth_tokens", "tenant_secrets"])
def test_advice_says_what_a_dangerous_permission_allows_besides(dataset: str) -> None:
    advised = _rights("ViewSetup").advised(summaries.failed(SCHEMAS[dataset], UNKNOWN)).error
    assert advised is not None
    assert f"its holder can also {MORE_THAN_READING[advised.permission or '']}" in (advised.remedy or "")


def test_advice_about_a_field_is_as_careful() -> None:
    missing = summaries.missing_fields(SCHEMAS["users"], ["has_mfa_method"], UNKNOWN)
    advised = _rights("ViewSetup").advised(summaries.read(SCHEMAS["users"], 1, missing=missing))
    assert "verification methods of users, so leave it out" in (advised.missing_fields[0].error.remedy or "")
