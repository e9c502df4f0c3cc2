"""Which tokens are valid, and for which one reason the others are refused."""

import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st
from plumbline_score_api.keys.schemas import Caller, Role
from plumbline_score_api.network import AnswerError
from plumbline_score_api.problems import UnavailableError
from plumbline_score_api.tokens.issuers import Issuer
from plumbline_score_api.tokens.key_sets import KeySet
from plumbline_score_api.tokens.service import TokenService
from plumbline_score_api.tokens.verification import (
    LONGEST_TOKEN,
    MOST_KEYS,
    Keys,
    Reason,
    RefusedError,
    announced,
    keys_of,
    require_allowed,
    verify,
)
from structlog.testing import capture_logs

from tests.unit.score_api.signers import ISSUER, claims, encoded, issuer, kind_of, private_key, public_jwk, token

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
JWKS = {"keys": [public_jwk(private_key("RS2048"), "k1"), public_jwk(private_key("EC256"), "k2")]}


def _service(*issuers: Issuer, jwks: Any = None) -> TokenService:
    async def read() -> Keys:
        return keys_of(JWKS if jwks is None else jwks)

    trusted = issuers or (issuer(),)
    return TokenService(trusted, {each.issuer: KeySet(each.issuer, read) for each in trusted})


async def _reason(text: str, *issuers: Issuer, jwks: Any = None) -> str | None:
    """Why a token is refused; None when it is not. Nothing of it may stand in the log but the reason."""
    with capture_logs() as logs:
        found = await _service(*issuers, jwks=jwks).authenticate(text)
    lines = [line for line in logs if line["event"] == "bearer refused"]
    if found is not None:
        assert lines == []
        return None
    (line,) = lines
    assert line.keys() == {"event", "log_level", "reason", "issuer"}
    assert line["issuer"] in (None, ISSUER)
    reason: str = line["reason"]
    return reason


