"""Apps are known by what the org's objects say of each, and by nothing that they do not."""

from datetime import UTC, datetime
from typing import Any, cast

import pytest
from plumbline_collector.connectors.salesforce.apps import POLICIES, SCOPES, Apps
from plumbline_collector.connectors.salesforce.client import SalesforceClient
from plumbline_collector.connectors.salesforce.run import SCHEMAS, Run
from plumbline_contracts.events import DatasetSummary, Row

from tests.integration.collector.sink import Rows
from tests.unit.collector.salesforce.fake_org import FakeOrg

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
OWN, PACKAGED, PUSH = "0xI000000000000AAA", "0xI000000000001AAA", "0xI000000000002AAA"
MOBILE, SLACK, GONE = "0H4000000000001AAA", "0H4000000000002AAA", "0H4000000000003AAA"


def _app(identity: str, name: str) -> Row:
    return {"Id": identity, "DeveloperName": name, "MasterLabel": name, "DistributionState": "Local"}


def _policy(app: str) -> dict[str, Any]:
    return {
        "ExternalClientApplicationId": app, "PermittedUsersPolicyType": "AdminApprovedPreAuthorized",
        "IpRelaxationPolicyType": "Enforce", "RefreshTokenPolicyType": "Zero", "RefreshTokenValidityPeriod": None,
        "RefreshTokenValidityUnit": None, "RequiredSessionLevel": None, "IsClientCredentialsFlowEnabled": False,
        "ClientCredentialsFlowUser": None,
    }  # fmt: skip


def _scopes(app: str) -> dict[str, Any]:
    granted = {"OauthScopesFULL": True, "OauthScopesAPI": True, "OauthScopesREFRESH_TOKEN": True}
    return {"ExternalClientApplicationId": app, **granted}


def _connected(identity: str, *, is_internal: bool) -> dict[str, Any]:
    columns = (
        "OptionsRefreshTokenValidityMetric", "RefreshTokenValidityPeriod", "OptionsHasSessionLevelPolicy",
        "MobileSessionTimeout", "PinLength", "StartUrl", "CreatedDate", "LastModifiedDate",
    )  # fmt: skip
    said = {"Id": identity, "Name": identity, "OptionsAllowAdminApprovedUsersOnly": True}
    return {**dict.fromkeys(columns), **said, "OptionsIsInternal": is_internal}


def _token(app: str | None) -> dict[str, Any]:
    item = {"IsUsingAdminAuthorization": True, "ApplicationId": app} if app else None
    return {
        "AppName": app or "Data Loader", "AppMenuItemId": "0DS1" if app else None, "AppMenuItem": item, "UserId": "005",
        "CreatedDate": "2026-11-01T09:00:00.000+0000", "LastUsedDate": None, "UseCount": 1,
    }  # fmt: skip


def _org(**changed: list[dict[str, Any]]) -> FakeOrg:
    return FakeOrg(
        {
            "ExternalClientApplication": [_app(OWN, "Own"), _app(PACKAGED, "Packaged"), _app(PUSH, "Push")],
            POLICIES: [_policy(OWN), _policy(PACKAGED)],
            SCOPES: [_scopes(OWN)],
            "ConnectedApplication": [_connected(MOBILE, is_internal=True), _connected(SLACK, is_internal=False)],
            "SetupEntityAccess": [],
            "OauthToken": [_token(MOBILE), _token(SLACK), _token(GONE), _token(None)],
            **changed,
        }
    )


def _apps(org: FakeOrg) -> tuple[Apps, Rows]:
    rows = Rows()
    return Apps(Run(cast("SalesforceClient", org), rows, NOW)), rows


async def _external(org: FakeOrg) -> tuple[DatasetSummary, list[Row]]:
    apps, rows = _apps(org)
    found = await apps.external()
    schema = SCHEMAS["external_client_apps"]
    assert not [row for row in rows.found["external_client_apps"] if schema.violations(row)]
    return found, rows.found["external_client_apps"]


async def test_an_app_with_neither_policy_nor_settings_is_without_oauth() -> None:
    found, (own, packaged, push) = await _external(_org())
    assert [row["has_oauth"] for row in (own, packaged, push)] == [True, True, False]
    assert (own["has_full_scope"], push["has_full_scope"], push["has_refresh_token_scope"]) == (True, False, False)
    assert "has_full_scope" not in packaged, "settings that are not shown may ask for everything"
    assert not {"is_admin_approved_only", "is_ip_enforced", "has_refresh_token_expiry"} & push.keys()
    assert not found.missing_fields


@pytest.mark.parametrize("api_object", [POLICIES, SCOPES])
async def test_whether_it_has_oauth_is_not_told_by_half(api_object: str) -> None:
    hidden = _org()
    del hidden.objects[api_object]
    for org in (hidden, _org(**{api_object: []})):
        found, rows = await _external(org)
        assert not any("has_oauth" in row for row in rows)
        assert "has_full_scope" not in rows[-1]
        assert "has_oauth" in {each.field for each in found.missing_fields}


async def test_a_token_of_a_connected_app_says_whether_the_app_is_internal() -> None:
    apps, rows = _apps(_org())
    await apps.connected()
    await apps.external()
    await apps.tokens()
    tokens = {str(row["app_name"]): row.get("is_internal_app") for row in rows.found["oauth_tokens"]}
    assert tokens == {MOBILE: True, SLACK: False, GONE: None, "Data Loader": None}


async def test_a_mark_that_is_withheld_marks_no_token() -> None:
    org = _org()
    org.hidden = {"OptionsIsInternal"}
    for row in org.objects["ConnectedApplication"]:
        del row["OptionsIsInternal"]
    apps, rows = _apps(org)
    await apps.connected()
    await apps.external()
    await apps.tokens()
    assert not any("is_internal_app" in row for row in rows.found["oauth_tokens"])
