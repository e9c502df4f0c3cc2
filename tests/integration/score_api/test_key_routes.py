"""The routes of keys: list, make, end; what a key may be and when it was used."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from plumbline_score_api.app import Database
from plumbline_score_api.audit.repository import AuditRepository
from plumbline_score_api.keys.repository import KeyRepository
from plumbline_score_api.keys.schemas import Role
from plumbline_score_api.keys.service import KeyService
from plumbline_score_api.keys.uses import LastUses
from plumbline_score_api.services import Services

from tests.integration.score_api.in_process import ALL_ROLES, client_for
from tests.integration.score_api.stage import Stage
from tests.polling import until

READ = {"name": "siem", "roles": ["SecureScore.Read"]}


async def _made(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await client.post("/v1/keys", json={**READ, **changes})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def _as(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


async def test_a_new_key_is_shown_once_and_opens_its_tenant(client: httpx.AsyncClient) -> None:
    made = await _made(client)
    assert made["roles"] == ["SecureScore.Read"]
    assert (made["state"], made["expires_at"], made["last_used_at"]) == ("active", None, None)
    assert made["created_by"].startswith("tests (key:")
    assert (await client.get("/v1/products", headers=_as(made["key"]))).status_code == 200
    assert (await client.get("/v1/keys", headers=_as(made["key"]))).status_code == 403
    secret = made["key"].split("_", 2)[2]
    for path in ("/v1/keys", f"/v1/keys/{made['key_id']}"):
        answer = await client.get(path)
        assert answer.status_code == 200
        assert secret not in answer.text
        assert "secret" not in answer.text
        assert "hash" not in answer.text
    assert (await client.get(f"/v1/keys/{made['key_id']}")).json() == {k: v for k, v in made.items() if k != "key"}


async def test_a_key_is_answered_without_a_trace_in_caches(client: httpx.AsyncClient) -> None:
    assert (await client.post("/v1/keys", json=READ)).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("own", "wanted", "status"),
    [
        ({"Keys.Manage"}, ["SecureScore.Read"], 403),
        ({"Keys.Manage"}, ["Keys.Manage", "Instances.Manage"], 403),
        ({"Keys.Manage", "SecureScore.Read"}, ["SecureScore.ReadWrite"], 403),
        ({"Keys.Manage"}, ["Keys.Manage"], 201),
        ({"Keys.Manage", "SecureScore.ReadWrite"}, ["SecureScore.Read"], 201),
    ],
)
async def test_a_key_has_at_most_the_roles_of_its_maker(
    services: Services, database: Database, own: set[str], wanted: list[str], status: int
) -> None:
    key = await services.keys.create("contoso", "maker", frozenset(map(Role, own)))
    async with client_for(services, key) as client:
        answer = await client.post("/v1/keys", json={"name": "x", "roles": wanted})
    assert answer.status_code == status
    assert await database["keys"].count_documents({"name": "x"}) == (status == 201)


async def test_a_revoked_key_opens_nothing_from_then_on(client: httpx.AsyncClient) -> None:
    made = await _made(client)
    path = f"/v1/keys/{made['key_id']}"
    ended = await client.delete(path)
    assert (ended.status_code, ended.content) == (204, b"")
    assert (await client.get("/v1/products", headers=_as(made["key"]))).status_code == 401
    first = (await client.get(path)).json()
    assert first["state"] == "revoked"
    assert first["revoked_by"].startswith("tests (key:")
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).json() == first, "the first end stands"


async def test_the_audit_trail_says_who_made_and_ended_a_key(client: httpx.AsyncClient) -> None:
    made = await _made(client)
    for _ in range(2):
        await client.delete(f"/v1/keys/{made['key_id']}")
    trail = (await client.get("/v1/audit")).json()["items"]
    mine = [entry for entry in trail if made["key_id"] in (entry["detail"] or "") + entry["identity"]]
    assert [(entry["action"], entry["who"]) for entry in mine] == [("key_revoked", "tests"), ("key_created", "tests")]
    assert all(entry["identity"].startswith("key:") for entry in mine)
    assert mine[1]["detail"] == f"{made['key_id']} siem: SecureScore.Read"
    assert made["key"].split("_", 2)[2] not in str(trail)


async def test_a_key_ends_when_it_was_said_to(client: httpx.AsyncClient, database: Database) -> None:
    made = await _made(client, expires_at="2099-01-01T00:00:00+02:00")
    assert made["expires_at"] == "2098-12-31T22:00:00.000Z"
    past = datetime.now(UTC) - timedelta(seconds=1)
    await database["keys"].update_one({"_id": made["key_id"]}, {"$set": {"expires_at": past}})
    assert (await client.get("/v1/products", headers=_as(made["key"]))).status_code == 401
    assert (await client.get(f"/v1/keys/{made['key_id']}")).json()["state"] == "expired"
    refused = await client.post("/v1/keys", json={**READ, "expires_at": past.isoformat()})
    assert refused.status_code == 422
    assert "past" in refused.json()["detail"]


async def test_pages_hold_every_key_once_the_newest_first(client: httpx.AsyncClient, services: Services) -> None:
    for number in range(7):
        await services.keys.create("contoso", f"k{number}", ALL_ROLES)
    await services.keys.create("fabrikam", "theirs", ALL_ROLES)
    seen: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await client.get("/v1/keys", params={"limit": 3, **cursor})).json()
        seen += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert len(seen) == len({key["key_id"] for key in seen}) == 8
    assert [key["created_at"] for key in seen] == sorted((key["created_at"] for key in seen), reverse=True)
    assert "theirs" not in {key["name"] for key in seen}


async def test_keys_of_one_moment_are_all_listed(client: httpx.AsyncClient, database: Database) -> None:
    for number in range(5):
        await _made(client, name=f"k{number}")
    await database["keys"].update_many({}, {"$set": {"created_at": datetime(2026, 1, 1, tzinfo=UTC)}})
    seen: set[str] = set()
    cursor: dict[str, str] = {}
    for _ in range(3):
        page = (await client.get("/v1/keys", params={"limit": 2, **cursor})).json()
        seen |= {key["key_id"] for key in page["items"]}
        cursor = {"cursor": page["next_cursor"]}
    assert len(seen) == 6


@pytest.mark.parametrize("key_id", ["x", "0123456789ABCDEF", "0123456789abcdef0", "$ne"])
async def test_what_is_no_key_id_is_refused(client: httpx.AsyncClient, key_id: str) -> None:
    assert (await client.get(f"/v1/keys/{key_id}")).status_code == 422
    assert (await client.delete(f"/v1/keys/{key_id}")).status_code == 422


async def test_a_cursor_of_another_list_or_tenant_is_refused(client: httpx.AsyncClient, services: Services) -> None:
    for number in range(3):
        await services.keys.create("fabrikam", f"k{number}", ALL_ROLES)
    key = await services.keys.create("fabrikam", "tests", ALL_ROLES)
    async with client_for(services, key) as other:
        theirs = (await other.get("/v1/keys", params={"limit": 1})).json()["next_cursor"]
    for cursor in (theirs, "x", "e30", theirs[:-2]):
        assert (await client.get("/v1/keys", params={"cursor": cursor})).status_code == 422


async def test_there_is_a_most_of_active_keys(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, services: Services
) -> None:
    monkeypatch.setattr("plumbline_score_api.keys.service.MOST_ACTIVE_KEYS", 3)
    made = [await _made(client, name=f"k{number}") for number in range(2)]
    refused = await client.post("/v1/keys", json=READ)
    assert refused.status_code == 409
    assert "revoke" in refused.json()["detail"]
    assert (await client.delete(f"/v1/keys/{made[0]['key_id']}")).status_code == 204
    await _made(client)


# --- the last use


async def test_a_last_use_only_moves_forward(services: Services, database: Database) -> None:
    key_id = (await services.keys.create("contoso", "k", ALL_ROLES)).split("_")[1]
    repository = KeyRepository(database)
    later = datetime(2026, 1, 2, tzinfo=UTC)
    await repository.used("contoso", key_id, later)
    await repository.used("contoso", key_id, datetime(2026, 1, 1, tzinfo=UTC))
    await repository.used("fabrikam", key_id, datetime(2026, 1, 3, tzinfo=UTC))
    found = await repository.find(key_id)
    assert found is not None
    assert found.last_used_at == later


def test_the_process_writes_the_last_use_beside_the_requests(stage: Stage) -> None:
    _, client = stage.serve()
    began = datetime.now(UTC) - timedelta(seconds=1)
    for _ in range(20):
        assert client.get("/v1/products").status_code == 200

    def used() -> Any:
        return client.get("/v1/keys").json()["items"][0]["last_used_at"]

    until(used, within_seconds=10, what="the last use is written")
    first = used()
    assert began <= datetime.fromisoformat(first) <= datetime.now(UTC)
    assert used() == first, "within a minute it stays"


async def test_a_database_that_does_not_take_it_disturbs_nobody(services: Services, database: Database) -> None:
    written: list[str] = []

    async def fail(tenant: str, key_id: str, at: datetime) -> bool:
        written.append(key_id)
        return False

    uses = LastUses(fail)
    keys = KeyService(KeyRepository(database), AuditRepository(database), uses)
    key = await keys.create("contoso", "k", ALL_ROLES)
    assert await keys.authenticate(key) is not None
    assert written == [], "not in the way of the request"
    await uses.flush()
    assert written == [key.split("_")[1]]