async def test_a_good_token_is_a_caller_of_its_tenant_with_its_roles() -> None:
    assert await _service().authenticate(token()) == Caller(
        tenant="contoso",
        name="ann@contoso.example",
        roles=frozenset({Role.READ}),
        identity=f"{ISSUER}#3f2a",
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_every_allowed_algorithm_works_with_its_key_alone(algorithm: str) -> None:
    others = [private_key(kind) for kind in ("RS2048", "EC256", "EC384", "EC521", "Ed") if kind != kind_of(algorithm)]
    right = {"keys": [public_jwk(private_key(kind_of(algorithm)), "k1")]}
    wrong = {"keys": [public_jwk(key, "k1") for key in others]}
    text = token(algorithm=algorithm)
    assert await _reason(text, jwks=right) is None
    assert await _reason(text, jwks=wrong) == Reason.KEY


def _unsigned(header: dict[str, Any], body: Any = None, signature: str = "") -> str:
    return f"{encoded(header)}.{encoded(claims() if body is None else body)}.{signature}"


def _with_the_public_key_as_secret(algorithm: str) -> str:
    """Key confusion: the published key, which everyone has, used as the secret of an HMAC."""
    pem = (
        private_key("RS2048")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    signer = jwt.get_algorithm_by_name(algorithm)
    signing = _unsigned({"alg": algorithm, "kid": "k1", "typ": "JWT"}).rstrip(".")
    return f"{signing}.{encoded(signer.sign(signing.encode(), pem))}"


NOW = int(time.time())
REFUSED: dict[str, tuple[str, Reason]] = {
    "empty": ("", Reason.MALFORMED),
    "one part": ("e30", Reason.MALFORMED),
    "two parts": ("e30.e30", Reason.MALFORMED),
    "four parts": (token() + ".e30", Reason.MALFORMED),
    "no base64": ("!.!.!", Reason.MALFORMED),
    "no text": ("\xff\xfe.\xff.\xff", Reason.MALFORMED),
    "a header that is a list": (_unsigned([]), Reason.MALFORMED),  # type: ignore[arg-type]
    "a header that is no JSON": (f"{encoded(b'{')}.{encoded(claims())}.x", Reason.MALFORMED),
    "a deep header": (f"{encoded(b'[' * 9000)}.{encoded(claims())}.", Reason.MALFORMED),
    "claims that are a list": (_unsigned({"alg": "RS256", "kid": "k1"}, []), Reason.MALFORMED),
    "claims that are text": (_unsigned({"alg": "RS256", "kid": "k1"}, "x"), Reason.MALFORMED),
    "an encrypted token": (".".join(["e30"] * 5), Reason.MALFORMED),
    "1 MB": ("a" * 1024 * 1024, Reason.TOO_LONG),
    "1 MB, signed": (token(claims(x="a" * 1024 * 1024)), Reason.TOO_LONG),
    "1 MB, of dots": ("." * 1024 * 1024, Reason.TOO_LONG),
    "alg none": (_unsigned({"alg": "none", "kid": "k1", "typ": "JWT"}), Reason.ALGORITHM),
    "alg None": (_unsigned({"alg": "None", "kid": "k1", "typ": "JWT"}), Reason.ALGORITHM),
    "alg none, signed": (_unsigned({"alg": "none", "kid": "k1", "typ": "JWT"}, signature="AAAA"), Reason.ALGORITHM),
    "no alg": (_unsigned({"kid": "k1", "typ": "JWT"}), Reason.MALFORMED),
    "alg a list": (_unsigned({"alg": ["RS256"], "kid": "k1"}), Reason.MALFORMED),
    "alg in small letters": (_unsigned({"alg": "rs256", "kid": "k1", "typ": "JWT"}), Reason.ALGORITHM),
    "HS256": (token(key="s" * 64, algorithm="HS256"), Reason.ALGORITHM),
    "HS384": (token(key="s" * 64, algorithm="HS384"), Reason.ALGORITHM),
    "HS512": (token(key="s" * 64, algorithm="HS512"), Reason.ALGORITHM),
    "key confusion with HS256": (_with_the_public_key_as_secret("HS256"), Reason.ALGORITHM),
    "key confusion with HS512": (_with_the_public_key_as_secret("HS512"), Reason.ALGORITHM),
    "an elliptic signature under an RSA key": (token(algorithm="ES256"), Reason.KEY),
    "RS256 announced, another key": (token(key=private_key("RS2048", 1)), Reason.SIGNATURE),
    "no signature": (_unsigned({"alg": "RS256", "kid": "k1", "typ": "JWT"}), Reason.SIGNATURE),
    "PS256 of another header": (token(algorithm="PS256").rsplit(".", 1)[0] + ".AAAA", Reason.SIGNATURE),
    "typ of a logout token": (token(typ="logout+jwt"), Reason.TYPE),
    "typ of an ID token": (token(typ="id_token+jwt"), Reason.TYPE),
    "typ of a security event": (token(typ="secevent+jwt"), Reason.TYPE),
    "typ of a proof": (token(typ="dpop+jwt"), Reason.TYPE),
    "typ a number": (token(typ=1), Reason.TYPE),
    "typ a list": (token(typ=["JWT"]), Reason.TYPE),
    "no typ": (token(typ=None), Reason.TYPE),
    "kid unknown": (token(key_id="k9"), Reason.KEY),
    "kid a path": (token(key_id="../../../../dev/null"), Reason.KEY),
    "no kid": (token(key_id=None), Reason.KEY),
    "kid a number": (_unsigned({"alg": "RS256", "kid": 1, "typ": "JWT"}), Reason.MALFORMED),
    "critical header": (_unsigned({"alg": "RS256", "kid": "k1", "crit": ["x"], "x": 1}), Reason.MALFORMED),
    "detached": (_unsigned({"alg": "RS256", "kid": "k1", "b64": False, "crit": ["b64"]}), Reason.MALFORMED),
    "issuer unknown": (token(claims(iss="https://evil.example")), Reason.ISSUER),
    "issuer with a slash": (token(claims(iss=f"{ISSUER}/")), Reason.ISSUER),
    "issuer in a list": (_unsigned({"alg": "RS256", "kid": "k1"}, claims(iss=[ISSUER])), Reason.MALFORMED),
    "no issuer": (token(claims(iss=None)), Reason.MALFORMED),
    "audience wrong": (token(claims(aud="other")), Reason.AUDIENCE),
    "audience wrong in a list": (token(claims(aud=["other", "another"])), Reason.AUDIENCE),
    "audience a number": (token(claims(aud=7)), Reason.AUDIENCE),
    "audience longer": (token(claims(aud="plumbline2")), Reason.AUDIENCE),
    "no audience": (token(claims(aud=None)), Reason.CLAIM),
    "no audience in a list": (token(claims(aud=[])), Reason.CLAIM),
    "expired": (token(claims(exp=NOW - 70)), Reason.EXPIRED),
    "no expiry": (token(claims(exp=None)), Reason.CLAIM),
    "expiry a text": (token(claims(exp=str(NOW + 24 * 3600))), Reason.CLAIM),
    "expiry true": (token(claims(exp=True)), Reason.EXPIRED),
    "expiry without end": (token(claims(exp=float("inf"))), Reason.CLAIM),
    "expiry no number": (token(claims(exp=float("nan"))), Reason.CLAIM),
    "expiry a list": (token(claims(exp=[NOW + 24 * 3600])), Reason.CLAIM),
    "not yet valid": (token(claims(nbf=NOW + 12 * 3600)), Reason.NOT_YET),
    "issued in the future": (token(claims(iat=NOW + 12 * 3600)), Reason.NOT_YET),
    "nbf a text": (token(claims(nbf="x")), Reason.CLAIM),
    "no subject": (token(claims(sub=None)), Reason.CLAIM),
    "subject empty": (token(claims(sub="")), Reason.CLAIM),
    "subject a number": (token(claims(sub=7)), Reason.CLAIM),
    "subject long": (token(claims(sub="s" * 256)), Reason.CLAIM),
    "an ID token": (token(claims(at_hash="x")), Reason.TYPE),
    "bound to a key": (token(claims(cnf={"jkt": "x"})), Reason.BOUND),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_wrong_is_refused_for_its_reason(name: str) -> None:
    text, reason = REFUSED[name]
    assert await _reason(text) == reason


@pytest.mark.parametrize("seconds", [-50, 50])
async def test_clocks_may_differ_by_a_minute(seconds: int) -> None:
    now = int(time.time())
    body = claims(exp=now - 50) if seconds < 0 else claims(nbf=now + 50, iat=now + 50)
    assert await _reason(token(body)) is None


@pytest.mark.parametrize("header", ["jku", "x5u", "jwk", "x5c"])
async def test_a_key_that_a_token_brings_along_is_never_used(header: str) -> None:
    theirs = private_key("RS2048", 1)
    brought: dict[str, Any] = {
        "jku": "http://127.0.0.1:1/keys",
        "x5u": "http://127.0.0.1:1/cert",
        "jwk": public_jwk(theirs, "k1"),
        "x5c": ["MIIB"],
    }
    assert await _reason(token(key=theirs, **{header: brought[header]})) == Reason.SIGNATURE
    assert await _reason(token(**{header: brought[header]})) is None, "in a good token it is ignored"


async def test_an_issuer_may_only_use_what_it_is_allowed() -> None:
    narrow = issuer(algorithms=["ES256"], types=["at+jwt"])
    assert await _reason(token(typ="at+jwt"), narrow) == Reason.ALGORITHM
    assert await _reason(token(algorithm="ES256", key_id="k2"), narrow) == Reason.TYPE
    assert await _reason(token(algorithm="ES256", key_id="k2", typ="application/AT+JWT"), narrow) is None
    assert await _reason(token(typ=None), issuer(types="absent")) is None


async def test_one_issuer_cannot_speak_for_another() -> None:
    other = issuer(issuer="https://id.fabrikam.example", tenant="fabrikam")
    theirs = {"keys": [public_jwk(private_key("RS2048", 1), "k1")]}
    keys = {ISSUER: keys_of(JWKS), other.issuer: keys_of(theirs)}

    def key_set(name: str) -> KeySet:
        async def read() -> Keys:
            return keys[name]

        return KeySet(name, read)

    service = TokenService([issuer(), other], {name: key_set(name) for name in keys})
    forged = token(key=private_key("RS2048", 1))
    assert await service.authenticate(forged) is None
    honest = await service.authenticate(token(claims(iss=other.issuer), key=private_key("RS2048", 1)))
    assert honest is not None
    assert honest.tenant == "fabrikam"


async def test_an_issuer_whose_keys_cannot_be_read_is_no_fault_of_the_caller() -> None:
    async def read() -> Keys:
        raise AnswerError("down")

    with pytest.raises(UnavailableError):
        await TokenService([issuer()], {ISSUER: KeySet(ISSUER, read)}).authenticate(token())


GOOD = token()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "sub", "jti", "roles", "cnf"])
HEADERS = st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jku", "jwk", "cty", "zip"])


def _is_refused(text: str) -> bool:
    """Whether it is refused, as the service does it. Any other error is a bug."""
    trusted = issuer()
    try:
        found = announced(text)
        require_allowed(found, trusted)
        verify(text, found, trusted, private_key("RS2048").public_key())
    except RefusedError:
        return True
    return False


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("latin-1")))
def test_no_text_is_a_token(text: str) -> None:
    assert _is_refused(text)


