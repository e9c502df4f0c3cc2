"""Making and checking keys: `plk_<id>_<secret>`, 256 random bits behind the id."""

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime, timedelta

from plumbline_score_api.audit.repository import AuditRepository
from plumbline_score_api.audit.schemas import Action, AuditEntry, Author
from plumbline_score_api.keys.repository import KeyRepository
from plumbline_score_api.keys.schemas import (
    ApiKey,
    Caller,
    KeyBody,
    KeyCreated,
    KeyItem,
    KeyPage,
    KeyQuery,
    KeyState,
    Restriction,
    Role,
)
from plumbline_score_api.keys.uses import LastUses
from plumbline_score_api.problems import ConflictError, ForbiddenError, InvalidError, NotFoundError
from plumbline_score_api.recommendations import cursors
from plumbline_score_api.sharing import SharedReads

OPERATOR = Author("command line", "command-line")
"""Who makes and ends keys where the database itself can be reached."""

KEY_ID_LENGTH = 16
MOST_ACTIVE_KEYS = 1000
PREFIX = "plk_"
_FORM = re.compile(PREFIX + r"([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def may_grant(own: frozenset[Role], wanted: frozenset[Role]) -> bool:
    """Whether a caller with `own` roles may give `wanted` ones: no more than it can do itself."""
    reading = {Role.READ} if Role.WRITE in own else set()
    return wanted <= own | reading


class KeyService:
    """Keys of all tenants."""

    def __init__(self, repository: KeyRepository, audit: AuditRepository, uses: LastUses | None = None) -> None:
        """Without `uses` nobody keeps when a key was last used."""
        self._repository, self._audit, self._uses = repository, audit, uses
        self._looks: SharedReads[str, ApiKey | None] = SharedReads(repository.find)

    async def create(
        self,
        tenant: str,
        name: str,
        roles: frozenset[Role],
        *,
        restriction: Restriction | None = None,
        expires_days: int | None = None,
        who: Author | None = None,
    ) -> str:
        """A new key, whatever its roles. This is the only moment at which it can be seen.

        Without `who` the audit trail does not know of it. Raises InvalidError.
        """
        _refuse_restricted_manager(roles, restriction)
        ends = datetime.now(UTC) + timedelta(days=expires_days) if expires_days else None
        _, text = await self._make(
            tenant, KeyBody(name=name, roles=roles, expires_at=ends, restriction=restriction), who
        )
        return text

    async def issue(self, who: Caller, wanted: KeyBody) -> KeyCreated:
        """A new key of the caller's tenant. Raises ForbiddenError, InvalidError, ConflictError."""
        if not may_grant(who.roles, wanted.roles):
            raise ForbiddenError("A key cannot have a role that its maker lacks.")
        _refuse_restricted_manager(wanted.roles, wanted.restriction)
        now = datetime.now(UTC)
        if wanted.expires_at is not None and wanted.expires_at <= now:
            raise InvalidError("expires_at lies in the past; such a key would open nothing.")
        if await self._repository.count_active(who.tenant, now) >= MOST_ACTIVE_KEYS:
            raise ConflictError(f"There are {MOST_ACTIVE_KEYS} active keys; revoke those that nobody uses.")
        key, text = await self._make(who.tenant, wanted, Author.of(who))
        return KeyCreated(**_item(key, now).model_dump(), key=text)

    async def page(self, tenant: str, query: KeyQuery) -> KeyPage:
        """A page of the tenant's keys, the newest first. Raises InvalidError for a bad cursor."""
        scope, now = f"keys of {tenant}", datetime.now(UTC)
        found = await self._repository.page(tenant, _position(query.cursor, scope), query.limit + 1)
        shown = found[: query.limit]
        more = (
            cursors.encode(scope, shown[-1].created_at.isoformat(), shown[-1].key_id)
            if len(found) > query.limit
            else None
        )
        return KeyPage(items=[_item(key, now) for key in shown], next_cursor=more)

    async def detail(self, tenant: str, key_id: str) -> KeyItem:
        """One key of the tenant. Raises NotFoundError."""
        key = await self._repository.find(key_id)
        if key is None or key.tenant != tenant:
            raise NotFoundError(f"No key {key_id}.")
        return _item(key, datetime.now(UTC))

    async def end(self, who: Caller, key_id: str) -> None:
        """End a key of the caller's tenant at once; doing it again changes nothing. Raises NotFoundError."""
        if not await self._revoke(who.tenant, key_id, Author.of(who)):
            raise NotFoundError(f"No key {key_id}.")

    async def revoke(self, tenant: str, start: str) -> list[str]:
        """End the tenant's key whose id begins so. The ids that do: with none or several, nothing is done."""
        found = [key.key_id for key in await self._repository.list(tenant) if key.key_id.startswith(start)]
        if len(found) == 1:
            await self._revoke(tenant, found[0], OPERATOR)
        return found

    async def authenticate(self, text: str) -> Caller | None:
        """The caller behind a key; None when it is malformed, unknown, ended or revoked."""
        match = _FORM.fullmatch(text)
        if match is None:
            return None
        key = await self._looks.get(match.group(1))
        if key is None or not hmac.compare_digest(key.secret_hash, _hash(match.group(2))):
            return None
        if _state(key, datetime.now(UTC)) is not KeyState.ACTIVE:
            return None
        if self._uses is not None:
            self._uses.note(key.tenant, key.key_id)
        return Caller(
            tenant=key.tenant,
            name=key.name,
            roles=key.roles,
            identity=f"key:{key.key_id}",
            restriction=key.restriction,
        )

    async def _make(self, tenant: str, wanted: KeyBody, who: Author | None) -> tuple[ApiKey, str]:
        key_id, secret = secrets.token_hex(KEY_ID_LENGTH // 2), secrets.token_urlsafe(32)
        key = ApiKey(
            key_id=key_id,
            secret_hash=_hash(secret),
            tenant=tenant,
            name=wanted.name,
            roles=wanted.roles,
            restriction=wanted.restriction,
            created_at=datetime.now(UTC),
            created_by=_signed(who) if who else None,
            expires_at=wanted.expires_at,
        )
        await self._repository.insert(tenant, key)
        if who is not None:
            await self._audit.add(tenant, [_entry(Action.KEY_CREATED, key, who, key.created_at)])
        return key, f"{PREFIX}{key_id}_{secret}"

    async def _revoke(self, tenant: str, key_id: str, who: Author) -> bool:
        """End a key; whether there is one. Doing it again only adds what a crash kept out of the audit trail."""
        key = await self._repository.revoke(tenant, key_id, datetime.now(UTC), _signed(who))
        if key is not None and key.revoked_at is not None:
            await self._audit.add(tenant, [_entry(Action.KEY_REVOKED, key, who, key.revoked_at)])
        return key is not None


def _position(cursor: str | None, scope: str) -> tuple[datetime, str] | None:
    """Creation time and id of the last key that was shown. Raises InvalidError."""
    if cursor is None:
        return None
    at, key_id = cursors.decode(cursor, scope, str, str)
    try:
        return datetime.fromisoformat(str(at)), str(key_id)
    except ValueError as error:
        raise InvalidError("The cursor is not one of ours; start again without it.") from error


def _entry(action: Action, key: ApiKey, who: Author, at: datetime) -> AuditEntry:
    """One per key and action, whoever does it again."""
    ends = f", until {key.expires_at:%Y-%m-%d %H:%M}" if key.expires_at else ""
    sees = f"; {key.restriction}" if key.restriction else ""
    return AuditEntry(
        entry_id=f"key.{key.key_id}.{action}",
        at=at,
        who=who.name,
        identity=who.identity,
        action=action,
        detail=f"{key.key_id} {key.name}: {', '.join(sorted(key.roles))}{ends}{sees}",
    )


def _refuse_restricted_manager(roles: frozenset[Role], restriction: Restriction | None) -> None:
    """Raise InvalidError for a key that could make itself another one which sees more."""
    if restriction is not None and Role.KEYS in roles:
        raise InvalidError(f"A key with a restriction cannot have the role {Role.KEYS}: it could make one without.")


def _signed(who: Author) -> str:
    """Who did it, for people and beyond doubt."""
    return f"{who.name} ({who.identity})"


def _state(key: ApiKey, now: datetime) -> KeyState:
    if key.revoked_at is not None:
        return KeyState.REVOKED
    return KeyState.EXPIRED if key.expires_at is not None and key.expires_at <= now else KeyState.ACTIVE


def _item(key: ApiKey, now: datetime) -> KeyItem:
    stored = key.model_dump(exclude={"secret_hash", "tenant", "roles", "restriction"})
    return KeyItem(**stored, roles=sorted(key.roles), restriction=key.restriction, state=_state(key, now))
