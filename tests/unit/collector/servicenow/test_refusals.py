"""What an answer that is not the one asked for means, and which setting to change."""

import json
from collections.abc import Mapping

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from plumbline_collector.budget import CallBudget
from plumbline_collector.connections import Connection
from plumbline_collector.connectors.saas_client import Answer, TransientError
from plumbline_collector.connectors.servicenow import login, refusals
from plumbline_collector.connectors.servicenow.client import ServiceNowClient
from plumbline_collector.errors import CredentialsError, ReadError, UnreachableError
from plumbline_contracts.events import DatasetState

JSON = {"content-type": "application/json;charset=UTF-8"}
SECRET = {"env": "SNOW_TEST_SECRET"}
AUTHS: dict[str, dict[str, object]] = {
    "client_credentials": {"client_id": "c", "client_secret": SECRET},
    "jwt_bearer": {
        "client_id": "c",
        "client_secret": SECRET,
        "username": "svc",
        "private_key": {"env": "SNOW_TEST_KEY"},
        "key_id": "k1",
    },
    "password": {"client_id": "c", "client_secret": SECRET, "username": "svc", "password": SECRET},
    "api_key": {"key": SECRET},
    "basic": {"username": "svc", "password": SECRET},
}


def _connection(method: str) -> Connection:
    base = {"tenant": "t", "instance": "i", "product": "servicenow", "url": "https://i.service-now.com"}
    return Connection.model_validate({**base, "auth": {"method": method, **AUTHS[method]}})


def _answer(status: int, body: bytes, **headers: str) -> Answer:
    return Answer(
        status, httpx.Headers({**JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}), body
    )


@pytest.mark.parametrize(
    ("status", "message", "detail", "state", "said"),
    [
        (400, "Invalid table sys_x", "null", DatasetState.UNSUPPORTED, "no such table"),
        (400, "Requested URI does not represent any resource", "null", DatasetState.ERROR, "Requested URI"),
        (
            403,
            "Insufficient rights to query records",
            '"Field(s) present in the query do not have permission to be read"',
            DatasetState.DENIED,
            "a column that the query names",
        ),
        (403, "Operation Failed", '"ACL Exception Query Failed"', DatasetState.DENIED, "an access rule of the table"),
        (403, "User Not Authorized", "null", DatasetState.DENIED, "elevated role"),
        (403, "Failed API level ACL Validation", "null", DatasetState.DENIED, "snc_platform_rest_api_access"),
        (404, "No Record found", "null", DatasetState.ERROR, "No Record found"),
    ],
)
def test_documented_errors_become_states_with_advice(
    status: int, message: str, detail: str, state: DatasetState, said: str
) -> None:
    body = f'{{"error":{{"message":"{message}","detail":{detail}}},"status":"failure"}}'.encode()
    found = refusals.refusal(_answer(status, body))
    assert isinstance(found, ReadError)
    assert found.state is state
    assert said in found.message


def test_a_blocked_address_is_named_as_a_cause() -> None:
    found = refusals.refusal(_answer(403, b"<html>blocked</html>", content_type="text/html"))
    assert isinstance(found, ReadError)
    assert "IP Address Access Control" in found.message


def test_a_narrow_scope_is_named_as_a_cause() -> None:
    body = b'{"error":{"message":"Forbidden","detail":null}}'
    found = refusals.refusal(_answer(403, body, www_authenticate='Bearer error="insufficient_scope"'))
    assert isinstance(found, ReadError)
    assert "useraccount" in found.message


def test_a_page_with_status_200_is_tried_again_and_a_sleeping_instance_is_named() -> None:
    page = _answer(200, b"<html>busy</html>", content_type="text/html;charset=UTF-8")
    assert isinstance(refusals.refusal(page), TransientError)
    asleep = _answer(200, b'<body class="instance-hibernating-page">', content_type="text/html")
    assert "hibernating" in (refusals.impostor(asleep) or "")
    moved = _answer(
        302, b"", content_type="text/html", location="https://developer.servicenow.com/dev.do#!/home?wu=true"
    )
    assert "hibernating" in (refusals.impostor(moved) or "")
    assert refusals.refusal(_answer(200, b"{}")) is None


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("client_credentials", "client.credential.grant_type.enabled"),
        ("jwt_bearer", "JWT verifier map"),
        ("password", "ropc"),
    ],
)
def test_a_refused_token_says_what_to_check(method: str, said: str) -> None:
    cause = login.token_cause(_connection(method), {"error_description": "access_denied", "error": "server_error"})
    assert said in cause
    assert "server_error access_denied" in cause