@given(st.integers(0, len(GOOD) - 1), st.characters(max_codepoint=255))
def test_a_changed_character_is_noticed(place: int, character: str) -> None:
    changed = GOOD[:place] + character + GOOD[place + 1 :]
    assert _is_refused(changed) == (changed != GOOD)


@settings(deadline=None)
@given(st.dictionaries(NAMES, JSON, max_size=4))
def test_no_signed_claims_are_a_bug(changes: dict[str, Any]) -> None:
    body = {**claims(), **changes}
    signing = f"{encoded({'alg': 'RS256', 'kid': 'k1', 'typ': 'JWT'})}.{encoded(json.dumps(body).encode())}"
    signer = jwt.get_algorithm_by_name("RS256")
    text = f"{signing}.{encoded(signer.sign(signing.encode(), private_key('RS2048')))}"
    is_whole = body.get("aud") == claims()["aud"] and body.get("iss") == ISSUER
    assert _is_refused(text) or is_whole or "plumbline" in body["aud"]


@given(st.dictionaries(HEADERS, JSON, min_size=1, max_size=4))
def test_an_unsigned_header_is_refused_whatever_it_says(changes: dict[str, Any]) -> None:
    header = {"alg": "RS256", "kid": "k1", "typ": "JWT", **changes}
    assert _is_refused(f"{encoded(json.dumps(header).encode())}.{GOOD.split('.', 1)[1]}")


