"""Making and checking keys: `plk_<id>_<secret>`, 256 random bits behind the id."""

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime, timedelta

from plumbline_score_api.keys.repository import KeyRepository
from plumbline_score_api.keys.schemas import ApiKey, Caller, Role

KEY_ID_LENGTH = 16
_FORM = re.compile(r"plk_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


class KeyService:
    """Keys of all tenants."""

    def __init__(self, repository: KeyRepository) -> None:
        self._repository = repository

    async def create(self, tenant: str, name: str, roles: frozenset[Role], *, expires_days: int | None = None) -> str:
        """A new key. This is the only moment at which it can be seen."""
        key_id, secret, now = secrets.token_hex(KEY_ID_LENGTH // 2), secrets.token_urlsafe(32), datetime.now(UTC)
        key = ApiKey(
            key_id=key_id,
            secret_hash=_hash(secret),
            tenant=tenant,
            name=name,
            roles=roles,
            created_at=now,
            expires_at=now + timedelta(days=expires_days) if expires_days else None,
        )
        await self._repository.insert(tenant, key)
        return f"plk_{key_id}_{secret}"

    async def revoke(self, tenant: str, start: str) -> list[str]:
        """End the tenant's key whose id begins so. The ids that do: with none or several, nothing is done."""
        found = [key.key_id for key in await self._repository.list(tenant) if key.key_id.startswith(start)]
        if len(found) == 1:
            await self._repository.revoke(tenant, found[0], datetime.now(UTC))
        return found

    async def authenticate(self, text: str) -> Caller | None:
        """The caller behind a key; None when it is malformed, unknown, ended or revoked."""
        match = _FORM.fullmatch(text)
        if match is None:
            return None
        key = await self._repository.find(match.group(1))
        if key is None or not hmac.compare_digest(key.secret_hash, _hash(match.group(2))):
            return None
        if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= datetime.now(UTC)):
            return None
        return Caller(tenant=key.tenant, name=key.name, roles=key.roles)
