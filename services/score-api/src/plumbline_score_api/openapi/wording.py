"""What the document says in words: the API as a whole, tags, problems, and parameters that many routes share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DESCRIPTION = """\
Secure Scores of Salesforce and ServiceNow, with recommendations and evidence.

- **Who asks.** Every request carries `Authorization: Bearer …`: an API key of Plumbline, or an access token of an
  OpenID Connect issuer that the operator trusts. It says the tenant, through which everything is seen, and the roles.
- **Errors** are problem details (RFC 9457) of the type `application/problem+json`. The `detail` says what to do next.
- **Lists** come in pages: `next_cursor` is the `cursor` of the next page, and null on the last one. A cursor is opaque
  and belongs to the list and the filters that it was made for.
- **Unknown** parameters and fields are refused, so that a misspelt filter is not a filter that matches everything.
- **Answers grow**: ignore fields and enumeration values that you do not know. Nothing is removed or re-typed under
  `/v1`.
- **ETags.** Good answers to GET have one, and `If-None-Match` saves the body. Where a write takes `If-Match`, it is
  done only if nobody else wrote meanwhile.
- **Moments** are RFC 3339 with an offset; answers are in UTC.
"""

TAGS: Mapping[str, str] = {
    "scores": "Secure Scores of the tenant, its products, instances, categories and frameworks.",
    "recommendations": "What to change, in which order, why and how, with the evidence.",
    "statuses": "What people decided about recommendations, one by one, many at once, or for all instances.",
    "instances": "Connected instances: health, runs, datasets, and whether they count in Secure Score.",
    "history": "Scores over time, and what changed them.",
    "comparisons": "Two instances side by side, and one among its peers.",
    "zones": "Limits of the tenant's own between a bad, a fair and a good score.",
    "controls": "The catalogue of controls.",
    "events": "What happens, as it happens.",
    "findings": "What SIEMs are told, for those who poll.",
    "webhooks": "Addresses that are told what happens.",
    "exports": "Whole lists as files.",
    "microsoft graph": "Secure Score in the shape of Microsoft Graph.",
    "audit": "Who changed what, and when.",
    "keys": "API keys of machines.",
}
"""In the order of the document; only those that routes have stand in it."""


@dataclass(frozen=True)
class Told:
    """A problem as the document tells it."""

    title: str
    description: str
    detail: str
    headers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its name among the components."""
        return self.title.replace(" ", "")


PROBLEMS: Mapping[int, Told] = {
    400: Told(
        "Bad Request",
        "The body is not JSON, or not JSON that all read alike: a name twice, a number without a value.",
        "The body is not JSON: Expecting value at character 12.",
    ),
    401: Told(
        "Unauthorized",
        "No key or token, or one that is not valid. Why, only the log says.",
        "The key or token is not valid.",
        ("WWW-Authenticate",),
    ),
    403: Told(
        "Forbidden",
        "The caller lacks the role.",
        "The caller lacks the role SecureScore.Read or SecureScore.ReadWrite.",
    ),
    404: Told("Not Found", "There is no such thing in the caller's tenant.", "No instance sales-eu is connected."),
    409: Told(
        "Conflict",
        "It collides with what stands, or with what somebody else wrote at the same moment.",
        "Somebody else changed it at the same moment; read it again.",
    ),
    412: Told(
        "Precondition Failed",
        "What stands is not what `If-Match` names. Read it again, and decide anew.",
        "The status is not the one that you know; read it again.",
    ),
    413: Told(
        "Content Too Large",
        "The body is larger than 64 KB, or does not say how long it is.",
        "Send at most 65536 bytes, with a Content-Length.",
    ),
    415: Told(
        "Unsupported Media Type",
        "The body is not announced as JSON.",
        "Send the body as JSON, with `Content-Type: application/json`.",
    ),
    422: Told(
        "Unprocessable Content",
        "A value cannot be used, is missing, or is not known; `errors` says where.",
        "The request is not as documented; see `errors`.",
    ),
    429: Told(
        "Too Many Requests",
        "The caller asks more than is allowed, or logins from its address failed too often.",
        "This caller asks too much.",
        ("Retry-After",),
    ),
    500: Told(
        "Internal Server Error",
        "Something is broken. The `trace_id` finds it in the logs.",
        "Something is broken here. The logs say more under the trace id.",
    ),
    503: Told(
        "Service Unavailable",
        "A part that the API needs does not answer now, or too many requests are being answered. Try again.",
        "A dependency does not answer now; try again.",
        ("Retry-After",),
    ),
}

