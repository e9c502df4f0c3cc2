"""The token endpoint: which grant is given a token, and in which words another is refused."""

import time

import jwt

from plumbline_simulators.credentials import Credentials

JWT_LIFE_SECONDS = 180
LOGIN_HOSTS = ("https://login.salesforce.com", "https://test.salesforce.com")
Refusal = tuple[str, str]

TOKEN_ERRORS: tuple[Refusal, ...] = (
    ("invalid_grant", "authentication failure"),
    ("invalid_grant", "user hasn't approved this consumer"),
    ("invalid_grant", "expired access/refresh token"),
    ("invalid_grant", "no client credentials user enabled"),
    ("invalid_grant", "request not supported on this domain"),
    ("invalid_grant", "invalid assertion"),
    ("invalid_grant", "audience is invalid"),
    ("invalid_grant", "Audience validation failed"),
    ("invalid_grant", "expired authorization code"),
    ("invalid_grant", "inactive user"),
    ("invalid_client", "invalid client credentials"),
    ("invalid_client_id", "client identifier invalid"),
    ("inactive_org", "organization is inactive"),
    ("rate_limit_exceeded", "too many requests"),
    ("unsupported_grant_type", "grant type not supported"),
    ("invalid_request", "must use HTTP POST"),
    ("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
)
"""What the endpoint is known to refuse with; the last one as a 403 with a list."""


class Grants:
    """The grants that one org accepts. `is_login_host`: it is asked at login.salesforce.com, not at its My Domain."""

    def __init__(self, credentials: Credentials, *, is_login_host: bool = False) -> None:
        self._accepted, self._is_login_host = credentials, is_login_host

    def refusal(
        self, form: dict[str, str], client: tuple[str, str], base: str, *, blocks_passwords: bool
    ) -> Refusal | None:
        """Error and description; None when the token is given. `base` is where the request came to."""
        grant = form.get("grant_type", "")
        if grant == "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return self._refuse_assertion(form.get("assertion", ""), base)
        client_id, secret = client
        if client_id != self._accepted.client_id:
            return "invalid_client_id", "client identifier invalid"
        if secret != self._accepted.client_secret:
            return "invalid_client", "invalid client credentials"
        match grant:
            case "client_credentials":
                at_login = self._is_login_host or base in LOGIN_HOSTS
                return ("invalid_grant", "request not supported on this domain") if at_login else None
            case "password":
                return self._refuse_password(form, blocks_passwords=blocks_passwords)
            case "refresh_token":
                known = form.get("refresh_token") == self._accepted.refresh_token
                return None if known else ("invalid_grant", "expired access/refresh token")
        return "unsupported_grant_type", "grant type not supported"

    def _refuse_password(self, form: dict[str, str], *, blocks_passwords: bool) -> Refusal | None:
        accepted = self._accepted
        matches = form.get("username") == accepted.username and form.get("password") == accepted.password
        return None if matches and not blocks_passwords else ("invalid_grant", "authentication failure")

    def _refuse_assertion(self, assertion: str, base: str) -> Refusal | None:
        accepted = self._accepted
        if accepted.jwt_public_key is None:
            return "invalid_grant", "user hasn't approved this consumer"
        try:
            claims = jwt.decode(
                assertion, accepted.jwt_public_key, algorithms=["RS256"], audience=[*LOGIN_HOSTS, base],
                options={"require": ["exp", "iss", "sub", "aud"]},
            )  # fmt: skip
        except jwt.InvalidAudienceError:
            return "invalid_grant", "audience is invalid"
        except jwt.ExpiredSignatureError:
            return "invalid_grant", "expired authorization code"
        except jwt.InvalidTokenError:
            return "invalid_grant", "invalid assertion"
        if claims["exp"] - time.time() > JWT_LIFE_SECONDS or claims["iss"] != accepted.client_id:
            return "invalid_grant", "invalid assertion"
        approved = claims["sub"] == accepted.username
        return None if approved else ("invalid_grant", "user hasn't approved this consumer")
