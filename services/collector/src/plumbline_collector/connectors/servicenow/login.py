"""The login of a ServiceNow instance: the form of each OAuth grant, and what a refusal means. Source: OAuth inbound."""

import time
import uuid
from typing import Any

import jwt

from plumbline_collector.connections import ApiKey, Basic, ClientCredentials, Connection, JwtBearer, OAuthPassword
from plumbline_collector.connectors import bodies
from plumbline_collector.errors import CredentialsError

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_JWT_LIFE_SECONDS = 300
_REGISTRY = "System OAuth > Application Registry"
_CAUSES: tuple[tuple[type, str], ...] = (
    (
        ClientCredentials,
        "check client id and secret; the property glide.oauth.inbound.client.credential.grant_type.enabled must be on",
    ),
    (
        JwtBearer,
        (
            "check client id, secret and user; the assertion's key id must be that of a JWT verifier map of the "
            "client, its certificate must belong to the private key, and the user may be no administrator"
        ),
    ),
    (
        OAuthPassword,
        (
            "check client id, secret, user and password; the user must be active, not locked and no web-service-only "
            "user, and the property glide.oauth.inbound.ropc.grant_type.disabled must not be true"
        ),
    ),
)


def token_form(connection: Connection) -> dict[str, str]:
    """The body of the token request. Raises CredentialsError for a method that ServiceNow does not know."""
    auth = connection.auth
    if isinstance(auth, JwtBearer):
        secret = auth.client_secret.read().get_secret_value() if auth.client_secret else ""
        form = {"grant_type": JWT_BEARER, "client_id": auth.client_id, "client_secret": secret}
        return form | {"assertion": _assertion(connection, auth)}
    if not isinstance(auth, ClientCredentials | OAuthPassword):
        raise CredentialsError(f"{connection.label}: ServiceNow does not know the method {auth.method}")
    form = {"client_id": auth.client_id, "client_secret": auth.client_secret.read().get_secret_value()}
    if isinstance(auth, OAuthPassword):
        password = auth.password.read().get_secret_value()
        return form | {"grant_type": "password", "username": auth.username, "password": password}
    return form | {"grant_type": "client_credentials"}


def _assertion(connection: Connection, auth: JwtBearer) -> str:
    now = int(time.time())
    claims = {
        "iss": auth.client_id,
        "sub": auth.username,
        "aud": auth.audience or auth.client_id,
        "iat": now,
        "exp": now + _JWT_LIFE_SECONDS,
        "jti": str(uuid.uuid4()),
    }
    headers = {"kid": auth.key_id} if auth.key_id else None
    try:
        return jwt.encode(claims, auth.private_key.read().get_secret_value(), algorithm="RS256", headers=headers)
    except (ValueError, TypeError, jwt.PyJWTError) as error:
        raise CredentialsError(f"{connection.label}: the private key is no RSA key in PEM form") from error


def token_cause(connection: Connection, document: Any) -> str:  # noqa: ANN401 - whatever the endpoint sent
    """Why there is no token, and which setting to change."""
    found = document if isinstance(document, dict) else {}
    error, description = found.get("error"), found.get("error_description")
    if error == "unauthorized_client":
        return (
            "the token request was refused (unauthorized_client): set the OAuth Application User of the client under "
            f"{_REGISTRY}"
        )
    said = bodies.quoted(" ".join(str(part) for part in (error, description) if part) or "no reason")
    hints = [hint for kind, hint in _CAUSES if isinstance(connection.auth, kind)]
    return f"the token request was refused ({said}): {hints[0] if hints else 'check the credentials'} ({_REGISTRY})"


def refused_cause(connection: Connection, *, needs_code: bool) -> str:
    """Why a login that is sent with each request, or a fresh token, is refused (HTTP 401)."""
    if needs_code:
        return (
            "the instance asks for a multi-factor code (X-MFA_TOKEN: invalid): set "
            "glide.authenticate.multifactor.for_integrations to false, or connect with OAuth"
        )
    if isinstance(connection.auth, Basic):
        return (
            "the user name and password are refused: check them; if they are right, the Basic Authentication "
            "Restriction refuses them: make the user web-service-only, or grant it the role "
            "snc_basic_auth_api_access, or connect with OAuth"
        )
    if isinstance(connection.auth, ApiKey):
        return (
            "the API key is refused: check that it is active and not expired, and that an active REST API access "
            "policy on the Table API lists an inbound authentication profile for API keys (System Web Services > "
            "API Access Policies)"
        )
    return (
        "a fresh token is refused: the user may be locked out or inactive, or a REST API access policy on the Table "
        "API does not list OAuth (System Web Services > API Access Policies)"
    )
