"""What an answer of the Table API that is not the one asked for means, and what to change. Source: REST API, errors."""

from plumbline_contracts.events import DatasetState

from plumbline_collector.connectors import bodies
from plumbline_collector.connectors.saas_client import Answer, TransientError, redirect_host
from plumbline_collector.errors import ReadError

_REFUSED = "the instance refuses it to the collector's user"
_ADVICE = (
    (
        "field(s) present in the query",
        "the collector's role may not read a column that the query names: add a read ACL on the table's columns (.*)",
    ),
    (
        "api level acl",
        "API-level access rules are active: give the collector's user the role snc_platform_rest_api_access",
    ),
    ("acl exception", "an access rule of the table forbids it"),
    (
        "user not authorized",
        (
            "the table is protected by an elevated role that REST cannot take: add a read ACL that asks for the "
            "collector's role alone"
        ),
    ),
)
_SCOPE = "insufficient_scope"


def refusal(answer: Answer) -> Exception | None:
    """The error of an answer; None when it may be read. TransientError is worth another try."""
    if answer.status == 200:
        if "json" not in answer.headers.get("content-type", ""):
            return TransientError("the answer is no JSON but a page", code="not_json")
        return None
    message, detail = error_text(answer)
    said = f"{message} ({detail})" if detail else message
    code = f"http_{answer.status}"
    if answer.status == 400 and message.lower().startswith("invalid table"):
        return ReadError(DatasetState.UNSUPPORTED, code, f"{said}: this release or its plugins have no such table")
    if answer.status in (401, 403):
        return ReadError(DatasetState.DENIED, code, _with_advice(said, answer))
    return ReadError(DatasetState.ERROR, code, said)


def _with_advice(said: str, answer: Answer) -> str:
    """Our words for a refusal that is known, and the instance's for any other."""
    found = [advice for sign, advice in _ADVICE if sign in said.lower()]
    if _SCOPE in answer.headers.get("www-authenticate", ""):
        found.append("the token's scope is too narrow: give the client the auth scope useraccount")
    if not found and answer.status == 403 and "json" not in answer.headers.get("content-type", ""):
        found.append(
            "the address that the collector calls from may be blocked: allow it under System Security > IP Address "
            "Access Control"
        )
    return f"{_REFUSED}; {found[0]}" if found else said


def impostor(answer: Answer) -> str | None:
    """What answers in the instance's place and what to do; None when it is the instance."""
    page = answer.body[:20000].lower() if answer.is_page else b""
    if b"hibernat" in page or redirect_host(answer) == "developer.servicenow.com":
        return "the instance is hibernating; wake it on the developer site, then scan again"
    if b"login.do" in page and answer.status == 200:
        return "the instance answers with its login page; check its API access policies"
    return None


def is_from_instance(answer: Answer) -> bool:
    """Whether an error has the form in which the REST API of an instance says it."""
    try:
        document = answer.json()
    except ReadError:
        return False
    return isinstance(document, dict) and isinstance(document.get("error"), dict)


def error_text(answer: Answer) -> tuple[str, str | None]:
    """Message and detail of an error, each fit to be shown."""
    try:
        document = answer.json()
    except ReadError:
        return f"HTTP {answer.status} without JSON", None
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return f"HTTP {answer.status}", None
    detail = error.get("detail")
    return bodies.quoted(error.get("message") or f"HTTP {answer.status}"), bodies.quoted(detail) if detail else None
