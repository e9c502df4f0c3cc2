"""Who may ask: the client and user that a simulated org accepts, and the tokens it has issued."""

import base64
import binascii
import secrets
import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Credentials:
    """What a simulated org accepts."""

    client_id: str = "plumbline-simulated-client"
    client_secret: str = "simulated-orgs-only"  # noqa: S105 - opens a simulator
    username: str = "integration@example.com"
    password: str = "simulated-orgs-only"  # noqa: S105 - opens a simulator
    api_key: str = "simulated-api-key"
    jwt_public_key: str | None = None
    refresh_token: str = "simulated-refresh-token"  # noqa: S105 - opens a simulator


def basic_credentials(header: str) -> tuple[str, str] | None:
    """User and password of a Basic `Authorization` header; None when it is not one."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return user, password


@dataclass
class Tokens:
    """Issued access tokens and when they end."""

    lifetime_seconds: float = 3600
    _ends: dict[str, float] = field(default_factory=dict)

    def issue(self, *, reuse: bool) -> tuple[str, int]:
        """A token and its remaining seconds; with `reuse`, the one that is still valid."""
        now = time.monotonic()
        if reuse:
            for token, end in self._ends.items():
                if end > now:
                    return token, int(end - now)
        token = secrets.token_urlsafe(32)
        self._ends[token] = now + self.lifetime_seconds
        return token, int(self.lifetime_seconds)

    def is_valid(self, token: str) -> bool:
        """Whether the token was issued and has not ended."""
        return self._ends.get(token, 0) > time.monotonic()

    def expire_all(self) -> None:
        """Make every token invalid."""
        self._ends.clear()
