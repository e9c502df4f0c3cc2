"""Instances side by side: with each other, with the past, with their peers."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from plumbline_contracts.events import Outcome, Product
from plumbline_score_api.problems import MEDIA_TYPE
from plumbline_score_api.projection.upkeep import Retention, Upkeep

from tests.integration.score_api.events import START, Judged, definition, result, status

Take = Callable[..., Awaitable[None]]
EU, US = "/v1/instances/sales-eu", "/v1/instances/sales-us"
FAIL, PARTIAL = Outcome.FAIL, Outcome.PARTIAL


@pytest.fixture
async def take(upkeep: Upkeep) -> Take:
    """Projects evaluations."""

    async def project(*evaluations: Judged) -> None:
        for judged in evaluations:
            for part in judged.parts():
                await upkeep.projection.take_part(part)

    return project


@pytest.fixture
async def served(upkeep: Upkeep, take: Take) -> None:
    """sales-eu has 4.5 of 9 points, sales-us 6 of 9, sales-jp 0 of 3; itsm is of another product."""
    await upkeep.projection.take_definitions([definition("S-1", category="Apps", frameworks={"soc2": ["CC6.1"]})])
    for name in ("sales-eu", "sales-us", "sales-jp", "sales-new"):
        await upkeep.projection.take_status(status(name))
    await take(
        Judged(1, [result("C-1", FAIL), result("C-2", PARTIAL), result("C-3")]),
        Judged(1, [result("C-1"), result("C-2", FAIL), result("S-1")], instance="sales-us"),
        Judged(1, [result("C-1", FAIL), result("C-3", Outcome.NOT_APPLICABLE)], instance="sales-jp"),
        Judged(1, [result("C-1")], instance="itsm", product=Product.SERVICENOW),
    )


async def _get(client: httpx.AsyncClient, path: str, **params: Any) -> Any:
    return (await client.get(path, params=params)).raise_for_status().json()


def _told(found: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(item["control_id"], item["is_different"], item["points"]) for item in found["items"]]


async def test_two_instances_are_compared_control_by_control(client: httpx.AsyncClient, served: None) -> None:
    found = await _get(client, f"{EU}/compare/sales-us")
    assert (found["product"], found["different"], found["total"], found["points"]) == ("salesforce", 4, 4, -1.5)
    assert (found["this"]["instance"], found["this"]["score"]["current"]) == ("sales-eu", 4.5)
    assert (found["other"]["instance"], found["other"]["score"]["current"]) == ("sales-us", 6)
    assert _told(found) == [("C-1", True, -3), ("C-3", True, 3), ("S-1", True, -3), ("C-2", True, 1.5)]
    first, _, only_there, last = found["items"]
    assert (first["this"]["outcome"], first["other"]["outcome"]) == ("FAIL", "PASS")
    assert (first["title"], first["severity"]) == ("Title of C-1", "high")
    assert (only_there["this"], only_there["other"]["current"]) == (None, 3)
    assert (last["this"]["outcome"], last["other"]["status"]) == ("PARTIAL", "to_address")
    turned = await _get(client, f"{US}/compare/sales-eu")
    assert [(name, is_different, -points) for name, is_different, points in _told(turned)] == _told(found)


async def test_what_is_the_same_comes_last_and_can_be_left_out(
    client: httpx.AsyncClient, served: None, take: Take
) -> None:
    await take(Judged(2, [result("C-1"), result("C-2", PARTIAL), result("C-3", FAIL)], instance="sales-us"))
    found = await _get(client, f"{EU}/compare/sales-us")
    assert _told(found) == [("C-1", True, -3), ("C-3", True, 3), ("C-2", False, 0)]
    found = await _get(client, f"{EU}/compare/sales-us", differences="true")
    assert (found["total"], found["different"], len(found["items"])) == (2, 2, 2)
    decided = {"status": "planned"}
    (await client.put("/v1/recommendations/sales-us/C-2/status", json=decided)).raise_for_status()
    found = await _get(client, f"{EU}/compare/sales-us", differences="true")
    assert _told(found)[-1] == ("C-2", True, 0)


async def test_a_part_of_two_instances_is_compared(client: httpx.AsyncClient, served: None) -> None:
    for scope in ({"category": "Apps"}, {"framework": "soc2"}):
        found = await _get(client, f"{EU}/compare/sales-us", **scope)
        assert _told(found) == [("S-1", True, -3)]
        assert (found["this"]["score"]["max"], found["other"]["score"]["max"], found["points"]) == (0, 3, -3)
        assert (found["this"]["score"]["zone"], found["other"]["score"]["zone"]) == (None, "good")


async def test_pages_join_to_the_whole_comparison(client: httpx.AsyncClient, served: None) -> None:
    for path in (f"{EU}/compare/sales-us", f"{EU}/peers"):
        whole = (await _get(client, path))["items"]
        found, cursor = [], None
        while True:
            page = await _get(client, path, limit=1, **({"cursor": cursor} if cursor else {}))
            found += page["items"]
            if (cursor := page["next_cursor"]) is None:
                break
        assert found == whole
        assert len(whole) > 2


async def test_an_instance_is_compared_with_what_it_was(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep, take: Take
) -> None:
    (await client.put("/v1/recommendations/sales-eu/C-1/status", json={"status": "planned"})).raise_for_status()
    await take(
        Judged(2, [result("C-1"), result("C-2", FAIL), result("S-1")], hours=2),
        Judged(3, [result("C-1"), result("C-2"), result("S-1")], hours=4),
    )
    then = (START + timedelta(hours=1)).isoformat()
    found = await _get(client, f"{EU}/compare/sales-eu", at=then)
    assert (found["this"]["score"]["current"], found["other"]["score"]["current"], found["points"]) == (9, 4.5, 4.5)
    assert _told(found) == [("C-1", True, 3), ("C-3", True, -3), ("S-1", True, 3), ("C-2", True, 1.5)]
    gone = found["items"][1]
    assert (gone["this"], gone["other"]["outcome"], gone["title"]) == (None, "PASS", None)
    assert datetime.fromisoformat(found["other"]["at"]) == START + timedelta(hours=1)
    between = await _get(client, f"{EU}/compare/sales-eu", at=(START + timedelta(hours=3)).isoformat())
    assert (between["other"]["score"]["current"], _told(between)[0]) == (6, ("C-2", True, 3))
    now = await _get(client, f"{EU}/compare/sales-eu", at=datetime.now(UTC).isoformat())
    assert (now["different"], now["points"]) == (0, 0)
    other = await _get(client, f"{US}/compare/sales-eu", at=then)
    assert (other["this"]["score"]["current"], other["other"]["score"]["current"]) == (6, 4.5)


async def test_the_past_is_known_as_far_as_it_is_kept(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep, take: Take
) -> None:
    await take(Judged(2, [result("C-1")], hours=48))
    keeping = Retention(points=timedelta(days=2), days=None, changes=timedelta(days=2))
    await upkeep.history.prune(datetime.now(UTC) - (keeping.points or timedelta()), None)
    for at in (START + timedelta(hours=1), START - timedelta(days=30)):
        answer = await client.get(f"{EU}/compare/sales-eu", params={"at": at.isoformat()})
        assert (answer.status_code, answer.headers["content-type"]) == (422, MEDIA_TYPE)
        assert "begins" in answer.json()["detail"]
    after = (START + timedelta(hours=49)).isoformat()
    assert (await _get(client, f"{EU}/compare/sales-eu", at=after))["different"] == 0


async def test_an_instance_is_held_against_the_average_and_the_best(client: httpx.AsyncClient, served: None) -> None:
    found = await _get(client, f"{EU}/peers")
    assert (found["peers"], found["place"], found["average_percentage"]) == (2, 2, 33.34)
    assert found["best"] == {"instance": "sales-us", "percentage": 66.67}
    assert [
        (
            item["control_id"],
            item["peers"],
            item["passing"],
            item["average_points"],
            item["best_points"],
            item["behind"],
        )
        for item in found["items"]
    ] == [("C-1", 2, 1, 1.5, 3, 1.5), ("C-3", 0, 0, None, None, 0), ("C-2", 1, 0, 0, 0, -1.5)]
    assert (await _get(client, f"{US}/peers"))["place"] == 1


async def test_an_instance_without_peers_stands_alone(client: httpx.AsyncClient, served: None) -> None:
    found = await _get(client, "/v1/instances/itsm/peers")
    assert (found["peers"], found["place"], found["average_percentage"], found["best"]) == (0, 1, None, None)
    fresh = await _get(client, "/v1/instances/sales-new/peers")
    assert (fresh["total"], fresh["peers"], fresh["place"]) == (0, 3, 3)


@pytest.mark.parametrize(
    ("path", "params", "status_code"),
    [
        (f"{EU}/compare/nobody", {}, 404),
        ("/v1/instances/nobody/compare/sales-eu", {}, 404),
        ("/v1/instances/nobody/peers", {}, 404),
        (f"{EU}/compare/itsm", {}, 422),
        (f"{EU}/compare/sales-us", {"at": "2099-01-01T00:00:00Z"}, 422),
        (f"{EU}/compare/sales-new", {"at": "2026-01-01T00:00:00Z"}, 422),
        (f"{EU}/compare/sales-us", {"at": "yesterday"}, 422),
        (f"{EU}/compare/sales-us", {"category": "Apps", "framework": "soc2"}, 422),
        (f"{EU}/compare/sales-us", {"cursor": "x"}, 422),
        (f"{EU}/compare/sales-us", {"limit": "0"}, 422),
        (f"{EU}/compare/sales-us", {"nothing": "1"}, 422),
        (f"{EU}/compare/%7B$gt%7D", {}, 422),
        (f"{EU}/peers", {"at": "2026-01-01T00:00:00Z"}, 422),
        (f"{EU}/peers", {"category": "Apps", "framework": "soc2"}, 422),
    ],
)
async def test_a_wrong_question_is_a_problem(
    client: httpx.AsyncClient, served: None, path: str, params: dict[str, str], status_code: int
) -> None:
    answer = await client.get(path, params=params)
    assert (answer.status_code, answer.headers["content-type"]) == (status_code, MEDIA_TYPE), answer.text


async def test_a_cursor_of_another_comparison_is_refused(client: httpx.AsyncClient, served: None) -> None:
    cursor = (await _get(client, f"{EU}/compare/sales-us", limit=1))["next_cursor"]
    for path, params in ((f"{EU}/compare/sales-jp", {}), (f"{EU}/compare/sales-us", {"differences": "true"})):
        answer = await client.get(path, params={"cursor": cursor, **params})
        assert answer.status_code == 422
