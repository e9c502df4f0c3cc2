"""What every answer of an instance looks like: envelope of errors, headers, cookies, links to other pages."""

import secrets
from collections.abc import Mapping
from urllib.parse import urlencode

from starlette.datastructures import URL
from starlette.responses import JSONResponse, Response

from plumbline_simulators.servicenow.releases import Family

JSON = "application/json;charset=UTF-8"
_HEADERS = {
    "Server": "snow_adc",
    "X-Is-Logged-In": "true",
    "X-Content-Type-Options": "nosniff",
    "Pragma": "no-store,no-cache",
    "Cache-Control": "no-cache,no-store,must-revalidate,max-age=-1",
    "Expires": "0",
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
}
_COOKIES = (
    "JSESSIONID", "glide_user", "glide_user_session", "glide_user_route", "glide_node_id_for_js", "glide_user_activity",
)  # fmt: skip
_SESSION_SECONDS = 1800


def error(status: int, message: str, detail: str | None = None) -> Response:
    """A refusal in the product's envelope."""
    document = {"error": {"message": message, "detail": detail}, "status": "failure"}
    return JSONResponse(document, status, media_type=JSON)


def not_authenticated(release: Family, *, needs_code: bool = False) -> Response:
    """401. The words changed with Australia; a missing second factor is told by a header."""
    words = "User is not authenticated" if release.is_at_least(Family.AUSTRALIA) else "User Not Authenticated"
    answer = error(401, words, "Required to provide Auth information")
    answer.headers["WWW-Authenticate"] = 'Basic realm="Service-now"'
    if needs_code:
        answer.headers["X-MFA_TOKEN"] = "invalid"  # noqa: S105 - a header
    return answer


def page(status: int, title: str) -> Response:
    """An answer that is a page and no JSON."""
    html = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
    return Response(html, status, media_type="text/html;charset=UTF-8")


def dress(answer: Response, more: Mapping[str, str]) -> Response:
    """Add what every answer carries: fixed headers, a transaction, the cookies of a session."""
    for name, value in {**_HEADERS, "X-Transaction-ID": secrets.token_hex(6), **more}.items():
        answer.headers[name] = value
    for name in _COOKIES:
        answer.headers.append("Set-Cookie", f"{name}={secrets.token_hex(8)}; Path=/; HttpOnly; Secure")
    session = f"glide_session_store={secrets.token_hex(16)}; Max-Age={_SESSION_SECONDS}; Path=/; HttpOnly; Secure"
    answer.headers.append("Set-Cookie", session)
    return answer


def links(
    url: URL, parameters: Mapping[str, str], *, limit: int, offset: int, total: int | None, has_next: bool
) -> str:
    """The `Link` header. The first page has a link to the page before it, whose offset is below zero."""
    steps = {"first": 0, "prev": offset - limit}
    if has_next:
        steps["next"] = offset + limit
        if total is not None:
            steps["last"] = (total - 1) // limit * limit
    base = f"{url.scheme}://{url.netloc}{url.path}"
    made = (f'<{base}?{urlencode({**parameters, "sysparm_offset": at})}>;rel="{name}"' for name, at in steps.items())
    return ",".join(made)
