"""Who gets into the simulated instance: each way to log in, and each thing that stops someone with the right secret."""

import asyncio
import time
from functools import cache
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from plumbline_simulators import servicenow
from plumbline_simulators.credentials import Credentials
from plumbline_simulators.servicenow.instance import Instance

from tests.integration.simulators.servicenow_requests import CALLER, FORM, TOKEN_PATH, Asked, refused

DENIED = (401, {"error_description": "access_denied", "error": "server_error"})
BASIC = httpx.BasicAuth(Credentials.username, Credentials.password)
INTEGRATION = "users.plumbline.integration"
RESTRICTION = "glide.authenticate.basic_auth"
PASSWORD = {"grant_type": "password", "username": Credentials.username, "password": Credentials.password}


def _said(answer: httpx.Response) -> tuple[int, Any]:
    return answer.status_code, answer.json()


def _basic(asked: Asked) -> httpx.Response:
    asked.client.cookies.clear()
    return asked.client.get("/api/now/table/sys_public", auth=BASIC)


def _with_key(asked: Asked, key: str = Credentials.api_key) -> httpx.Response:
    asked.client.cookies.clear()
    return asked.client.get("/api/now/table/sys_public", headers={"x-sn-apikey": key})


# --- tokens


def test_the_same_token_is_given_while_it_is_valid() -> None:
    asked = Asked()
    asked.instance.tokens.lifetime_seconds = 1800
    asked.instance.expire_tokens()
    first, second = asked.token().json(), asked.token().json()
    assert first["access_token"] == second["access_token"]
    assert second["expires_in"] < first["expires_in"] == 1800
    assert {key: first[key] for key in ("scope", "token_type")} == {"scope": "useraccount", "token_type": "Bearer"}
    assert "refresh_token" not in first


@pytest.mark.parametrize(
    "wrong",
    [{"client_secret": "x"}, {"client_id": "x"}, {"grant_type": "implicit"}, {**PASSWORD, "password": "x"},
     {**PASSWORD, "username": "x"}, {"grant_type": "refresh_token", "refresh_token": "never issued"}],
)  # fmt: skip
def test_a_wrong_token_request_is_denied_without_a_cause(wrong: dict[str, str]) -> None:
    assert _said(Asked().token(**wrong)) == DENIED


def test_a_token_request_in_json_is_denied() -> None:
    assert _said(Asked().client.post(TOKEN_PATH, json=FORM)) == DENIED


@pytest.mark.parametrize(
    ("setting", "value"),
    [("glide.oauth.inbound.client.credential.grant_type.enabled", "false"),
     ("glide.oauth.inbound.client.credential.grant_type.enabled", None),
     ("oauth_entity:Plumbline.active", "false"), (f"{INTEGRATION}.active", "false"),
     (f"{INTEGRATION}.locked_out", "true")],
)  # fmt: skip
def test_client_credentials_can_be_switched_off(setting: str, value: str | None) -> None:
    asked = Asked()
    assert asked.change(setting, value).status_code == 200
    assert _said(asked.token()) == DENIED


def test_client_credentials_need_an_application_user() -> None:
    asked = Asked()
    asked.change("oauth_entity:Plumbline.user", "")
    answer = asked.token()
    assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized_client")
    assert answer.json()["error_description"].startswith("The integration user is not configured")
    assert asked.token(**PASSWORD).status_code == 200


def test_the_password_grant_gives_a_refresh_token_and_can_be_switched_off() -> None:
    asked = Asked()
    refresh = {"grant_type": "refresh_token", "refresh_token": asked.token(**PASSWORD).json()["refresh_token"]}
    assert asked.token(**refresh).status_code == 200
    asked.change("simulator:refresh_seconds", 0.0)
    assert _said(asked.token(**refresh)) == DENIED
    asked.change("glide.oauth.inbound.ropc.grant_type.disabled", "true")
    assert _said(asked.token(**PASSWORD)) == DENIED
    assert asked.token().status_code == 200


@cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _signing() -> Asked:
    """An instance that knows the public key."""
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    public = _key().public_key().public_bytes(encoding, form).decode()
    return Asked(credentials=Credentials(jwt_public_key=public))


