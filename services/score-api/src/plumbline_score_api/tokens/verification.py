"""Whether a token was signed by a trusted issuer, for us, and is valid now. Pure but for the clock.

A token is refused for one reason, which is for the logs: a caller learns only that it is not valid. Nothing in a token
chooses a key or an address: `jku`, `x5u`, `jwk` and `x5c` are never read, and `alg` must be one that the issuer may
use and that the key named by `kid` is made for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from plumbline_score_api.tokens.issuers import Issuer, TokenType

LONGEST_TOKEN = 16 * 1024
LONGEST_SUBJECT = 255
MOST_KEYS = 100
SMALLEST_RSA_BITS = 2048
LEEWAY_SECONDS = 60

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey
Keys: TypeAlias = Mapping[tuple[str, str], PublicKey]
"""Key id and algorithm to the key that verifies it."""

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_EC = {"P-256": ("ES256",), "P-384": ("ES384",), "P-521": ("ES512",)}
_OKP = {"Ed25519": ("EdDSA",), "Ed448": ("EdDSA",)}


class Reason(StrEnum):
    """Why a token is refused."""

    TOO_LONG = "too long"
    MALFORMED = "malformed"
    ISSUER = "unknown issuer"
    ALGORITHM = "algorithm not allowed"
    TYPE = "wrong type"
    KEY = "unknown key"
    SIGNATURE = "wrong signature"
    EXPIRED = "expired"
    NOT_YET = "not yet valid"
    AUDIENCE = "wrong audience"
    CLAIM = "a claim is missing or malformed"
    BOUND = "bound to a key that a bearer need not have"
    TENANT = "no tenant"


class RefusedError(Exception):
    """A token that is not valid here."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True)
class Announced:
    """What a token claims before anything is verified: enough to choose the issuer and the key."""

    issuer: str
    key_id: str
    algorithm: str
    type: TokenType | None


def announced(text: str) -> Announced:
    """What a token claims. Raises RefusedError when it is too long or no signed token."""
    if len(text) > LONGEST_TOKEN:
        raise RefusedError(Reason.TOO_LONG)
    try:
        parsed = jwt.decode_complete(text, options={"verify_signature": False})
    except jwt.PyJWTError as error:
        raise RefusedError(Reason.MALFORMED) from error
    header, claims = parsed["header"], parsed["payload"]
    issuer, algorithm, key_id = claims.get("iss"), header.get("alg"), header.get("kid")
    if not isinstance(issuer, str) or not isinstance(algorithm, str):
        raise RefusedError(Reason.MALFORMED)
    if not isinstance(key_id, str):
        raise RefusedError(Reason.KEY)
    return Announced(issuer, key_id, algorithm, _type(header))


def _type(header: Mapping[str, Any]) -> TokenType | None:
    """The type of a token; None when it is none that could be allowed."""
    said = header.get("typ")
    if said is None:
        return TokenType.ABSENT
    name = said.lower().removeprefix("application/") if isinstance(said, str) else ""
    return {"at+jwt": TokenType.ACCESS_TOKEN, "jwt": TokenType.JWT}.get(name)


def require_allowed(token: Announced, issuer: Issuer) -> None:
    """Raises RefusedError unless the issuer may use the token's algorithm and type."""
    if token.algorithm not in issuer.algorithms:
        raise RefusedError(Reason.ALGORITHM)
    if token.type not in issuer.types:
        raise RefusedError(Reason.TYPE)


def verify(text: str, token: Announced, issuer: Issuer, key: PublicKey) -> dict[str, Any]:
    """The claims of a token: signed with `key`, by `issuer`, for us, valid now within a minute, no ID token.

    Raises RefusedError.
    """
    try:
        claims: dict[str, Any] = jwt.decode(
            text,
            key,
            algorithms=[token.algorithm],
            audience=issuer.audience,
            issuer=issuer.issuer,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iss", "aud", "sub"], "enforce_minimum_key_length": True},
        )
    except jwt.PyJWTError as error:
        raise RefusedError(_reason(error)) from error
    _require_access_token(claims)
    return claims


def _reason(error: jwt.PyJWTError) -> Reason:
    known = {
        jwt.InvalidSignatureError: Reason.SIGNATURE,
        jwt.ExpiredSignatureError: Reason.EXPIRED,
        jwt.ImmatureSignatureError: Reason.NOT_YET,
        jwt.InvalidAudienceError: Reason.AUDIENCE,
        jwt.InvalidIssuerError: Reason.ISSUER,
        jwt.InvalidAlgorithmError: Reason.ALGORITHM,
        jwt.InvalidKeyError: Reason.KEY,
    }
    return known.get(type(error), Reason.CLAIM)


def _require_access_token(claims: Mapping[str, Any]) -> None:
    """Raises RefusedError for numbers that are none, an empty subject, an ID token, and one bound to a key."""
    moments = [claims[name] for name in ("exp", "nbf", "iat") if name in claims]
    if any(isinstance(moment, bool) or not isinstance(moment, int | float) for moment in moments):
        raise RefusedError(Reason.CLAIM)
    if not 0 < len(claims["sub"]) <= LONGEST_SUBJECT:
        raise RefusedError(Reason.CLAIM)
    if "at_hash" in claims or "c_hash" in claims:
        raise RefusedError(Reason.TYPE)
    if "cnf" in claims:
        raise RefusedError(Reason.BOUND)


def keys_of(document: object) -> Keys:
    """The keys of a JSON Web Key Set that can verify signatures; others are left out. Empty when there are none."""
    listed = document.get("keys") if isinstance(document, dict) else None
    found: dict[tuple[str, str], PublicKey] = {}
    for entry in listed[:MOST_KEYS] if isinstance(listed, list) else ():
        algorithms = _algorithms(entry) if isinstance(entry, dict) else ()
        key = _public_key(entry, algorithms[0]) if algorithms else None
        if key is not None:
            for algorithm in algorithms:
                found.setdefault((entry["kid"], algorithm), key)
    return found


def _algorithms(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """What a public signature key with an id may verify: what its type allows, or the one that it names of those."""
    kind, curve, said = entry.get("kty"), entry.get("crv"), entry.get("alg")
    operations = entry.get("key_ops")
    is_for_us = entry.get("use", "sig") == "sig" and (
        operations is None or (isinstance(operations, list) and "verify" in operations)
    )
    if not is_for_us or not isinstance(entry.get("kid"), str) or "d" in entry:
        return ()
    possible: tuple[str, ...] = ()
    if kind == "RSA":
        possible = _RSA
    elif isinstance(curve, str):
        possible = {"EC": _EC, "OKP": _OKP}.get(str(kind), {}).get(curve, ())
    return possible if said is None else tuple(name for name in possible if name == said)


def _public_key(entry: dict[str, Any], algorithm: str) -> PublicKey | None:
    try:
        key = jwt.PyJWK(entry, algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < SMALLEST_RSA_BITS:
        return None
    return key if isinstance(key, RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey) else None
