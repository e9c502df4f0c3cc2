"""Routes about API keys."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from plumbline_score_api.access import KeyManager, NoQuery
from plumbline_score_api.keys.schemas import KeyBody, KeyCreated, KeyItem, KeyPage, KeyQuery
from plumbline_score_api.keys.service import KeyService
from plumbline_score_api.problems import RESPONSES

router = APIRouter(prefix="/v1/keys", tags=["keys"], responses=RESPONSES)

KeyId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]
Empty = Annotated[NoQuery, Query()]


def _keys(request: Request) -> KeyService:
    found: KeyService = request.app.state.services.keys
    return found


@router.get("", operation_id="listKeys")
async def list_keys(request: Request, who: KeyManager, query: Annotated[KeyQuery, Query()]) -> KeyPage:
    """The tenant's keys, the newest first, those that have ended among them."""
    return await _keys(request).page(who.tenant, query)


@router.post("", operation_id="createKey", status_code=201)
async def create_key(request: Request, who: KeyManager, body: KeyBody, _: Empty) -> KeyCreated:
    """Make a key, with at most the caller's roles. The answer is the only sight of its secret."""
    return await _keys(request).issue(who, body)


@router.get("/{key_id}", operation_id="getKey")
async def get_key(request: Request, who: KeyManager, key_id: KeyId, _: Empty) -> KeyItem:
    """One key."""
    return await _keys(request).detail(who.tenant, key_id)


@router.delete("/{key_id}", operation_id="revokeKey", status_code=204, response_class=Response)
async def revoke_key(request: Request, who: KeyManager, key_id: KeyId, _: Empty) -> None:
    """End a key at once. It stays in the list."""
    await _keys(request).end(who, key_id)
