# ruff: noqa: S608 - the strings are SOQL
"""The simulated org answers every query a reader asks, and refuses the rest in the vendor's words."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from plumbline_simulators.credentials import Credentials
from plumbline_simulators.salesforce.app import app
from plumbline_simulators.salesforce.org import Org
from plumbline_simulators.salesforce.people import SECRET
from plumbline_simulators.salesforce.settings import leaves
from plumbline_simulators.salesforce.shape import BASE_RIGHTS, FULL_RIGHTS, OPEN_RIGHTS, Seed

from tests.integration.simulators.in_process import client as in_process
from tests.integration.simulators.salesforce_queries import REST, SETTINGS, TOOLING

TOKEN = "/services/oauth2/token"
DATA = "/services/data/v66.0"
CLIENT = {"client_id": Credentials.client_id, "client_secret": Credentials.client_secret}
FORM = {"grant_type": "client_credentials", **CLIENT}


@contextmanager
def reading(org: Org) -> Iterator[httpx.Client]:
    """A client of the org with a token."""
    client = in_process(app(org))
    token = client.post(TOKEN, data=FORM).raise_for_status().json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"
    yield client


def ask(client: httpx.Client, soql: str, *, tooling: bool = False, options: str = "") -> httpx.Response:
    path = f"{DATA}/tooling/query" if tooling else f"{DATA}/query"
    return client.get(path, params={"q": soql}, headers={"Sforce-Query-Options": options})


def found(client: httpx.Client, soql: str, *, tooling: bool = False) -> dict[str, Any]:
    body: dict[str, Any] = ask(client, soql, tooling=tooling).raise_for_status().json()
    return body


def code(answer: httpx.Response) -> tuple[int, str]:
    (error,) = answer.json()
    return answer.status_code, error["errorCode"]


@pytest.fixture(scope="module")
def weak() -> Iterator[httpx.Client]:
    with reading(Org(users=300, rights=FULL_RIGHTS)) as client:
        yield client


def _cell(record: dict[str, Any], path: str) -> Any:
    value: Any = record
    for step in path.split("."):
        if value is None:
            return None
        value = value[step]
    return value


@pytest.mark.parametrize("seed", ["weak", "strong"])
@pytest.mark.parametrize(
    ("soql", "tooling"), [*((q, False) for q in REST.values()), *((q, True) for q in TOOLING.values())]
)
def test_every_query_of_the_reference_is_answered_with_what_it_selects(soql: str, tooling: bool, seed: Seed) -> None:
    with reading(Org(users=300, seed=seed, rights=FULL_RIGHTS)) as client:
        body = found(client, soql, tooling=tooling)
    selected = re.split(r",\s*", soql.removeprefix("SELECT ").partition(" FROM ")[0])
    assert body["records"]
    assert ("entityTypeName" in body) is tooling
    for record in body["records"]:
        assert set(record) == {"attributes"} | {path.partition(".")[0] for path in selected}
        for path in selected:
            _cell(record, path)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_settings_type_is_one_blob_with_its_fields(name: str, weak: httpx.Client) -> None:
    (record,) = found(weak, f"SELECT Metadata FROM {name} LIMIT 1", tooling=True)["records"]
    assert SETTINGS[name] <= set(dict(leaves(record["Metadata"])))


@pytest.mark.parametrize(
    ("soql", "tooling", "error", "said"),
    [
        ("SELECT DisableProtocolSecurity FROM RemoteProxy", True, "INVALID_FIELD", "'DisableProtocolSecurity'"),
        ("SELECT Id FROM RemoteProxy", False, "INVALID_TYPE", "'RemoteProxy'"),
        ("SELECT Score FROM SecurityHealthCheck", False, "INVALID_TYPE", "'SecurityHealthCheck'"),
        ("SELECT Id FROM LoginIpRange", False, "INVALID_TYPE", "'LoginIpRange'"),
        ("SELECT Id FROM LoginIpRange", True, "INVALID_TYPE", "'LoginIpRange'"),
        ("SELECT IsEnabled FROM TransactionSecurityPolicy", True, "INVALID_FIELD", "'IsEnabled'"),
        ("SELECT Factor FROM TwoFactorMethodsInfo", False, "INVALID_FIELD", "'Factor' on entity"),
        ("SELECT IsEnabled FROM SamlSsoConfig", False, "INVALID_FIELD", "'IsEnabled'"),
        ("SELECT SamlVersion FROM SamlSsoConfig", False, "INVALID_FIELD", "'SamlVersion'"),
        ("SELECT Metadata FROM OrganizationSettings", True, "INVALID_TYPE", "'OrganizationSettings'"),
        ("SELECT NamedCredentialType FROM NamedCredential", False, "INVALID_FIELD", "'NamedCredentialType'"),
        ("SELECT Profile.Foo FROM User", False, "INVALID_FIELD", "'Foo' on entity 'Profile'"),
        ("SELECT Boss.Name FROM User", False, "INVALID_FIELD", "relationship 'Boss'"),
        ("SELECT Id FROM User WHERE Foo = 1", False, "INVALID_FIELD", "'Foo' on entity 'User'"),
        ("SELECT UserId FROM LoginHistory WHERE Status = 'Success'", False, "INVALID_FIELD", "can not be filtered"),
        ("SELECT UserId FROM LoginHistory WHERE Application = 'x'", False, "INVALID_FIELD", "can not be filtered"),
        ("SELECT COUNT(Id) FROM SetupAuditTrail", False, "MALFORMED_QUERY", "COUNT"),
        ("SELECT Id, Metadata FROM Profile", True, "MALFORMED_QUERY", "no more than one row"),
        ("SELECT Id FROM User OFFSET 2001", False, "NUMBER_OUTSIDE_VALID_RANGE", "2000"),
        ("SELECT QualifiedApiName FROM EntityDefinition", True, "EXCEEDED_ID_LIMIT", "queryMore()"),
        ("SELECT Id FROM User WHERE Id IN (SELECT UserId FROM TwoFactorMethodsInfo)", False, "MALFORMED_QUERY",
         "semi join"),
        ("SELECT UserId FROM TwoFactorMethodsInfo WHERE UserId IN (SELECT Id FROM User)", False, "MALFORMED_QUERY",
         "semi join"),
        ("SELECT Name FROM User GROUP BY UserType", False, "MALFORMED_QUERY", "grouped"),
    ],
)  # fmt: skip
def test_a_known_mistake_is_refused_and_never_answered_empty(
    soql: str, tooling: bool, error: str, said: str, weak: httpx.Client
) -> None:
    answer = ask(weak, soql, tooling=tooling)
    assert code(answer) == (400, error)
    assert said in answer.json()[0]["message"]
    assert answer.headers["Sforce-Limit-Info"].startswith("api-usage=")


@pytest.mark.parametrize(("name", "permission"), [
    ("TwoFactorMethodsInfo", "PermissionsManageTwoFactor"),
    ("TenantSecret", "PermissionsManageEncryptionKeys"),
    ("EventLogFile", "PermissionsViewEventLogFiles"),
])  # fmt: skip
def test_an_object_without_its_permission_is_no_object(name: str, permission: str) -> None:
    column = "UserId" if name == "TwoFactorMethodsInfo" else "Id"
    with reading(Org(rights=OPEN_RIGHTS - {permission})) as client:
        assert code(ask(client, f"SELECT {column} FROM {name}")) == (400, "INVALID_TYPE")
        assert client.get(f"{DATA}/sobjects/{name}/describe").status_code == 404
        assert not found(client, f"SELECT {permission} FROM UserPermissionAccess")["records"][0][permission]
    with reading(Org(rights=OPEN_RIGHTS)) as client:
        assert found(client, f"SELECT {column} FROM {name}")["totalSize"] > 0


@pytest.mark.parametrize(("name", "owner", "permission"), [
    ("User", "Id", "PermissionsViewAllUsers"),
    ("UserLogin", "UserId", "PermissionsViewAllUsers"),
    ("PermissionSetAssignment", "AssigneeId", "PermissionsViewAllUsers"),
    ("OauthToken", "UserId", "PermissionsCustomizeApplication"),
    ("LoginHistory", "UserId", "PermissionsMonitorLoginHistory"),
    ("AuthSession", "UsersId", "PermissionsManageUsers"),
    ("ContentDistribution", "OwnerId", "PermissionsViewAllData"),
])  # fmt: skip
def test_without_the_permission_only_own_rows_are_seen_and_nothing_says_so(
    name: str, owner: str, permission: str
) -> None:
    lacking = {permission, "PermissionsManageUsers"} if name == "LoginHistory" else {permission}
    seen = {}
    for rights in (FULL_RIGHTS - lacking, FULL_RIGHTS):
        with reading(Org(rights=rights)) as client:
            body = found(client, f"SELECT {owner} FROM {name}")
            assert found(client, f"SELECT COUNT() FROM {name}")["totalSize"] == body["totalSize"]
        seen[rights] = {record[owner] for record in body["records"]}
        assert body["done"]
    assert seen[FULL_RIGHTS - lacking] == {"005000000000000AAA"}
    assert len(seen[FULL_RIGHTS]) > 1


def test_a_column_hidden_by_field_level_security_is_no_column() -> None:
    with reading(Org(hidden_columns=frozenset({"User.FederationIdentifier"}))) as client:
        assert code(ask(client, "SELECT FederationIdentifier FROM User")) == (400, "INVALID_FIELD")
        fields = client.get(f"{DATA}/sobjects/User/describe").json()["fields"]
    assert "FederationIdentifier" not in {field["name"] for field in fields}


@pytest.mark.parametrize("has_gated_features", [True, False])
def test_a_feature_that_is_not_opened_has_no_columns(has_gated_features: bool) -> None:
    with reading(Org(has_gated_features=has_gated_features)) as client:
        fields = {field["name"] for field in client.get(f"{DATA}/sobjects/PermissionSet/describe").json()["fields"]}
        answer = ask(
            client, "SELECT Id FROM PermissionSetAssignment WHERE PermissionSet.PermissionsIsSsoEnabled = true"
        )
        (record,) = found(client, "SELECT Metadata FROM ConnectedAppSettings", tooling=True)["records"]
    gated = {"PermissionsBypassMFAForUiLogins", "PermissionsIsSsoEnabled", "PermissionsUseAnyApiClient"}
    assert (gated <= fields) is has_gated_features
    assert ("enableAdminApprovedAppsOnly" in record["Metadata"]) is has_gated_features
    assert answer.status_code == (200 if has_gated_features else 400)


def test_features_that_are_not_licensed_have_no_objects() -> None:
    with reading(Org(has_experience_cloud=False, has_shield=False)) as client:
        for soql, tooling in (("SELECT Id FROM Network", False), ("SELECT Id FROM TenantSecret", False),
                              ("SELECT Id FROM TransactionSecurityPolicy", True)):  # fmt: skip
            assert code(ask(client, soql, tooling=tooling)) == (400, "INVALID_TYPE")


def test_an_org_of_another_language_names_standard_things_in_it() -> None:
    with reading(Org(language="de")) as client:
        profiles = {record["Name"] for record in found(client, "SELECT Name FROM Profile")["records"]}
        risks = found(client, "SELECT DurableId, Setting FROM SecurityHealthCheckRisks", tooling=True)["records"]
        fields = client.get(f"{DATA}/sobjects/PermissionSet/describe").json()["fields"]
    assert "Systemadministrator" in profiles
    assert "System Administrator" not in profiles
    assert "Sales User" in profiles
    assert len({risk["DurableId"] for risk in risks}) == 45
    assert "Require HttpOnly attribute" not in {risk["Setting"] for risk in risks}
    assert "Nicht installierte verbundene Anwendungen genehmigen" in {field["label"] for field in fields}


def test_a_custom_baseline_lets_weak_values_pass_and_says_that_it_is_there() -> None:
    query = "SELECT CustomBaselineId, Score FROM SecurityHealthCheck"
    length = (
        "SELECT RiskType, OrgValueRaw, StandardValueRaw FROM SecurityHealthCheckRisks "
        "WHERE DurableId = 'PasswordPolicies.minPasswordLength'"
    )
    scores = {}
    for has_custom_baseline in (False, True):
        org = Org(has_custom_baseline=has_custom_baseline)
        org.change("minimumPasswordLength", "5")
        with reading(org) as client:
            (check,) = found(client, query, tooling=True)["records"]
            (risk,) = found(client, length, tooling=True)["records"]
            assert found(client, "SELECT Id FROM SecurityCustomBaseline")["totalSize"] == int(has_custom_baseline)
        assert (check["CustomBaselineId"] is not None) is has_custom_baseline
        assert risk["RiskType"] == ("MEETS_STANDARD" if has_custom_baseline else "HIGH_RISK")
        assert risk["StandardValueRaw"] == ("5" if has_custom_baseline else "8")
        assert isinstance(check["Score"], str)
        scores[has_custom_baseline] = int(check["Score"])
    assert scores[True] > scores[False]


def test_objects_that_end_silently_do_so_after_their_cap() -> None:
    for org, soql, total in (
        (Org(users=9000), "SELECT UserId FROM TwoFactorMethodsInfo", 2999),
        (Org(oauth_tokens=3200), "SELECT AppName FROM OauthToken", 3200),
    ):
        with reading(org) as client:
            assert found(client, f"SELECT COUNT() FROM {soql.split()[-1]}")["totalSize"] == total
            page, sizes = found(client, soql), []
            sizes.append(len(page["records"]))
            while not page["done"]:
                page = client.get(page["nextRecordsUrl"]).json()
                sizes.append(len(page["records"]))
        assert sizes == [500] * 5


def test_every_token_beyond_the_cap_is_found_by_its_date() -> None:
    with reading(Org(oauth_tokens=3200)) as client:
        seen, last = set[str](), "1970-01-01T00:00:00Z"
        while True:
            page = found(client, f"SELECT Id, CreatedDate FROM OauthToken WHERE CreatedDate > {last} "
                                 "ORDER BY CreatedDate ASC LIMIT 500")  # fmt: skip
            if not page["records"]:
                break
            seen |= {record["Id"] for record in page["records"]}
            moment = datetime.fromisoformat(page["records"][-1]["CreatedDate"])
            last = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert len(seen) == 3200


@pytest.mark.parametrize(("asked", "rows"), [("200", 200), ("1", 200), ("5000", 2000), ("700", 700), ("many", 2000)])
def test_the_batch_size_is_honoured_within_its_bounds(asked: str, rows: int) -> None:
    with reading(Org(users=2500)) as client:
        answer = ask(client, "SELECT Id FROM User", options=f"batchSize={asked}")
    assert len(answer.json()["records"]) == rows


def test_an_org_may_give_smaller_pages_than_asked_for() -> None:
    with reading(Org(users=2500, page_size=250)) as client:
        page = found(client, "SELECT Id FROM User")
        assert (len(page["records"]), page["totalSize"], page["done"]) == (250, 2500, False)


def test_the_limit_is_counted_told_and_enforced() -> None:
    with reading(Org(daily_limit=3, has_usage_per_app=True)) as client:
        assert client.get("/services/data/").status_code == 200
        told = [ask(client, "SELECT COUNT() FROM User").headers["Sforce-Limit-Info"] for _ in range(2)]
        assert told == [f"api-usage={used}/3; per-app-api-usage={used}/250(appName=Plumbline)" for used in (1, 2)]
        assert client.get(f"{DATA}/limits").json()["DailyApiRequests"] == {"Max": 3, "Remaining": 0}
        assert code(ask(client, "SELECT COUNT() FROM User")) == (403, "REQUEST_LIMIT_EXCEEDED")


def test_versions_need_no_token_and_a_retired_one_is_gone() -> None:
    client = in_process(app(Org()))
    versions = {entry["version"]: entry["label"] for entry in client.get("/services/data/").json()}
    assert versions["66.0"] == "Spring '26"
    assert versions["64.0"] == "Summer '25"
    with reading(Org()) as reader:
        assert reader.get("/services/data/v30.0/limits").status_code == 410
        assert reader.get("/services/data/v99.0/limits").status_code == 404


def test_a_query_that_makes_the_address_too_long_is_refused(weak: httpx.Client) -> None:
    names = ", ".join(f"'005{number:012d}AAA'" for number in range(800))
    assert ask(weak, f"SELECT Id FROM User WHERE Id IN ({names})").status_code == 414


def test_columns_that_hold_secrets_are_there_and_marked(weak: httpx.Client) -> None:
    (token, *_) = found(weak, "SELECT AccessToken, RequestToken, DeleteToken FROM OauthToken")["records"]
    assert {token["AccessToken"], token["RequestToken"], token["DeleteToken"]} == {SECRET}


def test_aggregates_answer_as_aggregate_results(weak: httpx.Client) -> None:
    (count,) = found(weak, "SELECT COUNT(Id) FROM User")["records"]
    assert count == {"attributes": {"type": "AggregateResult"}, "expr0": 300}
    (named,) = found(weak, "SELECT COUNT(Id) many, MIN(Id), MAX(Id) FROM User")["records"]
    assert (named["many"], named["expr0"], named["expr1"]) == (300, "005000000000000AAA", "005000000000299AAA")
    kinds = found(weak, "SELECT UserType, COUNT(Id) FROM User GROUP BY UserType")["records"]
    assert {record["UserType"]: record["expr0"] for record in kinds} == {"Standard": 295, "Guest": 5}
    assert found(weak, "SELECT COUNT() FROM SetupAuditTrail")["totalSize"] == 40


def test_the_parts_of_an_org_agree_with_one_another(weak: httpx.Client) -> None:
    users = {r["Id"]: r for r in found(weak, "SELECT Id, UserType, ProfileId FROM User")["records"]}
    profiles = {r["Id"] for r in found(weak, "SELECT Id FROM Profile")["records"]}
    sets = {r["Id"]: r for r in found(weak, "SELECT Id, Type, IsOwnedByProfile FROM PermissionSet")["records"]}
    apps = {r["Id"] for r in found(weak, "SELECT Id FROM ConnectedApplication")["records"]}
    assert {user["ProfileId"] for user in users.values()} <= profiles
    held = found(weak, "SELECT AssigneeId, PermissionSetId, PermissionSet.Type FROM PermissionSetAssignment")["records"]
    assert {r["AssigneeId"] for r in held} == set(users)
    assert {r["PermissionSetId"] for r in held} <= set(sets)
    assert {r["PermissionSet"]["Type"] for r in held} >= {"Profile", "Regular", "Group", "Session"}
    sites = found(weak, "SELECT GuestUserId FROM Site WHERE GuestUserId != null")["records"]
    assert {users[r["GuestUserId"]]["UserType"] for r in sites} == {"Guest"}
    tokens = found(weak, "SELECT UserId, AppMenuItem.ApplicationId FROM OauthToken")["records"]
    assert {r["UserId"] for r in tokens} <= set(users)
    assert {r["AppMenuItem"]["ApplicationId"] for r in tokens if r["AppMenuItem"]} <= apps
    assert any(r["AppMenuItem"] is None for r in tokens)


# -- tokens ---------------------------------------------------------------------------------------------------------


def _refused(answer: httpx.Response) -> tuple[int, str, str]:
    body = answer.json()
    return answer.status_code, body["error"], body["error_description"]


@pytest.mark.parametrize(
    ("form", "error", "description"),
    [
        ({**FORM, "client_id": "x"}, "invalid_client_id", "client identifier invalid"),
        ({**FORM, "client_secret": "x"}, "invalid_client", "invalid client credentials"),
        ({**FORM, "grant_type": "magic"}, "unsupported_grant_type", "grant type not supported"),
        ({**CLIENT, "grant_type": "password", "username": Credentials.username, "password": "x"}, "invalid_grant",
         "authentication failure"),
        ({**CLIENT, "grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant",
         "expired access/refresh token"),
    ],
)  # fmt: skip
def test_a_wrong_grant_is_refused_in_the_vendors_words(form: dict[str, str], error: str, description: str) -> None:
    assert _refused(in_process(app(Org())).post(TOKEN, data=form)) == (400, error, description)


def test_all_four_grants_give_a_token() -> None:
    client = in_process(app(Org()))
    user = {"username": Credentials.username, "password": Credentials.password}
    grants: list[dict[str, str]] = [
        FORM,
        {**CLIENT, "grant_type": "password", **user},
        {**CLIENT, "grant_type": "refresh_token", "refresh_token": Credentials.refresh_token},
    ]
    assert {client.post(TOKEN, data=grant).status_code for grant in grants} == {200}
    basic = client.post(
        TOKEN, data={"grant_type": "client_credentials"}, auth=(CLIENT["client_id"], CLIENT["client_secret"])
    )
    assert basic.status_code == 200


@pytest.mark.parametrize(
    ("host", "is_login_host"),
    [
        ("https://login.salesforce.com", False),
        ("https://test.salesforce.com", False),
        ("https://acme.my.salesforce.com", True),
    ],
)
def test_client_credentials_are_refused_at_a_login_host(host: str, is_login_host: bool) -> None:
    client = in_process(app(Org(), is_login_host=is_login_host), host)
    assert _refused(client.post(TOKEN, data=FORM)) == (400, "invalid_grant", "request not supported on this domain")


def test_a_blocked_password_flow_is_refused() -> None:
    org = Org()
    org.change("OauthOidcSettings.blockOAuthUnPwFlow", "true")
    form = {**CLIENT, "grant_type": "password", "username": Credentials.username, "password": Credentials.password}
    assert _refused(in_process(app(org)).post(TOKEN, data=form)) == (400, "invalid_grant", "authentication failure")


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.mark.parametrize(
    ("changes", "description"),
    [
        ({}, None),
        ({"aud": "https://elsewhere.example.net"}, "audience is invalid"),
        ({"exp": datetime.now(UTC) - timedelta(minutes=1)}, "expired authorization code"),
        ({"exp": datetime.now(UTC) + timedelta(hours=1)}, "invalid assertion"),
        ({"iss": "someone"}, "invalid assertion"),
        ({"sub": "someone@example.com"}, "user hasn't approved this consumer"),
    ],
)
def test_an_assertion_is_verified(changes: dict[str, Any], description: str | None, key: rsa.RSAPrivateKey) -> None:
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    client = in_process(app(Org(), credentials=Credentials(jwt_public_key=public)))
    claims = {"iss": Credentials.client_id, "sub": Credentials.username, "aud": "https://login.salesforce.com",
              "exp": datetime.now(UTC) + timedelta(minutes=2), **changes}  # fmt: skip
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": jwt.encode(claims, key, "RS256")}
    answer = client.post(TOKEN, data=form)
    if description is None:
        assert answer.status_code == 200
    else:
        assert _refused(answer) == (400, "invalid_grant", description)


def test_an_assertion_by_another_key_is_refused(key: rsa.RSAPrivateKey) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    client = in_process(app(Org(), credentials=Credentials(jwt_public_key=public)))
    claims = {"iss": Credentials.client_id, "sub": Credentials.username, "aud": "https://login.salesforce.com",
              "exp": datetime.now(UTC) + timedelta(minutes=2)}  # fmt: skip
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": jwt.encode(claims, key, "RS256")}
    assert _refused(client.post(TOKEN, data=form)) == (400, "invalid_grant", "invalid assertion")


def test_a_token_that_ends_in_the_middle_of_a_read_is_refused() -> None:
    org = Org(users=2500)
    with reading(org) as client:
        page = found(client, "SELECT Id FROM User")
        org.expire_tokens()
        assert code(client.get(page["nextRecordsUrl"])) == (401, "INVALID_SESSION_ID")


def test_base_rights_are_what_a_restricted_org_gives() -> None:
    with reading(Org(seed="restricted")) as client:
        fields = client.get(f"{DATA}/sobjects/UserPermissionAccess/describe").json()["fields"]
        names = [field["name"] for field in fields if field["name"].startswith("Permissions")]
        (record,) = found(client, f"SELECT {', '.join(names)} FROM UserPermissionAccess")["records"]
    assert {name for name in names if record[name]} == set(BASE_RIGHTS)
