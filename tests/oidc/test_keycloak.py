"""A real OpenID Connect provider: its access tokens open the API with the roles of its realm, and nothing else does."""

from collections.abc import AsyncIterator, Iterator

import httpx
import jwt
import pytest
from plumbline_contracts.events import CollectionRequest
from plumbline_score_api import app as composition
from plumbline_score_api.settings import Settings
from plumbline_score_api.tokens.issuers import Issuer
from plumbline_score_api.tokens.service import over_http

from tests.integration.score_api.in_process import client_for
from tests.oidc.keycloak import START_SECONDS, Keycloak

pytestmark = pytest.mark.timeout(START_SECONDS + 300)
ADMIN_ROLES = ["SecureScore.ReadWrite", "Instances.Manage", "Keys.Manage"]


@pytest.fixture(scope="module")
def keycloak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keycloak]:
    server = Keycloak(tmp_path_factory.mktemp("keycloak") / "keycloak.log")
    try:
        server.wait()
        yield server
    finally:
        server.stop()


async def _ask(_: CollectionRequest) -> None:
    """Nobody collects."""


@pytest.fixture
async def api(keycloak: Keycloak, mongodb_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """The API, which trusts the realm. Its roles are translated."""
    entry = {
        "issuer": keycloak.issuer,
        "preset": "keycloak",
        "audience": "plumbline",
        "tenant": "contoso",
        "roles": {"map": {"posture-reader": "SecureScore.Read", "posture-admin": ADMIN_ROLES}},
        "allow_http": True,
        "allow_private_network": True,
    }
    bearers, close = over_http([Issuer.model_validate(entry)])
    async with composition.open_database(Settings.model_validate({"PLUMBLINE_MONGODB_URL": mongodb_url})) as database:
        await composition.prepare(database)
        async with client_for(composition.build_services(database, _ask), None, bearers) as client:
            yield client
    await close()


def _as(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


async def _status(api: httpx.AsyncClient, text: str, path: str = "/v1/secure-score") -> int:
    return (await api.get(path, headers=_as(text))).status_code


async def test_a_person_signs_in_with_the_roles_of_the_realm(api: httpx.AsyncClient, keycloak: Keycloak) -> None:
    access = keycloak.tokens(user="ann")["access_token"]
    assert await _status(api, access) == 200
    body = {"name": "siem", "roles": ["SecureScore.Read"]}
    made = await api.post("/v1/keys", headers=_as(access), json=body)
    assert made.status_code == 201
    assert made.json()["created_by"].startswith(f"ann ({keycloak.issuer}#")


async def test_a_machine_has_its_own_roles(api: httpx.AsyncClient, keycloak: Keycloak) -> None:
    access = keycloak.tokens()["access_token"]
    assert await _status(api, access) == 200
    assert await _status(api, access, "/v1/keys") == 403


@pytest.mark.parametrize("kind", ["id_token", "refresh_token"])
async def test_other_tokens_of_the_same_person_open_nothing(
    api: httpx.AsyncClient, keycloak: Keycloak, kind: str
) -> None:
    assert await _status(api, keycloak.tokens(user="ann")[kind]) == 401


async def test_a_token_for_another_application_opens_nothing(api: httpx.AsyncClient, keycloak: Keycloak) -> None:
    assert await _status(api, keycloak.tokens("elsewhere", user="ann")["access_token"]) == 401


async def test_a_token_of_another_realm_opens_nothing(api: httpx.AsyncClient, keycloak: Keycloak) -> None:
    access = keycloak.tokens("admin-cli", user="admin", realm="master")["access_token"]
    assert await _status(api, access) == 401


async def test_a_changed_token_opens_nothing(api: httpx.AsyncClient, keycloak: Keycloak) -> None:
    head, body, signature = keycloak.tokens()["access_token"].split(".")
    stolen = keycloak.tokens(user="ann")["access_token"].split(".")[1]
    assert await _status(api, f"{head}.{body}.{signature}") == 200
    assert await _status(api, f"{head}.{stolen}.{signature}") == 401


@pytest.mark.parametrize("algorithm", ["RS512", "PS256", "ES256", "ES512", "EdDSA"])
async def test_keys_that_come_later_and_other_algorithms_work(
    api: httpx.AsyncClient, keycloak: Keycloak, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    """Keycloak makes the key of an algorithm when it is first needed, which is after the API has read its keys."""
    monkeypatch.setattr("plumbline_score_api.tokens.key_sets.UNKNOWN_SECONDS", 0.0)
    assert await _status(api, keycloak.tokens()["access_token"]) == 200
    keycloak.add_client(f"with-{algorithm}", algorithm)
    access = keycloak.tokens(f"with-{algorithm}", user="ann")["access_token"]
    assert jwt.get_unverified_header(access)["alg"] == algorithm
    assert await _status(api, access) == 200


async def test_a_rotated_key_is_found(
    api: httpx.AsyncClient, keycloak: Keycloak, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plumbline_score_api.tokens.key_sets.UNKNOWN_SECONDS", 0.0)
    before = keycloak.tokens()["access_token"]
    assert await _status(api, before) == 200
    keycloak.rotate()
    after = keycloak.tokens()["access_token"]
    assert jwt.get_unverified_header(after)["kid"] != jwt.get_unverified_header(before)["kid"]
    assert await _status(api, after) == 200
    assert await _status(api, before) == 200, "the older key is still published"
