"""The login's errors say what to change, and what an error means for the query."""

import json
from typing import Any

import httpx
import pytest
from plumbline_collector.budget import CallBudget
from plumbline_collector.connections import Connection
from plumbline_collector.connectors.saas_client import Answer
from plumbline_collector.connectors.salesforce import token_errors
from plumbline_collector.connectors.salesforce.client import VERSIONS, SalesforceClient, unknown_column
from plumbline_collector.errors import CollectorError, CredentialsError, ReadError, UnreachableError
from plumbline_contracts.events import DatasetState
from pydantic import SecretStr
from structlog.testing import capture_logs


class ScriptedClient(SalesforceClient):
    """A client whose answers are given."""

    document: Any = None
    status = 200
    sent = 0

    async def post_token(self, form: Any) -> Answer:
        self.sent += 1
        return Answer(self.status, httpx.Headers(), json.dumps(self.document).encode())

    async def get_open(self, path: str) -> Answer:
        assert path == "/services/data/"
        return Answer(200, httpx.Headers(), json.dumps(self.document).encode())


CLIENT_CREDENTIALS = {"method": "client_credentials", "client_id": "key", "client_secret": {"env": "PLUMBLINE_TEST"}}
PASSWORD = {
    "method": "username_password", "client_id": "key", "client_secret": {"env": "PLUMBLINE_TEST"},
    "username": "ann@example.com", "password": {"env": "PLUMBLINE_TEST"},
}  # fmt: skip


def _client(document: Any, status: int = 200, url: str = "https://contoso.my.salesforce.com", auth: Any = None) -> Any:
    connection = Connection.model_validate(
        {"tenant": "t", "instance": "i", "product": "salesforce", "url": url, "auth": auth or CLIENT_CREDENTIALS}
    )
    client = ScriptedClient(connection, CallBudget(1.0))
    client.document, client.status = document, status
    return client


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLUMBLINE_TEST", SecretStr("hunter2").get_secret_value())


@pytest.mark.parametrize(
    ("code", "description", "says"),
    [
        ("invalid_grant", "authentication failure", "password or security token"),
        ("invalid_grant", "user hasn't approved this consumer", "permitted users"),
        ("invalid_grant", "expired access/refresh token", "connect the app again"),
        ("invalid_grant", "expired authorization code", "15 minutes"),
        ("invalid_grant", "no client credentials user enabled", "Run As"),
        ("invalid_grant", "request not supported on this domain", "My Domain"),
        ("invalid_grant", "invalid assertion", "certificate"),
        ("invalid_grant", "audience is invalid", "audience"),
        ("invalid_grant", "Audience validation failed", "audience"),
        ("invalid_grant", "inactive user", "activate"),
        ("invalid_client", "invalid client credentials", "consumer secret"),
        ("invalid_client_id", "client identifier invalid", "consumer key"),
        ("inactive_org", "", "locked"),
        ("unsupported_grant_type", "grant type not supported", "switch the flow"),
        ("invalid_request", "", "parameter"),
        ("never_heard_of", "", "auth section"),
    ],
)
async def test_a_refused_login_names_cause_and_setting(code: str, description: str, says: str) -> None:
    client = _client({"error": code, "error_description": description}, 400)
    with pytest.raises(CredentialsError, match=says) as caught:
        await client.authenticate()
    assert code in str(caught.value)
    assert "hunter2" not in str(caught.value)
    await client.close()


@pytest.mark.parametrize(
    "document",
    [
        [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}],
        {"error": "rate_limit_exceeded", "error_description": "login rate exceeded"},
    ],
)
async def test_a_limit_at_login_passes(document: Any) -> None:
    client = _client(document, 403)
    with pytest.raises(UnreachableError, match="tried again later"):
        await client.authenticate()
    await client.close()


@pytest.mark.parametrize("host", ["login.salesforce.com", "test.salesforce.com", "LOGIN.salesforce.com"])
async def test_client_credentials_are_not_sent_to_a_login_host(host: str) -> None:
    client = _client({"access_token": "t"}, url=f"https://{host}")
    with pytest.raises(CredentialsError, match="My Domain"):
        await client.authenticate()
    assert client.sent == 0
    await client.close()


async def test_a_token_for_another_host_is_not_followed() -> None:
    client = _client({"access_token": "t", "instance_url": "https://evil.example.net"})
    with pytest.raises(CredentialsError, match=r"for evil\.example\.net, not for contoso\.my\.salesforce\.com"):
        await client.authenticate()
    await client.close()


