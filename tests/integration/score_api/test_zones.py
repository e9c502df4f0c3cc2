"""Zones: their limits, who set them, and every view that says them."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from plumbline_contracts.events import Outcome
from plumbline_score_api.app import Database
from plumbline_score_api.audit.schemas import Author
from plumbline_score_api.keys.schemas import Role
from plumbline_score_api.problems import MEDIA_TYPE
from plumbline_score_api.projection.upkeep import Upkeep
from plumbline_score_api.services import Services
from plumbline_score_api.zones.schemas import ZonesBody

from tests.integration.score_api.events import START, Judged, definition, result, status
from tests.integration.score_api.in_process import client_for

DEFAULT = {"fair_from": 50, "good_from": 80, "is_default": True, "set_by": None, "set_at": None}


@pytest.fixture
async def served(upkeep: Upkeep) -> None:
    """sales-eu has 6 of 9 points."""
    await upkeep.projection.take_status(status())
    await upkeep.projection.take_definitions([definition("C-1", frameworks={"soc2": ["CC6.1"]})])
    for part in Judged(1, [result("C-1", Outcome.FAIL), result("C-2"), result("C-3")]).parts():
        await upkeep.projection.take_part(part)


async def _get(client: httpx.AsyncClient, path: str, **params: Any) -> Any:
    return (await client.get(path, params=params)).raise_for_status().json()


async def _set(client: httpx.AsyncClient, fair: float, good: float, **more: Any) -> httpx.Response:
    return await client.put("/v1/zones", json={"fair_from": fair, "good_from": good, **more})


async def _zones(client: httpx.AsyncClient) -> dict[str, str | None]:
    """The zone that every view of the same 6 of 9 points says."""
    views = ("/v1/secure-score", "/v1/products/salesforce", "/v1/instances/sales-eu/score", "/v1/instances/sales-eu")
    found = {path: (await _get(client, path))["zone"] for path in views}
    lists = ("/v1/products", "/v1/instances", "/v1/categories")
    found |= {path: (await _get(client, path))["items"][0]["zone"] for path in lists}
    for resolution in ("day", "change"):
        page = await _get(client, "/v1/history", resolution=resolution)
        found[f"history by {resolution}"] = page["items"][-1]["zone"]
    found["trends"] = (await _get(client, "/v1/history/trends"))["items"][-1]["zone"]
    found["compare"] = (await _get(client, "/v1/history/compare", since=START.isoformat()))["after"]["zone"]
    found["peers"] = (await _get(client, "/v1/instances/sales-eu/peers"))["this"]["score"]["zone"]
    found["side"] = (await _get(client, "/v1/instances/sales-eu/compare/sales-eu"))["other"]["score"]["zone"]
    return found


async def test_every_view_and_the_history_say_the_zone(client: httpx.AsyncClient, served: None) -> None:
    assert set((await _zones(client)).values()) == {"fair"}
    (await _set(client, 30, 66.67)).raise_for_status()
    assert set((await _zones(client)).values()) == {"good"}
    (await _set(client, 66.68, 90)).raise_for_status()
    assert set((await _zones(client)).values()) == {"poor"}
    framework = await _get(client, "/v1/frameworks/soc2")
    assert (framework["percentage"], framework["zone"], framework["requirements"][0]["zone"]) == (0, "poor", "poor")


async def test_what_has_no_points_has_no_zone(client: httpx.AsyncClient) -> None:
    assert (await _get(client, "/v1/secure-score"))["zone"] is None


async def test_limits_are_the_tenant_s_own_and_say_who_set_them(client: httpx.AsyncClient, services: Services) -> None:
    assert await _get(client, "/v1/zones") == DEFAULT
    answer = await _set(client, 40, 70.5, note="The board agreed.")
    found = answer.json()
    assert (found["fair_from"], found["good_from"], found["is_default"], found["set_by"]) == (40, 70.5, False, "tests")
    assert await _get(client, "/v1/zones") == found
    other = await services.keys.create("fabrikam", "eyes", frozenset({Role.READ}))
    async with client_for(services, other) as stranger:
        assert await _get(stranger, "/v1/zones") == DEFAULT
    cleared = await client.delete("/v1/zones")
    assert cleared.json() == DEFAULT
    audit = (await _get(client, "/v1/audit", action=["zones_set", "zones_cleared"]))["items"]
    assert [(entry["action"], entry["before"], entry["after"], entry.get("note")) for entry in audit] == [
        ("zones_cleared", "fair from 40 %, good from 70.5 %", "fair from 50 %, good from 80 %", None),
        ("zones_set", "fair from 50 %, good from 80 %", "fair from 40 %, good from 70.5 %", "The board agreed."),
    ]


async def test_saying_it_again_changes_nothing(client: httpx.AsyncClient) -> None:
    first = (await _set(client, 40, 70)).json()
    assert (await _set(client, 40, 70, note="again")).json() == first
    for _ in range(2):
        await client.delete("/v1/zones")
    assert len((await _get(client, "/v1/audit"))["items"]) == 2


async def test_who_does_not_know_what_stands_changes_nothing(client: httpx.AsyncClient) -> None:
    tag = (await client.get("/v1/zones")).headers["etag"]
    body = {"fair_from": 40, "good_from": 70}
    changed = await client.put("/v1/zones", json=body, headers={"If-Match": tag})
    assert changed.status_code == 200
    for method in ("PUT", "DELETE"):
        answer = await client.request(
            method, "/v1/zones", json=body if method == "PUT" else None, headers={"If-Match": tag}
        )
        assert (answer.status_code, answer.headers["content-type"]) == (412, MEDIA_TYPE)
    again = await client.delete("/v1/zones", headers={"If-Match": changed.headers["etag"]})
    assert (again.status_code, again.json()) == (200, DEFAULT)


@pytest.mark.parametrize(
    "body",
    [
        {}, [], None, {"fair_from": 40}, {"fair_from": 80, "good_from": 40}, {"fair_from": 40, "good_from": 40},
        {"fair_from": 0, "good_from": 40}, {"fair_from": 40, "good_from": 101}, {"fair_from": "40", "good_from": 70},
        {"fair_from": {"$gt": 0}, "good_from": 70}, {"fair_from": 40, "good_from": 70, "best_from": 90},
        {"fair_from": 40, "good_from": 70, "note": ""},
    ],
)  # fmt: skip
async def test_limits_that_make_no_sense_are_refused(client: httpx.AsyncClient, body: Any) -> None:
    answer = await client.put("/v1/zones", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, MEDIA_TYPE)
    assert await _get(client, "/v1/zones") == DEFAULT


async def test_who_may_only_read_sets_none(services: Services) -> None:
    key = await services.keys.create("contoso", "reader", frozenset({Role.READ}))
    async with client_for(services, key) as reader:
        assert (await reader.get("/v1/zones")).status_code == 200
        assert (await _set(reader, 40, 70)).status_code == 403
        assert (await reader.delete("/v1/zones")).status_code == 403


async def test_choices_at_the_same_time_are_all_in_the_audit_trail(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(_set(client, 10 + number, 90) for number in range(8)))
    done = [answer.json()["fair_from"] for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in answers} <= {200, 409}
    audit = (await _get(client, "/v1/audit"))["items"]
    assert sorted(entry["after"] for entry in audit) == sorted(f"fair from {fair:g} %, good from 90 %" for fair in done)
    assert (await _get(client, "/v1/zones"))["fair_from"] in done


async def test_an_audit_entry_that_waits_is_told_by_the_projector(
    client: httpx.AsyncClient, services: Services, upkeep: Upkeep, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API was killed between the write and the audit trail."""

    async def killed(_: str) -> None:
        """Nothing is told."""

    with monkeypatch.context() as patched:
        patched.setattr(services.zones, "tell", killed)
        await services.zones.choose("contoso", Author("ann", "key:ann"), ZonesBody(fair_from=40, good_from=70))
    assert (await _get(client, "/v1/audit"))["items"] == []
    for _ in range(2):
        await upkeep.round(lambda _: True, datetime.now(UTC))
    (entry,) = (await _get(client, "/v1/audit"))["items"]
    assert (entry["who"], entry["action"]) == ("ann", "zones_set")
    assert await database["zones"].count_documents({"is_pending": True}) == 0
