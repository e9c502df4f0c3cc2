"""Issuers of tokens for tests: real keys, and tokens right or wrong in one place."""

import base64
import functools
import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from plumbline_score_api.tokens.issuers import Issuer

ISSUER = "https://id.contoso.example/realms/main"
AUDIENCE = "plumbline"


@functools.cache
def private_key(kind: str, number: int = 0) -> Any:
    """A key of a kind, `RS2048`, `EC` with a curve's bits, or `Ed`; made once per run and number."""
    if kind.startswith("RS"):
        return rsa.generate_private_key(65537, int(kind.removeprefix("RS")))
    if kind == "Ed":
        return ed25519.Ed25519PrivateKey.generate()
    curves = {"EC256": ec.SECP256R1(), "EC384": ec.SECP384R1(), "EC521": ec.SECP521R1()}
    return ec.generate_private_key(curves[kind])


_KINDS = {"RS": "RS2048", "PS": "RS2048", "ES256": "EC256", "ES384": "EC384", "ES512": "EC521", "EdDSA": "Ed"}


def kind_of(algorithm: str) -> str:
    """The kind of key that an algorithm needs."""
    return _KINDS.get(algorithm) or _KINDS[algorithm[:2]]


def public_jwk(key: Any, key_id: str, **more: Any) -> dict[str, Any]:
    """The public half, as an issuer publishes it."""
    public = key.public_key()
    algorithm = (
        jwt.algorithms.RSAAlgorithm
        if isinstance(key, rsa.RSAPrivateKey)
        else jwt.algorithms.ECAlgorithm
        if isinstance(key, ec.EllipticCurvePrivateKey)
        else jwt.algorithms.OKPAlgorithm
    )
    return {**json.loads(algorithm.to_jwk(public)), "kid": key_id, "use": "sig", **more}


def claims(**changes: Any) -> dict[str, Any]:
    """Claims of a good token; a change to None leaves one out."""
    now = int(time.time())
    base = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "3f2a",
        "iat": now,
        "nbf": now,
        "exp": now + 24 * 3600,
        "preferred_username": "ann@contoso.example",
        "roles": ["SecureScore.Read"],
    }
    return {name: value for name, value in {**base, **changes}.items() if value is not None}


def encoded(part: Any) -> str:
    """A part of a token, from bytes or anything that is JSON."""
    content = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def token(
    body: dict[str, Any] | None = None,
    *,
    key: Any = None,
    algorithm: str = "RS256",
    key_id: str | None = "k1",
    **header: Any,
) -> str:
    """A signed token with this header."""
    whole = {"typ": "JWT", **({"kid": key_id} if key_id is not None else {}), **header}
    signing = key or private_key(kind_of(algorithm))
    return jwt.encode(claims() if body is None else body, signing, algorithm, headers=whole)


def issuer(**changes: Any) -> Issuer:
    """A trusted issuer; a change to None leaves a key out."""
    entry = {"issuer": ISSUER, "audience": AUDIENCE, "tenant": "contoso", **changes}
    return Issuer.model_validate({name: value for name, value in entry.items() if value is not None})