def _assertion(headers: dict[str, str] | None = None, key: Any = None, **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": FORM["client_id"], "sub": "user000009", "aud": FORM["client_id"], "iat": now, "exp": now + 300}
    stated = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return jwt.encode(
        stated, key or _key(), algorithm="RS256", headers={"kid": "verifier"} if headers is None else headers
    )


def _by_jwt(asked: Asked, assertion: str, **headers: str) -> httpx.Response:
    form = {**FORM, "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    return asked.client.post(TOKEN_PATH, data=form, headers=headers)


@pytest.mark.parametrize("sub", ["user000009", "plumbline.integration", Credentials.username])
def test_a_signed_assertion_gives_a_token(sub: str) -> None:
    asked = _signing()
    asked.login = {"Authorization": f"Bearer {_by_jwt(asked, _assertion(sub=sub)).json()['access_token']}"}
    assert asked.rows("sys_public")


def test_an_assertion_may_come_in_a_header() -> None:
    assert _by_jwt(_signing(), "", Authentication=f"Bearer {_assertion()}").status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [{"iss": "x"}, {"aud": "x"}, {"sub": "admin"}, {"sub": "user000003"}, {"sub": "nobody"}, {"sub": None},
     {"exp": 1}, {"exp": None}, {"headers": {}}, {"key": rsa.generate_private_key(65537, 2048)}],
)  # fmt: skip
def test_an_assertion_that_is_not_right_in_all_is_denied(wrong: dict[str, Any]) -> None:
    assert _said(_by_jwt(_signing(), _assertion(**wrong))) == DENIED


def test_an_assertion_names_the_verifier_that_there_is() -> None:
    asked = _signing()
    asked.change("simulator:jwt_key_id", "another")
    assert _said(_by_jwt(asked, _assertion())) == DENIED
    assert _by_jwt(asked, _assertion(headers={"kid": "another"})).status_code == 200


def test_without_a_public_key_no_assertion_is_accepted() -> None:
    assert _said(_by_jwt(Asked(), _assertion())) == DENIED
    assert _said(_by_jwt(_signing(), "no.jwt")) == DENIED


# --- requests


@pytest.mark.parametrize(
    ("release", "words"), [("zurich", "User Not Authenticated"), ("brazil", "User is not authenticated")]
)
def test_401_changed_its_words(release: str, words: str) -> None:
    asked = Asked(Instance(release=release))
    asked.login = {}
    answer = asked.page("sys_public")
    assert refused(answer) == (401, words, "Required to provide Auth information")
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="Service-now"'


def test_a_token_ends_in_the_middle_and_a_new_one_goes_on() -> None:
    asked = Asked()
    asked.fail({"kind": "expired_token", "times": 1})
    assert asked.page("sys_public").status_code == 401
    asked.log_in()
    assert asked.rows("sys_public")


def test_a_narrow_scope_opens_no_table() -> None:
    asked = Asked()
    asked.change("simulator:token_scope", "incident_read")
    assert asked.token().json()["scope"] == "incident_read"
    assert refused(asked.page("sys_public")) == (403, "User Not Authorized", None)
    assert _basic(asked).status_code == 200


def test_an_api_key_needs_the_plugin_and_an_active_policy() -> None:
    asked = Asked()
    assert _with_key(asked).status_code == 200
    asked.login = {}
    assert asked.get("table/sys_public", {"x-sn-apikey": Credentials.api_key}).status_code == 200
    assert _with_key(asked, "wrong").status_code == 401
    asked.change("sys_api_access_policy:Table GET.active", "false")
    assert _with_key(asked).status_code == 401
    assert _basic(asked).status_code == 200
    asked.change("sys_api_access_policy:Table GET.active", "true")
    asked.change("plugin:com.glide.tokenbased_auth", "inactive")
    assert _with_key(asked).status_code == 401


def test_an_active_policy_lets_in_by_the_methods_it_lists_alone() -> None:
    asked = Asked()
    asked.change("simulator:policy_methods", "api_key")
    assert [_basic(asked).status_code, asked.page("sys_public").status_code, _with_key(asked).status_code] == [
        401, 401, 200,
    ]  # fmt: skip
    asked.change("sys_api_access_policy:Table GET", None)
    assert [_basic(asked).status_code, asked.page("sys_public").status_code] == [200, 200]


def test_mfa_for_integrations_asks_enrolled_users_for_a_code() -> None:
    asked = Asked()
    asked.change("glide.authenticate.multifactor.for_integrations", "true")
    assert _basic(asked).status_code == 200
    asked.change("factors.plumbline.integration", "true")
    answer = _basic(asked)
    assert (answer.status_code, answer.headers["X-MFA_TOKEN"]) == (401, "invalid")
    assert asked.rows("sys_public")


@pytest.fixture
def restricted_basic() -> Asked:
    """The Basic Authentication Restriction is enforced, and the integration user is a person's account."""
    asked = Asked()
    asked.change(f"{RESTRICTION}.restriction.active", "true")
    asked.change(f"{RESTRICTION}.restriction.enforce", "true")
    assert _basic(asked).status_code == 200
    asked.change(f"{INTEGRATION}.web_service_access_only", "false")
    return asked


def test_the_restriction_refuses_a_right_password_and_does_not_say_why(restricted_basic: Asked) -> None:
    answer = _basic(restricted_basic)
    assert refused(answer) == (401, "User Not Authenticated", "Required to provide Auth information")
    assert "X-MFA_TOKEN" not in answer.headers
    assert restricted_basic.rows("sys_public")


@pytest.mark.parametrize(
    ("setting", "value"),
    [(f"{INTEGRATION}.web_service_access_only", "true"), (f"{RESTRICTION}.allowed_users", "plumbline.integration"),
     ("roles.plumbline.integration.snc_basic_auth_api_access", "true"), (f"{RESTRICTION}.restriction.enforce", "false"),
     (f"{RESTRICTION}.allowed_roles", "x_plumbline_reader"), ("roles.plumbline.integration.mid_server", "true")],
)  # fmt: skip
def test_the_restriction_has_exceptions(restricted_basic: Asked, setting: str, value: str) -> None:
    restricted_basic.change(setting, value)
    assert _basic(restricted_basic).status_code == 200


def test_the_api_level_acl_wants_a_role() -> None:
    asked = Asked()
    asked.change("sys_security_acl:Table API/execute.active", "true")
    assert refused(asked.page("sys_public")) == (403, "Failed API level ACL Validation", None)
    asked.change("roles.plumbline.integration.snc_platform_rest_api_access", "true")
    assert asked.rows("sys_public")


def test_a_denied_address_gets_a_page_and_403_unless_it_is_allowed_too() -> None:
    asked = Asked()
    inbound = {"direction": "inbound", "active": "true"}
    asked.change(
        "ip_access:all", {**inbound, "type": "deny", "range_start": "192.0.0.0", "range_end": "192.255.255.255"}
    )
    answer = asked.page("sys_public")
    assert (answer.status_code, answer.headers["content-type"]) == (403, "text/html;charset=UTF-8")
    assert asked.token().status_code == 403
    asked.change("ip_access:one", {**inbound, "type": "allow", "range_start": CALLER, "range_end": CALLER})
    assert asked.rows("sys_public")


# --- headers and limits


def test_every_answer_is_dressed_as_the_products() -> None:
    asked = Asked()
    for answer in (asked.page("sys_public"), asked.page("sys_nothing"), asked.token()):
        assert answer.headers["Server"] == "snow_adc"
        assert answer.headers["Cache-Control"].startswith("no-cache,no-store")
        assert answer.headers["X-Transaction-ID"]
        set_cookies = {cookie.split("=")[0] for cookie in answer.headers.get_list("Set-Cookie")}
        assert {"JSESSIONID", "glide_user_route", "glide_session_store"} <= set_cookies
        assert "X-RateLimit-Limit" not in answer.headers
    assert asked.page("sys_public").headers["content-type"] == "application/json;charset=UTF-8"


def test_cookies_that_come_back_are_counted() -> None:
    asked = Asked()
    asked.page("sys_public")
    assert "COOKIE returned" not in asked.requests
    asked.get("table/sys_public", Cookie="JSESSIONID=1")
    assert asked.requests["COOKIE returned"] == 1


def test_a_rate_limit_rule_is_told_in_headers_and_then_enforced() -> None:
    asked = Asked()
    asked.change("sys_rate_limit_rules:all", {"name": "Table API", "active": "true"})
    asked.change("simulator:requests_per_hour", 3)
    answers = [asked.page("sys_public") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    for answer in answers:
        assert answer.headers["X-RateLimit-Limit"] == "3"
        assert 0 < int(answer.headers["X-RateLimit-Reset"]) - time.time() <= 3600
        assert len(answer.headers["X-RateLimit-Rule"]) == 32
        assert "X-RateLimit-Remaining" not in answer.headers
    words = "Rate limit of 3 requests per hour for Table API exceeded"
    assert refused(answers[-1]) == (429, "Rate limit exceeded", words)
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 3600


def test_a_strong_instance_has_a_rule_and_the_room_that_it_needs() -> None:
    answer = Asked(Instance(seed="strong")).page("sys_public")
    assert (answer.status_code, answer.headers["X-RateLimit-Limit"]) == (200, "100000")


async def test_more_requests_at_once_than_semaphores_get_429_without_a_word() -> None:
    instance = Instance()
    instance.change("simulator:semaphores", 1)
    transport = httpx.ASGITransport(servicenow.app(instance))
    async with httpx.AsyncClient(transport=transport, base_url="http://dev1") as client:
        await client.put("/__simulator/faults", json=[{"kind": "slow", "seconds": 0.2}])
        answers = await asyncio.gather(*(client.get("/api/now/table/sys_public", auth=BASIC) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 429, 429]
    surplus = next(answer for answer in answers if answer.status_code == 429)
    assert surplus.headers["content-type"].startswith("text/html")
    assert not {"retry-after", "x-ratelimit-limit", "x-ratelimit-reset"} & set(surplus.headers)
