"""Who gets in: tokens, basic authentication and API keys, and what can still stop someone who has the right secret."""

import secrets
import time
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from plumbline_simulators.credentials import Credentials, basic_credentials
from plumbline_simulators.servicenow import answers
from plumbline_simulators.servicenow.contents import Row
from plumbline_simulators.servicenow.instance import Instance
from plumbline_simulators.servicenow.seeds import TABLE_API_ACL

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_FULL_SCOPE = "useraccount"
_CLIENT_CREDENTIALS = "glide.oauth.inbound.client.credential.grant_type.enabled"
_NO_PASSWORD_GRANT = "glide.oauth.inbound.ropc.grant_type.disabled"  # noqa: S105 - a property
_RESTRICTION = "glide.authenticate.basic_auth"
_NOT_CONFIGURED = "The integration user is not configured for this OAuth client"


class Login:
    """The doors of one instance. The accepted user is the instance's integration user, number 0."""

    def __init__(self, instance: Instance, credentials: Credentials) -> None:
        self._instance, self._accepted = instance, credentials
        self._refresh_tokens: dict[str, float] = {}
        if entry := instance.oauth_client:
            entry["client_id"] = credentials.client_id

    # --- tokens

    def token(self, form: dict[str, str], assertion: str) -> Response:
        """The answer to a token request. `assertion` is a JWT that came in a header."""
        accepted, entry = self._accepted, self._instance.oauth_client
        is_client = (form.get("client_id"), form.get("client_secret")) == (accepted.client_id, accepted.client_secret)
        if not is_client or entry is None or entry["active"] != "true" or not self._may_user_log_in():
            return denied()
        match form.get("grant_type"):
            case "client_credentials" if self._instance.is_on(_CLIENT_CREDENTIALS):
                return self._issue() if entry["user"] else _unauthorized_client()
            case "password" if not self._instance.is_on(_NO_PASSWORD_GRANT):
                given = (form.get("username"), form.get("password"))
                return self._issue(can_refresh=True) if given == (accepted.username, accepted.password) else denied()
            case "refresh_token":
                return self._issue() if self._is_fresh(form.get("refresh_token", "")) else denied()
            case grant if grant == JWT_GRANT:
                return self._issue() if self._is_signed(form.get("assertion") or assertion) else denied()
        return denied()

    def _issue(self, *, can_refresh: bool = False) -> Response:
        token, seconds = self._instance.tokens.issue(reuse=True)
        scope = self._instance.behaviour.token_scope
        body = {"access_token": token, "scope": scope, "token_type": "Bearer", "expires_in": seconds}
        if can_refresh:
            body["refresh_token"] = secrets.token_urlsafe(32)
            self._refresh_tokens[str(body["refresh_token"])] = time.monotonic()
        return JSONResponse(body, media_type=answers.JSON)

    def _is_fresh(self, token: str) -> bool:
        issued = self._refresh_tokens.get(token)
        return issued is not None and time.monotonic() - issued < self._instance.behaviour.refresh_seconds

    def _is_signed(self, assertion: str) -> bool:
        """Whether a JWT names a verifier by `kid`, bears its signature, and speaks for a user who is no admin."""
        accepted, behaviour = self._accepted, self._instance.behaviour
        if accepted.jwt_public_key is None:
            return False
        try:
            header = jwt.get_unverified_header(assertion)
            claims: dict[str, Any] = jwt.decode(
                assertion,
                accepted.jwt_public_key,
                algorithms=["RS256"],
                audience=accepted.client_id,
                issuer=accepted.client_id,
                options={"require": ["iss", "sub", "aud", "exp"]},
            )
        except jwt.PyJWTError:
            return False
        kid = header.get("kid")
        return bool(kid) and behaviour.jwt_key_id in ("", kid) and self._may_be_spoken_for(str(claims["sub"]))

    def _may_be_spoken_for(self, name: str) -> bool:
        people = self._instance.people
        number = 0 if name == self._accepted.username else people.number_of(name)
        return number is not None and "admin" not in people.roles_of(number)

    # --- requests

    def refusal(self, request: Request) -> Response | None:
        """Why a request gets nothing, whatever it asks for; None when it may go on."""
        instance = self._instance
        if refusal := self.blocked(request):
            return refusal
        method = self._method(request)
        if method is None or not self._may_user_log_in() or not self._is_listed(method):
            return answers.not_authenticated(instance.release)
        if method == "basic":
            if instance.is_on("glide.authenticate.multifactor.for_integrations") and instance.people.has_factor(0):
                return answers.not_authenticated(instance.release, needs_code=True)
            if self._is_basic_restricted():
                return answers.not_authenticated(instance.release)
        if method == "oauth" and instance.behaviour.token_scope != _FULL_SCOPE:
            return answers.error(403, "User Not Authorized")
        acl = instance.records.find("sys_security_acl", f"{TABLE_API_ACL}/execute")
        if acl and acl["active"] == "true" and "snc_platform_rest_api_access" not in self._roles():
            return answers.error(403, "Failed API level ACL Validation")
        return None

    def _method(self, request: Request) -> str | None:
        """How a request logs in with the right secret: basic, oauth or api_key; None when it does not."""
        accepted, authorization = self._accepted, request.headers.get("authorization", "")
        key = request.headers.get("x-sn-apikey") or request.query_params.get("x-sn-apikey")
        if key is not None:
            may = self._instance.is_plugin_active("com.glide.tokenbased_auth") and self._policies()
            return "api_key" if may and key == accepted.api_key else None
        scheme, _, token = authorization.partition(" ")
        if scheme == "Bearer":
            return "oauth" if self._instance.tokens.is_valid(token) else None
        is_known = basic_credentials(authorization) == (accepted.username, accepted.password)
        return "basic" if is_known else None

    def _policies(self) -> list[Row]:
        rows = self._instance.records.tables["sys_api_access_policy"].values()
        return [row for row in rows if row["active"] == "true" and "/now/table".startswith(row["api_path"])]

    def _is_listed(self, method: str) -> bool:
        """Once a policy is active, only the methods that it lists get in."""
        return not self._policies() or method in self._instance.behaviour.policy_methods.split(",")

    def _user(self) -> Row | None:
        return self._instance.user(0) if self._instance.user_count else None

    def _roles(self) -> set[str]:
        return self._instance.people.roles_of(0) if self._instance.user_count else set()

    def _may_user_log_in(self) -> bool:
        user = self._user()
        return user is None or (user["active"] == "true" and user["locked_out"] != "true")

    def _is_basic_restricted(self) -> bool:
        """The Basic Authentication Restriction: a person's account is refused although the password is right."""
        instance, user = self._instance, self._user()
        if not all(instance.is_on(f"{_RESTRICTION}.restriction.{name}") for name in ("active", "enforce")):
            return False
        if user is None or user["web_service_access_only"] == "true":
            return False
        allowed_roles = instance.property_value(f"{_RESTRICTION}.allowed_roles")
        roles = {"snc_basic_auth_api_access"} if allowed_roles is None else set(allowed_roles.split(","))
        users = (instance.property_value(f"{_RESTRICTION}.allowed_users") or "").split(",")
        return not self._roles() & {*roles, "mid_server"} and user["user_name"] not in users

    def blocked(self, request: Request) -> Response | None:
        """403 for an address that a rule denies and none allows; None for any other."""
        try:
            asked = _address(request.client.host if request.client else "")
        except ValueError:
            return None
        kinds = {
            row["type"]
            for row in self._instance.records.tables["ip_access"].values()
            if row["active"] == "true" and _holds(row, asked)
        }
        return answers.page(403, "Access restricted") if kinds == {"deny"} else None


def _address(said: str) -> IPv4Address | IPv6Address:
    """An address; one of IPv4 also when a socket of IPv6 wraps it. Raises ValueError when it is none."""
    found = ip_address(said)
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def _holds(rule: Row, asked: IPv4Address | IPv6Address) -> bool:
    first, last = _address(rule["range_start"]), _address(rule["range_end"])
    return first.version == asked.version and int(first) <= int(asked) <= int(last)


def denied() -> Response:
    """401 to a token request, whatever the cause."""
    return JSONResponse({"error_description": "access_denied", "error": "server_error"}, 401)


def _unauthorized_client() -> Response:
    return JSONResponse({"error_description": _NOT_CONFIGURED, "error": "unauthorized_client"}, 401)
