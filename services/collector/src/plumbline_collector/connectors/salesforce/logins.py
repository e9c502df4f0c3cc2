"""Logins in groups, and their totals. Pure.

Source: Object Reference, LoginHistory. Its Status is a text that the org may show in words that are not known here.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from plumbline_contracts.events import Row

from plumbline_collector.connectors.salesforce.cells import text
from plumbline_collector.connectors.salesforce.datasets import joined

MODERN_TLS = frozenset({"TLS 1.2", "TLS 1.3"})
PASSWORD_FLOWS = frozenset({"oauthusernamepassword"})
"""LoginSubType of the OAuth flow that takes a password, as `_word` has API name and label."""
SOAP_TYPES = frozenset({"otherapi", "otherapexapi", "partner", "partnerproduct"})
"""LoginType of logins by the SOAP call, as API name and as English label, each as `_word` has it."""
OAUTH_TYPES = frozenset({"oauth", "oauth2", "remoteaccessclient", "remoteaccess20"})
"""The same of logins by OAuth."""
_FLOW = ("LoginType", "LoginSubType", "ApiType")
_FAILED = ("failed", "invalid", "user is frozen", "user lockout", "password lockout", "restricted", "no salesforce.com")


def login_group(record: Mapping[str, Any], _: datetime) -> Row:
    """What a group of logins has in common. Whether it succeeded is absent where the status is not known."""
    kind, flow, api = (text(record.get(column)) for column in _FLOW)
    tls, status = text(record.get("TlsProtocol")), text(record.get("Status"))
    row: Row = {"id": joined(kind, flow, api, tls, status)}
    if all(column in record for column in _FLOW):
        row["is_weak_flow"] = _is_weak(_word(kind), _word(flow), _word(api))
    if "TlsProtocol" in record:
        row["is_modern_tls"] = tls in MODERN_TLS
    if status.lower() == "success":
        row["is_successful"] = True
    elif status.lower().startswith(_FAILED):
        row["is_successful"] = False
    return row


def _is_weak(kind: str, flow: str, api: str) -> bool:
    """Whether a login carried a user name and password of a client: by OAuth, or by the SOAP call.

    An org may show the login type in another language. ApiType (`SOAP Partner`) is English in all of them, but says
    nothing of an OAuth login.
    """
    if flow in PASSWORD_FLOWS or kind in SOAP_TYPES:
        return True
    return api.startswith("soap") and kind not in OAUTH_TYPES and not flow.startswith("oauth")


def _word(value: str) -> str:
    """A value without case and signs, so that `OauthUsernamePassword` and its label are one."""
    return "".join(letter for letter in value.casefold() if letter.isalnum())


class LoginTotals:
    """Adds up groups of logins."""

    def __init__(self) -> None:
        self._logins = self._modern = self._known_tls = self._weak = 0
        self._has_tls = self._has_flows = True

    def add(self, row: Row) -> None:
        """One row of `login_activity`."""
        size = row.get("logins")
        if not isinstance(size, int):
            return
        self._logins += size
        self._has_tls &= "is_modern_tls" in row
        self._has_flows &= "is_weak_flow" in row
        self._known_tls += size if str(row.get("tls_protocol", "")).startswith("TLS") else 0
        self._modern += size if row.get("is_modern_tls") is True else 0
        self._weak += size if row.get("is_weak_flow") is True and row.get("is_successful") is not False else 0

    def document(self) -> Row:
        """The `login_statistics` document. Without a login of known protocol there is no share, not even a full one."""
        row: Row = {"logins": self._logins}
        if self._has_tls:
            row["modern_tls_logins"] = self._modern
            if self._known_tls:
                row["modern_tls_percent"] = 100.0 * self._modern / self._known_tls
        return {**row, "weak_flow_logins": self._weak} if self._has_flows else row