def test_a_client_without_its_user_is_told_apart() -> None:
    cause = login.token_cause(_connection("client_credentials"), {"error": "unauthorized_client"})
    assert "OAuth Application User" in cause
    assert "no reason" in login.token_cause(_connection("password"), ["nonsense"])


@pytest.mark.parametrize(
    ("method", "needs_code", "said"),
    [
        ("basic", True, "multifactor.for_integrations"),
        ("basic", False, "Basic Authentication Restriction"),
        ("api_key", False, "API Access Policies"),
        ("client_credentials", False, "does not list OAuth"),
    ],
)
def test_a_refused_login_says_which_setting_may_be_the_cause(method: str, needs_code: bool, said: str) -> None:
    assert said in login.refused_cause(_connection(method), needs_code=needs_code)


def test_an_assertion_is_signed_with_the_key_that_the_instance_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    monkeypatch.setenv("SNOW_TEST_KEY", form.decode())
    monkeypatch.setenv("SNOW_TEST_SECRET", "s3cret")
    sent = login.token_form(_connection("jwt_bearer"))
    assert jwt.get_unverified_header(sent["assertion"])["kid"] == "k1"
    claims = jwt.decode(sent["assertion"], private.public_key(), algorithms=["RS256"], audience="c")
    assert (claims["iss"], claims["sub"], sent["grant_type"]) == ("c", "svc", login.JWT_BEARER)
    monkeypatch.setenv("SNOW_TEST_KEY", "no key")
    with pytest.raises(CredentialsError, match="no RSA key"):
        login.token_form(_connection("jwt_bearer"))


def test_each_grant_sends_its_own_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNOW_TEST_SECRET", "s3cret")
    assert login.token_form(_connection("password")) == {
        "client_id": "c",
        "client_secret": "s3cret",
        "grant_type": "password",
        "username": "svc",
        "password": "s3cret",
    }
    assert login.token_form(_connection("client_credentials"))["grant_type"] == "client_credentials"
    with pytest.raises(CredentialsError, match="does not know the method"):
        login.token_form(_connection("basic"))


class _Endpoint(ServiceNowClient):
    """A client whose token endpoint gives out one token."""

    token = ""

    async def post_token(self, form: Mapping[str, str]) -> Answer:
        return _answer(200, json.dumps({"access_token": self.token}).encode())


@pytest.mark.parametrize("secret", ["k3y-of-ours\nX-Header: y", "k3y of ours", "k3y-of-\u00fcs"])
@pytest.mark.parametrize("method", ["api_key", "client_credentials"])
async def test_a_secret_that_no_header_carries_is_refused_before_it_is_quoted(
    method: str, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNOW_TEST_SECRET", secret)
    client = _Endpoint(_connection(method), CallBudget(1.0))
    client.token = secret
    with pytest.raises(CredentialsError, match="which no header carries") as caught:
        await client.authenticate()
    await client.close()
    assert "k3y" not in str(caught.value)


class _Elsewhere(ServiceNowClient):
    """A client of an address where everything is answered with HTTP 404."""

    body = b""

    async def _send(self, method: str, url: str, **_: object) -> Answer:
        return _answer(404, self.body)


@pytest.mark.parametrize(
    "body", [b"<html>Not Found</html>", b'[{"errorCode": "NOT_FOUND"}]', b'{"error": "not_found"}']
)
async def test_an_address_of_something_else_is_named_as_the_cause(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SNOW_TEST_SECRET", "s3cret")
    client = _Elsewhere(_connection("basic"), CallBudget(1.0), is_lenient=True)
    client.body = body
    with pytest.raises(UnreachableError, match="is it the instance's address"):
        await client.page("sys_user", "", "sys_id", 1, 0)
    await client.close()
    tokens = _Elsewhere(_connection("client_credentials"), CallBudget(1.0))
    tokens.body = body
    with pytest.raises(UnreachableError, match="is it the instance's address"):
        await tokens.authenticate()
    await tokens.close()