# --- key sets


@pytest.mark.parametrize(
    "changes",
    [
        {"use": "enc"},
        {"kid": None},
        {"kid": 7},
        {"alg": "HS256"},
        {"alg": "none"},
        {"alg": ["RS256"]},
        {"alg": "ES256"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "EC"},
        {"kty": None},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"n": "AQAB"},
        {"n": 7},
        {"n": None},
        {"e": "AA"},
        {"d": "AQAB"},
    ],
)
def test_a_key_that_is_no_public_signature_key_is_left_out(changes: dict[str, Any]) -> None:
    good = public_jwk(private_key("RS2048"), "k1")
    assert keys_of({"keys": [good | changes]}) == {}
    assert len(keys_of({"keys": [good | changes, good]})) == 6


@pytest.mark.parametrize("document", [None, [], {}, {"keys": None}, {"keys": {}}, {"keys": [None, 1, "x", []]}, "keys"])
def test_what_is_no_key_set_holds_no_key(document: Any) -> None:
    assert keys_of(document) == {}


def test_a_key_set_is_bounded_and_weak_keys_are_left_out() -> None:
    good = public_jwk(private_key("RS2048"), "k1")
    many = [good | {"kid": str(number)} for number in range(MOST_KEYS + 50)]
    assert len({key_id for key_id, _ in keys_of({"keys": many})}) == MOST_KEYS
    assert keys_of({"keys": [public_jwk(private_key("RS1024"), "k1")]}) == {}


def test_a_key_that_names_its_algorithm_serves_that_alone() -> None:
    found = keys_of({"keys": [public_jwk(private_key("RS2048"), "k1", alg="PS256", key_ops=["verify"])]})
    assert set(found) == {("k1", "PS256")}


def test_the_bounds_are_what_issuers_need() -> None:
    """Entra ID lists up to 200 groups of 36 characters in a token."""
    body = claims(groups=["f81d4fae-7dec-11d0-a765-00a0c91e6bf6"] * 200)
    assert len(token(body)) < LONGEST_TOKEN