async def test_a_token_for_the_same_host_is_taken_whatever_its_case() -> None:
    client = _client({"access_token": "t", "instance_url": "https://Contoso.my.salesforce.com/"})
    await client.authenticate()
    await client.close()


async def test_the_password_flow_warns() -> None:
    client = _client({"access_token": "t"}, auth=PASSWORD)
    with capture_logs() as logs:
        await client.authenticate()
    assert any("blocked by default" in each["event"] and each["log_level"] == "warning" for each in logs)
    assert "hunter2" not in str(logs)
    await client.close()


@pytest.mark.parametrize(
    ("served", "chosen"),
    [
        (["62.0", "63.0"], "63.0"),
        (["31.0", "66.0", "67.0", "68.0"], "66.0"),
        (["62.0"], "62.0"),
    ],
)
async def test_the_best_version_that_both_know_is_taken(served: list[str], chosen: str) -> None:
    client = _client([{"version": version} for version in served])
    assert await client.choose_version() == served
    assert client.root == f"/services/data/v{chosen}"
    await client.close()


async def test_an_org_that_serves_none_of_them_fails_as_a_whole_and_is_no_org_without_anything_to_judge() -> None:
    client = _client([{"version": "61.0"}, {"version": "67.0"}])
    with pytest.raises(CollectorError, match=r"up to 67\.0 and none of 62\.0 to 66\.0"):
        await client.choose_version()
    assert VERSIONS == ("66.0", "65.0", "64.0", "63.0", "62.0")
    await client.close()


@pytest.mark.parametrize(
    "document",
    [{"error": "x"}, "x", None, [], [{"errorCode": "NOT_FOUND", "message": "no"}], [{"version": "66.0"}, {}]],
)
async def test_a_list_of_versions_that_is_none_is_an_error(document: Any) -> None:
    client = _client(document)
    with pytest.raises(ReadError, match="broken_answer"):
        await client.choose_version()
    await client.close()


@pytest.mark.parametrize(
    ("message", "column"),
    [
        ("No such column 'Foo' on entity 'User'. If you are attempting to use a custom field", "Foo"),
        ("Didn't understand relationship 'UserLicense' in field path. If you are", "UserLicense"),
        ("field 'Status' can not be grouped in a query call", "Status"),
        ("field 'Status' cannot be grouped in a query call", "Status"),
        ("something else", None),
    ],
)
def test_the_column_is_read_from_the_error(message: str, column: str | None) -> None:
    assert unknown_column(ReadError(DatasetState.DENIED, "INVALID_FIELD", message)) == column
    assert unknown_column(ReadError(DatasetState.DENIED, "INVALID_TYPE", message)) is None


def test_limits_are_no_credentials_error() -> None:
    assert {"REQUEST_LIMIT_EXCEEDED", "rate_limit_exceeded"} == token_errors.LIMITS


@pytest.mark.parametrize(
    "token", ["SECRET\nX-Evil: 1", "SECRET SECRET", "SECRET\u00e9", ["SECRET"], {"a": "SECRET"}, 7, True]
)
async def test_a_token_that_no_header_can_carry_is_refused_and_not_quoted(token: Any) -> None:
    with pytest.raises(UnreachableError, match="no header can carry") as caught:
        await _client({"access_token": token})._login_headers()
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("usage", [f"api-usage={'9' * 5000}/100", f"api-usage=1/{'9' * 5000}", "api-usage=\u0664/5"])
def test_a_limit_header_that_is_no_number_says_nothing(usage: str) -> None:
    client = _client({})
    assert client._refusal(Answer(200, httpx.Headers({b"sforce-limit-info": usage.encode()}), b"{}")) is None
    assert client.budget.left is None


async def test_a_version_of_many_digits_is_no_version() -> None:
    with pytest.raises(ReadError, match="does not list its API versions"):
        await _client([{"version": f"{'9' * 400}.0"}]).served_versions()


async def test_a_token_error_of_another_product_names_the_url() -> None:
    client = _client({"error": {"message": "Method not allowed", "detail": None}, "status": "failure"}, status=405)
    with pytest.raises(UnreachableError, match=r"is no Salesforce; is https://contoso\.my\.salesforce\.com"):
        await client._login_headers()


@pytest.mark.parametrize("total", [-1, True, 1.0, "1", None])
def test_a_total_that_is_no_count_is_no_result(total: Any) -> None:
    with pytest.raises(ReadError, match="no query result"):
        SalesforceClient._page({"totalSize": total, "done": True, "records": []})
