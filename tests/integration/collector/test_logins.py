"""Every way to log in, against the simulated products; and a refused one says which setting to change."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from plumbline_collector.budget import CallBudget
from plumbline_collector.connections import Connection
from plumbline_collector.connectors import open_connector
from plumbline_collector.errors import CollectorError, CredentialsError
from plumbline_contracts.events import DatasetState, DatasetSummary, Product
from plumbline_simulators.credentials import Credentials
from plumbline_simulators.salesforce.org import Org
from plumbline_simulators.servicenow.instance import Instance

from tests.integration.parts import Simulated, simulated

METHODS = {
    Product.SALESFORCE: ("client_credentials", "jwt_bearer", "username_password"),
    Product.SERVICENOW: ("client_credentials", "jwt_bearer", "api_key", "password", "basic"),
}


@pytest.fixture(scope="module")
def private_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An RSA key in a file; the public half lies beside it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    folder = tmp_path_factory.mktemp("keys")
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "key.pub").write_bytes(public)
    return folder / "key.pem"


@pytest.fixture
def orgs(private_key: Path) -> Iterator[dict[Product, Simulated]]:
    accepted = Credentials(jwt_public_key=private_key.with_suffix(".pub").read_text())
    with simulated(Org(users=60), accepted) as salesforce, simulated(Instance(users=60), accepted) as servicenow:
        yield {Product.SALESFORCE: salesforce, Product.SERVICENOW: servicenow}


def _auth(method: str, product: Product, secret: Path, private_key: Path, **changes: Any) -> dict[str, Any]:
    """The auth section of a connection."""
    client = {"client_id": Credentials.client_id, "client_secret": {"file": str(secret)}}
    person = {"username": Credentials.username, "password": {"file": str(secret)}}
    key = secret.with_name("api-key")
    key.write_text(Credentials.api_key)
    found: dict[str, dict[str, Any]] = {
        "client_credentials": client,
        "jwt_bearer": {
            "client_id": Credentials.client_id,
            "username": Credentials.username,
            "private_key": {"file": str(private_key)},
            **({"client_secret": {"file": str(secret)}, "key_id": "k1"} if product is Product.SERVICENOW else {}),
        },
        "username_password": {**client, **person},
        "password": {**client, **person},
        "basic": person,
        "api_key": {"key": {"file": str(key)}},
    }
    return {"method": method, **found[method], **changes}


async def _check(org: Simulated, secret: Path, auth: dict[str, Any]) -> list[DatasetSummary]:
    connection = Connection.model_validate(org.connection("org", secret, auth=auth))
    async with open_connector(connection, CallBudget(1.0)) as connector:
        return await connector.check()


@pytest.mark.parametrize(("product", "method"), [(p, m) for p, methods in METHODS.items() for m in methods])
async def test_every_method_opens_the_product_with_one_login(
    product: Product, method: str, orgs: dict[Product, Simulated], secret: Path, private_key: Path
) -> None:
    org = orgs[product]
    found = await _check(org, secret, _auth(method, product, secret, private_key))
    assert {summary.state for summary in found} <= {DatasetState.OK, DatasetState.UNSUPPORTED}
    assert org.requests.get("POST token", 0) == (0 if method in ("basic", "api_key") else 1)


@pytest.mark.parametrize(
    ("product", "method", "changes", "expected"),
    [
        (Product.SALESFORCE, "client_credentials", {"client_id": "other"}, "consumer key"),
        (Product.SALESFORCE, "jwt_bearer", {"audience": "https://elsewhere.example"}, "audience"),
        (Product.SALESFORCE, "jwt_bearer", {"username": "nobody@example.com"}, "admin-approved"),
        (Product.SALESFORCE, "username_password", {"username": "nobody@example.com"}, "user name"),
        (Product.SERVICENOW, "client_credentials", {"client_id": "other"}, "Application Registry"),
        (Product.SERVICENOW, "jwt_bearer", {"key_id": None}, "JWT verifier map"),
        (Product.SERVICENOW, "jwt_bearer", {"username": "admin"}, "no administrator"),
        (Product.SERVICENOW, "password", {"username": "nobody"}, "ropc.grant_type.disabled"),
        (Product.SERVICENOW, "basic", {"username": "nobody"}, "snc_basic_auth_api_access"),
    ],
)
async def test_a_refused_login_says_which_setting_to_change(
    product: Product,
    method: str,
    changes: dict[str, Any],
    expected: str,
    orgs: dict[Product, Simulated],
    secret: Path,
    private_key: Path,
) -> None:
    with pytest.raises(CredentialsError, match=expected):
        await _check(orgs[product], secret, _auth(method, product, secret, private_key, **changes))


@pytest.mark.parametrize(
    ("settings", "method", "expected"),
    [
        ({"glide.oauth.inbound.client.credential.grant_type.enabled": "false"}, "client_credentials", "grant_type"),
        ({"sys_api_access_policy:Table GET.active": "false"}, "api_key", "API Access Policies"),
        ({"simulator:policy_methods": "api_key"}, "client_credentials", "access policy"),
        (
            {
                "glide.authenticate.multifactor.for_integrations": "true",
                "factors.plumbline.integration": "true",
            },
            "basic",
            "for_integrations",
        ),
    ],
)
async def test_what_an_instance_forbids_is_named(
    settings: dict[str, str],
    method: str,
    expected: str,
    orgs: dict[Product, Simulated],
    secret: Path,
    private_key: Path,
) -> None:
    org = orgs[Product.SERVICENOW]
    for name, value in settings.items():
        org.set(name, value)
    with pytest.raises(CollectorError, match=expected):
        await _check(org, secret, _auth(method, Product.SERVICENOW, secret, private_key))


async def test_a_token_that_ends_is_renewed_and_one_that_lives_is_used_again(
    orgs: dict[Product, Simulated], secret: Path, private_key: Path
) -> None:
    for product, org in orgs.items():
        connection = Connection.model_validate(
            org.connection("org", secret, auth=_auth("client_credentials", product, secret, private_key))
        )
        async with open_connector(connection, CallBudget(1.0)) as connector:
            await connector.latest_change()
            await connector.latest_change()
            assert org.requests["POST token"] == 1
            org.fail(
                {"kind": "expired_token", "times": 1, "match": "/query" if product is Product.SALESFORCE else "/table"}
            )
            await connector.latest_change()
            assert org.requests["POST token"] == 2