GRAPH_ERRORS: Mapping[int | str, Told] = {
    400: Told(
        "Graph Bad Request",
        "An option or a value that cannot be used, or a body that is not JSON; `details` says where.",
        "The query option '$search' is not supported here.",
    ),
    401: Told("Graph Unauthorized", PROBLEMS[401].description, PROBLEMS[401].detail, PROBLEMS[401].headers),
    403: Told("Graph Forbidden", PROBLEMS[403].description, PROBLEMS[403].detail),
    404: Told("Graph Not Found", PROBLEMS[404].description, "There is no control profile 'SF-ID-45'."),
    405: Told(
        "Graph Method Not Allowed", "The path has no such method; `Allow` says which.", "Here are only GET, HEAD."
    ),
    409: Told(
        "Graph Conflict",
        "Others were deciding about some instances at the same moment. Sending it again does the rest.",
        "Decided for 1 of 2 instances; others are changing sales-eu. Send it again.",
    ),
    413: Told("Graph Content Too Large", PROBLEMS[413].description, PROBLEMS[413].detail),
    429: Told("Graph Too Many Requests", PROBLEMS[429].description, PROBLEMS[429].detail, PROBLEMS[429].headers),
    500: Told(
        "Graph Internal Server Error",
        "Something is broken. The `request-id` finds it in the logs.",
        PROBLEMS[500].detail,
    ),
    503: Told("Graph Service Unavailable", PROBLEMS[503].description, PROBLEMS[503].detail, PROBLEMS[503].headers),
    "4XX": Told("Graph Client Error", "Another request that cannot be answered as it was sent.", PROBLEMS[415].detail),
}
"""What the routes in the shape of Microsoft Graph answer in place of problems."""

HEADERS: Mapping[str, Mapping[str, Any]] = {
    "ETag": {
        "description": "Names exactly this state, for `If-None-Match` and `If-Match`",
        "schema": {"type": "string"},
        "example": '"6f1ed002ab5595859014ebf0951522d9"',
    },
    "Retry-After": {
        "description": "Seconds after which to try again",
        "schema": {"type": "integer", "minimum": 0},
        "example": 7,
    },
    "WWW-Authenticate": {
        "description": "How to log in",
        "schema": {"type": "string"},
        "example": 'Bearer realm="plumbline"',
    },
}

IF_NONE_MATCH: Mapping[str, Any] = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of the answer that you have; while it is current the answer is 304, without a body",
    "schema": {"type": "string"},
}

PARAMETERS: Mapping[str, tuple[str, Any]] = {
    "instance": ("The id of an instance", "sales-eu"),
    "other": ("The id of the instance to compare with, which may be the same", "sales-us"),
    "webhook_id": ("The id of a webhook", "0123456789abcdef"),
    "delivery_id": ("The id of a message, which its header `webhook-id` has", "msg_0123456789abcdef0123456789abcdef"),
    "control": ("The id of a control, or an alias such as Microsoft's", "SF-ID-45"),
    "framework": ("The id of a framework", "nist_800_53_r5"),
    "product": ("A product", "salesforce"),
    "key_id": ("The id of a key, which stands in the key behind `plk_`", "0123456789abcdef"),
    "limit": ("How many on one page", 50),
    "cursor": ("`next_cursor` of the page before", None),
    "sort": ("The order", None),
    "since": ("From this moment on", "2026-11-01T00:00:00Z"),
    "until": ("Before this moment", "2026-12-01T00:00:00Z"),
    "outcome": ("Outcomes", None),
    "status": ("Statuses", None),
    "category": ("A category", None),
    "severity": ("Severities", None),
    "action": ("What was done", None),
    "who": ("Names of keys or people", None),
    "kind": ("What changed", None),
    "state": ("What became of a message", None),
    "type": ("What a message tells", None),
    "$top": ("How many on one page", 50),
    "$skip": ("How many to leave out in front", None),
    "$count": ("Whether `@odata.count` says how many there are in all", None),
    "$orderby": ("Properties, by comma, each with `asc` or `desc`", None),
    "resolution": ("A point per day, or one per change", None),
}
"""What a parameter is and an example, where its route does not say so."""

KEY = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "plk_<id>_<secret>",
    "description": "An API key of Plumbline. Made with `POST /v1/keys` or `score-api keys create`.",
}
TOKEN = {
    "type": "openIdConnect",
    "openIdConnectUrl": "https://issuer.example/.well-known/openid-configuration",
    "description": (
        "An access token of an OpenID Connect issuer that the operator trusts; "
        "the address here stands for that issuer's."
    ),
}
