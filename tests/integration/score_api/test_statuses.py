"""People's decisions: one, many, templates; what evidence and time make of them; who did what."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from plumbline_contracts.events import Outcome
from plumbline_score_api.app import Database
from plumbline_score_api.keys.schemas import Role
from plumbline_score_api.problems import MEDIA_TYPE
from plumbline_score_api.projection.upkeep import Upkeep
from plumbline_score_api.services import Services

from tests.integration.score_api.events import Judged, result, status
from tests.integration.score_api.in_process import client_for, upkeep_of

ITEM = "/v1/recommendations/sales-eu/C-1"
TEMPLATE = "/v1/controls/C-1/status-template"
PLANNED = {"status": "planned", "note": "In the next sprint.", "assignee": "ann", "reason": "JIRA-1"}
Take = Callable[..., Awaitable[None]]


def _everything(_: str) -> bool:
    return True


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
    """Instances sales-eu (main) and sales-us: C-1 fails with two entities, C-2 is half done, C-3 passes."""
    for name in ("sales-eu", "sales-us"):
        await upkeep.projection.take_status(status(name))
        await take(Judged(1, _mixed(), instance=name))


def _mixed(exposed: int = 2) -> list[Any]:
    return [result("C-1", Outcome.FAIL, exposed=exposed), result("C-2", Outcome.PARTIAL), result("C-3")]


async def _get(client: httpx.AsyncClient, path: str, **params: Any) -> Any:
    return (await client.get(path, params=params)).raise_for_status().json()


async def _put(client: httpx.AsyncClient, path: str, **body: Any) -> Any:
    return (await client.put(path, json=body)).raise_for_status().json()


async def _audit(client: httpx.AsyncClient, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await _get(client, "/v1/audit", **params))["items"]
    return found


def _problem(answer: httpx.Response, status_code: int) -> str:
    assert (answer.status_code, answer.headers["content-type"]) == (status_code, MEDIA_TYPE), answer.text
    return str(answer.json())


async def _score(client: httpx.AsyncClient) -> tuple[float, float, float, float]:
    found = await _get(client, "/v1/secure-score")
    return found["current"], found["max"], found["planned"], found["achievable"]


# --- one


@pytest.mark.parametrize(
    ("wish", "score", "left"),
    [
        ("to_address", (4.5, 9, 4.5, 9), 3),
        ("planned", (4.5, 9, 7.5, 9), 3),
        ("risk_accepted", (4.5, 9, 4.5, 6), 0),
        ("resolved_third_party", (7.5, 9, 7.5, 9), 0),
        ("resolved_alternate_mitigation", (7.5, 9, 7.5, 9), 0),
    ],
)
async def test_a_status_counts_at_once_everywhere(
    client: httpx.AsyncClient, served: None, wish: str, score: tuple[float, ...], left: float
) -> None:
    shown = await _put(client, f"{ITEM}/status", status=wish)
    assert (shown["status"], shown["decision"]["author"], shown["decision"]["holds"]) == (wish, "tests", True)
    assert await _score(client) == score
    product = (await _get(client, "/v1/products"))["items"][0]
    instance = await _get(client, "/v1/instances/sales-eu/score")
    for each in (product, instance, (await _get(client, "/v1/categories"))["items"][0]):
        assert (each["current"], each["max"], each["planned"], each["achievable"]) == score
        assert each["counts"]["statuses"][wish] >= 1
    detail = await _get(client, ITEM)
    assert (detail["status"], detail["points_left"], detail["points"]) == (wish, left, 0)
    (listed,) = (await _get(client, "/v1/recommendations", instance="sales-eu", control="C-1"))["items"]
    assert listed["decision"] == detail["decision"] == shown["decision"]
    assert await _get(client, "/v1/instances/sales-us/score") != instance


async def test_a_decision_is_shown_as_it_was_made(client: httpx.AsyncClient, served: None) -> None:
    until = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    shown = await _put(client, f"{ITEM}/status", **PLANNED, expires_at=until.isoformat())
    decision = shown["decision"]
    assert {name: decision[name] for name in PLANNED} == PLANNED
    assert datetime.fromisoformat(decision["expires_at"]) == until
    assert decision["evidence"]["outcome"] == "FAIL"
    assert decision["is_template"] is False
    assert await _get(client, f"{ITEM}/status") == shown


async def test_a_status_is_found_by_alias_and_taken_back(client: httpx.AsyncClient, served: None) -> None:
    await _put(client, "/v1/recommendations/sales-eu/MDA_C-1/status", **PLANNED)
    assert (await _get(client, ITEM))["status"] == "planned"
    cleared = (await client.delete(f"{ITEM}/status")).raise_for_status().json()
    assert (cleared["status"], cleared["decision"]) == ("to_address", None)
    again = (await client.delete(f"{ITEM}/status")).raise_for_status().json()
    assert again == cleared
    assert [entry["action"] for entry in await _audit(client)] == ["status_cleared", "status_set"]


async def test_what_passes_is_completed_whatever_was_decided(
    client: httpx.AsyncClient, served: None, take: Take
) -> None:
    await _put(client, "/v1/recommendations/sales-eu/C-3/status", status="risk_accepted")
    assert (await _get(client, "/v1/recommendations/sales-eu/C-3"))["status"] == "completed"
    await take(Judged(2, [result("C-3", Outcome.FAIL)]))
    assert (await _get(client, "/v1/recommendations/sales-eu/C-3"))["status"] == "risk_accepted"


async def test_saying_the_same_again_changes_nothing(
    client: httpx.AsyncClient, served: None, database: Database
) -> None:
    first = await _put(client, f"{ITEM}/status", **PLANNED)
    before = [d async for d in database["decisions"].find({})]
    assert await _put(client, f"{ITEM}/status", **PLANNED) == first
    assert [d async for d in database["decisions"].find({})] == before
    assert len(await _audit(client)) == 1
    await _put(client, f"{ITEM}/status", **{**PLANNED, "note": "Later."})
    assert len(await _audit(client)) == 2


@pytest.mark.parametrize(
    "body",
    [
        {}, {"status": "completed"}, {"status": "done"}, {"status": None}, {"status": {"$gt": ""}}, [], "planned", None,
        {"status": "planned", "extra": 1}, {"status": "planned", "note": ""}, {"status": "planned", "note": "x" * 2001},
        {"status": "planned", "assignee": {"$ne": 1}}, {"status": "planned", "expires_at": "tomorrow"},
        {"status": "planned", "expires_at": "2020-01-01T00:00:00Z"}, {"status": "planned", "note": "\ud800"},
        {"status": "planned", "expires_at": "2030-01-01T00:00:00"},
    ],
)  # fmt: skip
async def test_a_wrong_wish_changes_nothing(
    client: httpx.AsyncClient, served: None, database: Database, body: Any
) -> None:
    for path in (f"{ITEM}/status", TEMPLATE):
        answer = await client.put(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
        _problem(answer, 422)
    assert await database["decisions"].count_documents({}) == 0


@pytest.mark.parametrize("path", ["nobody/C-1", "sales-eu/C-9", "sales-eu/MDA_C-9"])
async def test_what_is_not_there_has_no_status(client: httpx.AsyncClient, served: None, path: str) -> None:
    url = f"/v1/recommendations/{path}/status"
    for answer in (await client.get(url), await client.put(url, json=PLANNED), await client.delete(url)):
        assert "No recommendation" in _problem(answer, 404)


# --- who was first


async def test_an_etag_guards_against_overwriting(client: httpx.AsyncClient, served: None) -> None:
    known = (await client.get(f"{ITEM}/status")).headers["etag"]
    one = await client.put(f"{ITEM}/status", json=PLANNED, headers={"If-Match": known})
    assert one.status_code == 200
    other = await client.put(f"{ITEM}/status", json={"status": "risk_accepted"}, headers={"If-Match": known})
    assert "read it again" in _problem(other, 412)
    _problem(await client.delete(f"{ITEM}/status", headers={"If-Match": known}), 412)
    assert (await _get(client, ITEM))["status"] == "planned"
    read = await client.get(f"{ITEM}/status")
    assert read.headers["etag"] == one.headers["etag"]
    assert (await client.get(f"{ITEM}/status", headers={"If-None-Match": one.headers["etag"]})).status_code == 304
    tags = f'"other", {one.headers["etag"]}'
    assert (await client.delete(f"{ITEM}/status", headers={"If-Match": tags})).status_code == 200
    assert (await client.put(f"{ITEM}/status", json=PLANNED, headers={"If-Match": "*"})).status_code == 200
    _problem(await client.put(f"{ITEM}/status", json=PLANNED, headers={"If-Match": "nonsense"}), 412)


async def test_an_etag_of_an_outcome_that_has_changed_is_no_longer_good(
    client: httpx.AsyncClient, served: None, take: Take
) -> None:
    known = (await client.get(f"{ITEM}/status")).headers["etag"]
    await take(Judged(2, [result("C-1"), result("C-2"), result("C-3")]))
    _problem(await client.put(f"{ITEM}/status", json=PLANNED, headers={"If-Match": known}), 412)


async def test_wishes_at_the_same_time_are_all_made_one_after_the_other(
    client: httpx.AsyncClient, served: None, database: Database
) -> None:
    async def wish(number: int) -> int:
        body = {"status": "planned", "note": f"number {number}"}
        control = f"C-{number % 3 + 1}"
        return (await client.put(f"/v1/recommendations/sales-eu/{control}/status", json=body)).status_code

    assert set(await asyncio.gather(*map(wish, range(12)))) <= {200, 409}
    entries = await _audit(client)
    document = await database["decisions"].find_one({"instance": "sales-eu"})
    assert document is not None
    assert len(entries) == document["revision"]
    assert len({entry["note"] for entry in entries}) == len(entries)
    for control in ("C-1", "C-2", "C-3"):
        (newest, *_) = [entry for entry in entries if entry["control_id"] == control]
        assert (await _get(client, f"/v1/recommendations/sales-eu/{control}/status"))["decision"]["note"] == newest[
            "note"
        ]


# --- evidence


async def test_what_was_resolved_is_reopened_by_a_new_entity_and_stays_so(
    client: httpx.AsyncClient, served: None, take: Take
) -> None:
    await _put(client, f"{ITEM}/status", status="resolved_third_party", note="Our gateway does it.")
    await take(Judged(2, _mixed(exposed=1)), Judged(3, _mixed(exposed=2)))
    assert (await _get(client, ITEM))["status"] == "resolved_third_party", "those were known"
    await take(Judged(4, _mixed(exposed=3)))
    shown = await _get(client, f"{ITEM}/status")
    assert shown["status"] == "to_address"
    decision = shown["decision"]
    assert (decision["status"], decision["holds"], decision["ended"]) == ("resolved_third_party", False, "reopened")
    assert "1 of the exposed entities" in decision["ended_detail"]
    assert (await _score(client))[0] == 4.5
    await take(Judged(5, _mixed(exposed=2)))
    assert (await _get(client, ITEM))["status"] == "to_address"
    newest = (await _audit(client))[0]
    assert (newest["action"], newest["who"], newest["before"], newest["after"]) == (
        "status_reopened", "system", "resolved_third_party", "to_address",
    )  # fmt: skip
    await _put(client, f"{ITEM}/status", status="resolved_third_party", note="Our gateway does it.")
    assert (await _get(client, ITEM))["status"] == "resolved_third_party"


async def test_readers_see_the_new_evidence_and_the_reopening_at_once(
    client: httpx.AsyncClient, served: None, database: Database, upkeep: Upkeep
) -> None:
    """The projector is killed right after the switch; its successor writes down what readers see already."""
    await _put(client, f"{ITEM}/status", status="resolved_third_party")
    mortal: Any = upkeep_of(database)
    *parts, last = Judged(2, _mixed(exposed=3)).parts()
    for part in parts:
        await mortal.projection.take_part(part)
    follow, calls = mortal.projection._follow, itertools.count(1)

    async def killed_behind_the_switch(*what: Any) -> None:
        if next(calls) > 1:
            raise RuntimeError("killed")
        await follow(*what)

    mortal.projection._follow = killed_behind_the_switch
    with pytest.raises(RuntimeError, match="killed"):
        await mortal.projection.take_part(last)
    shown = await _get(client, f"{ITEM}/status")
    assert (shown["status"], shown["decision"]["ended"], shown["decision"]["ended_at"]) == (
        "to_address",
        "reopened",
        None,
    )
    assert (await _get(client, ITEM))["exposed"] == 3
    assert [entry["action"] for entry in await _audit(client)] == ["status_set"]
    await upkeep.round(_everything, datetime.now(UTC))
    after = await _get(client, f"{ITEM}/status")
    assert (after["status"], after["decision"]["ended"]) == ("to_address", "reopened")
    assert after["decision"]["ended_at"] is not None
    assert [entry["action"] for entry in await _audit(client)] == ["status_reopened", "status_set"]


@pytest.mark.parametrize("wish", ["planned", "risk_accepted", "to_address"])
async def test_other_decisions_are_not_reopened_by_evidence(
    client: httpx.AsyncClient, served: None, take: Take, wish: str
) -> None:
    await _put(client, f"{ITEM}/status", status=wish)
    await take(Judged(2, _mixed(exposed=9)), Judged(3, [result("C-1", Outcome.PARTIAL, exposed=1)]))
    shown = await _get(client, f"{ITEM}/status")
    assert (shown["status"], shown["decision"]["holds"]) == (wish, True)


async def test_a_changed_outcome_or_observation_reopens(client: httpx.AsyncClient, served: None, take: Take) -> None:
    seen = [
        result(control, Outcome.FAIL).model_copy(update={"observed": "length=8"}) for control in ("C-1", "C-2", "C-3")
    ]
    await take(Judged(2, seen))
    for control in ("C-1", "C-2", "C-3"):
        await _put(client, f"/v1/recommendations/sales-eu/{control}/status", status="resolved_alternate_mitigation")
    changed = [seen[0], seen[1].model_copy(update={"observed": "length=7"}), result("C-3", Outcome.PARTIAL)]
    await take(Judged(3, changed))
    found = {
        item["control_id"]: item for item in (await _get(client, "/v1/recommendations", instance="sales-eu"))["items"]
    }
    assert {name: item["status"] for name, item in found.items()} == {
        "C-1": "resolved_alternate_mitigation", "C-2": "to_address", "C-3": "to_address",
    }  # fmt: skip
    assert "observed" in found["C-2"]["decision"]["ended_detail"]
    assert "FAIL and is PARTIAL" in found["C-3"]["decision"]["ended_detail"]


async def test_a_decision_made_while_readers_are_switched_meets_the_new_evidence(
    client: httpx.AsyncClient, services: Services, served: None, take: Take
) -> None:
    """The evaluation comes between what the person saw and the write of his decision."""
    repository: Any = services.decisions._repository
    keep = repository.keep_known

    async def switched_meanwhile(*arguments: Any) -> None:
        await keep(*arguments)
        if repository.keep_known is not keep:
            repository.keep_known = keep
            await take(Judged(2, _mixed(exposed=5)))

    repository.keep_known = switched_meanwhile
    shown = await _put(client, f"{ITEM}/status", status="resolved_third_party")
    assert (shown["status"], shown["decision"]["ended"]) == ("to_address", "reopened")


# --- time


async def test_time_is_up_when_the_projector_says_so(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep, database: Database
) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    await _put(client, f"{ITEM}/status", status="risk_accepted", expires_at=until.isoformat())
    await upkeep.round(_everything, until - timedelta(seconds=1))
    assert (await _get(client, ITEM))["status"] == "risk_accepted"
    await upkeep.round(lambda key: key != "contoso/sales-eu", until + timedelta(seconds=1))
    assert (await _get(client, ITEM))["status"] == "risk_accepted", "it is another replica's"
    for _ in range(2):
        await upkeep.round(_everything, until + timedelta(seconds=1))
    shown = await _get(client, f"{ITEM}/status")
    assert (shown["status"], shown["decision"]["ended"]) == ("to_address", "expired")
    assert [entry["action"] for entry in await _audit(client)] == ["status_expired", "status_set"]
    assert await _score(client) == (4.5, 9, 4.5, 9)
    document = await database["decisions"].find_one({"instance": "sales-eu"})
    assert document is not None
    assert document["next_expiry"] is None


# --- many


async def test_many_have_a_result_each(client: httpx.AsyncClient, served: None) -> None:
    await _put(client, f"{ITEM}/status", status="planned")
    items = [("sales-eu", "C-1"), ("sales-us", "C-1"), ("sales-us", "MDA_C-2"), ("sales-us", "C-9"), ("nobody", "C-1")]
    body = {"status": "planned", "items": [{"instance": instance, "control": control} for instance, control in items]}
    answer = (await client.post("/v1/recommendations/statuses", json=body)).raise_for_status().json()
    assert [(item["instance"], item["control"], item["result"]) for item in answer["items"]] == [
        ("sales-eu", "C-1", "unchanged"), ("sales-us", "C-1", "changed"), ("sales-us", "MDA_C-2", "changed"),
        ("sales-us", "C-9", "not_found"), ("nobody", "C-1", "not_found"),
    ]  # fmt: skip
    assert (answer["changed"], answer["unchanged"], answer["failed"]) == (2, 1, 2)
    assert (await _get(client, "/v1/recommendations", status="planned"))["total"] == 3


async def test_many_by_filter(client: httpx.AsyncClient, served: None) -> None:
    body = {"status": "risk_accepted", "note": "Pilot.", "filter": {"outcome": ["FAIL", "PARTIAL"], "text": "title of"}}
    answer = (await client.post("/v1/recommendations/statuses", json=body)).raise_for_status().json()
    assert (answer["changed"], answer["failed"]) == (4, 0)
    assert {entry["note"] for entry in await _audit(client)} == {"Pilot."}
    assert len(await _audit(client)) == 4
    assert await _score(client) == (3, 9, 3, 3)


@pytest.mark.parametrize(
    "body",
    [
        {"status": "planned"},
        {"status": "planned", "items": [], "filter": None},
        {"status": "planned", "items": [{"instance": "a", "control": "b"}], "filter": {}},
        {"status": "planned", "items": [{"instance": "a", "control": "b"}] * 501},
        {"status": "planned", "items": [{"instance": {"$gt": ""}, "control": "b"}]},
        {"status": "planned", "filter": {"outcome": [{"$ne": "PASS"}]}},
        {"status": "planned", "filter": {"colour": ["red"]}},
        {"status": "planned", "filter": {}, "expires_at": "2020-01-01T00:00:00Z"},
    ],
)
async def test_a_wrong_selection_changes_nothing(
    client: httpx.AsyncClient, served: None, database: Database, body: Any
) -> None:
    _problem(await client.post("/v1/recommendations/statuses", json=body), 422)
    assert await database["decisions"].count_documents({}) == 0


# --- templates


async def test_a_template_holds_on_all_instances_present_and_future(
    client: httpx.AsyncClient, served: None, take: Take
) -> None:
    assert "no template" in _problem(await client.get(TEMPLATE), 404)
    made = await _put(client, TEMPLATE, **PLANNED)
    assert {name: made[name] for name in PLANNED} == PLANNED
    await take(Judged(1, _mixed(), instance="new"))
    listed = (await _get(client, "/v1/recommendations", control="C-1"))["items"]
    assert {item["instance"]: item["status"] for item in listed} == dict.fromkeys(
        ("new", "sales-eu", "sales-us"), "planned"
    )
    assert all(item["decision"]["is_template"] for item in listed)
    assert await _get(client, TEMPLATE) == made
    assert (await _get(client, "/v1/status-templates"))["items"] == [made]
    assert (await client.delete(TEMPLATE)).status_code == 204
    assert (await client.delete(TEMPLATE)).status_code == 204
    assert (await _get(client, "/v1/recommendations", status="planned"))["total"] == 0
    assert [entry["action"] for entry in await _audit(client)] == ["template_cleared", "template_set"]


async def test_an_instance_s_own_decision_wins_until_it_is_taken_back(
    client: httpx.AsyncClient, served: None, take: Take
) -> None:
    await _put(client, f"{ITEM}/status", status="to_address", note="We mend it here.")
    await _put(client, TEMPLATE, status="risk_accepted")
    statuses = (await _get(client, ITEM))["status"], (await _get(client, "/v1/recommendations/sales-us/C-1"))["status"]
    assert statuses == ("to_address", "risk_accepted")
    await client.delete(f"{ITEM}/status")
    assert (await _get(client, ITEM))["status"] == "risk_accepted"
    await _put(client, f"{ITEM}/status", status="planned")
    assert (await _get(client, ITEM))["status"] == "planned"


async def test_a_template_is_reopened_instance_by_instance(client: httpx.AsyncClient, served: None, take: Take) -> None:
    await _put(client, TEMPLATE, status="resolved_third_party")
    await take(Judged(2, _mixed(exposed=3)), Judged(2, _mixed(exposed=1), instance="sales-us"))
    us = "/v1/recommendations/sales-us/C-1"
    assert ((await _get(client, ITEM))["status"], (await _get(client, us))["status"]) == (
        "to_address", "resolved_third_party",
    )  # fmt: skip
    await take(Judged(3, _mixed(exposed=3)))
    assert (await _get(client, ITEM))["status"] == "to_address"
    await _put(client, TEMPLATE, status="resolved_third_party", note="They too are behind the gateway.")
    assert (await _get(client, ITEM))["status"] == "resolved_third_party"


async def test_a_template_expires_everywhere(client: httpx.AsyncClient, served: None, upkeep: Upkeep) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    await _put(client, TEMPLATE, status="risk_accepted", expires_at=until.isoformat())
    await upkeep.round(_everything, until + timedelta(seconds=1))
    assert (await _get(client, "/v1/recommendations", status="risk_accepted"))["total"] == 0
    template = await _get(client, TEMPLATE)
    assert (template["holds"], template["ended"]) == (False, "expired")


async def test_a_template_that_was_cut_short_is_spread_by_the_projector(
    client: httpx.AsyncClient, services: Services, served: None, upkeep: Upkeep, database: Database, take: Take
) -> None:
    async def killed(_: str) -> None:
        raise RuntimeError("killed")

    mortal: Any = services.decisions
    mortal.spread = killed
    assert (await client.put(TEMPLATE, json={"status": "resolved_third_party"})).status_code == 500
    assert (await _get(client, ITEM))["status"] == "resolved_third_party", "it holds from its write on"
    assert await database["decisions"].count_documents({"instance": "sales-eu"}) == 0
    await upkeep.round(_everything, datetime.now(UTC))
    evidence = (await _get(client, f"{ITEM}/status"))["decision"]["evidence"]
    assert evidence["exposed"] == 2


async def test_a_template_of_nothing_is_404_and_its_etag_guards(client: httpx.AsyncClient, served: None) -> None:
    assert "C-9" in _problem(await client.put("/v1/controls/C-9/status-template", json=PLANNED), 404)
    first = await client.put(TEMPLATE, json=PLANNED)
    changed = await client.put(TEMPLATE, json={"status": "planned"}, headers={"If-Match": first.headers["etag"]})
    assert changed.status_code == 200
    _problem(await client.put(TEMPLATE, json=PLANNED, headers={"If-Match": first.headers["etag"]}), 412)
    _problem(await client.delete(TEMPLATE, headers={"If-Match": first.headers["etag"]}), 412)


# --- audit


async def test_the_audit_trail_says_who_when_from_and_to(client: httpx.AsyncClient, served: None) -> None:
    before = datetime.now(UTC)
    await _put(client, f"{ITEM}/status", **PLANNED)
    await _put(client, f"{ITEM}/status", status="risk_accepted")
    await client.put("/v1/instances/sales-us/insights", json={"insights": "main", "note": "It is the larger one."})
    newest, other, accepted, planned = await _audit(client)
    assert {(entry["instance"], entry["before"], entry["after"], entry["note"]) for entry in (newest, other)} == {
        ("sales-us", "off", "main", "It is the larger one."), ("sales-eu", "main", "on", "It is the larger one."),
    }  # fmt: skip
    assert (accepted["before"], accepted["after"]) == ("planned", "risk_accepted")
    assert (planned["before"], planned["after"], planned["note"]) == ("to_address", "planned", PLANNED["note"])
    assert planned["detail"] == "assignee: ann; reason: JIRA-1"
    assert {entry["who"] for entry in (newest, other, accepted, planned)} == {"tests"}
    assert all(entry["identity"].startswith("key:") for entry in (newest, accepted))
    assert before <= datetime.fromisoformat(planned["at"]) <= datetime.fromisoformat(newest["at"]) <= datetime.now(UTC)


async def test_the_audit_trail_is_paged_and_filtered(client: httpx.AsyncClient, served: None) -> None:
    for number in range(7):
        await _put(
            client, f"/v1/recommendations/sales-eu/C-{number % 2 + 1}/status", status="planned", note=str(number)
        )
    whole = await _audit(client)
    assert [entry["note"] for entry in whole] == ["6", "5", "4", "3", "2", "1", "0"]
    found, cursor = [], None
    while True:
        page = await _get(client, "/v1/audit", limit=3, **({"cursor": cursor} if cursor else {}))
        found += page["items"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert found == whole
    assert [entry["note"] for entry in await _audit(client, control="C-2")] == ["5", "3", "1"]
    assert await _audit(client, action="template_set") == []
    assert await _audit(client, who="nobody") == []
    at = whole[3]["at"]
    assert [entry["note"] for entry in await _audit(client, since=at)] == ["6", "5", "4", "3"]
    assert [entry["note"] for entry in await _audit(client, until=at)] == ["2", "1", "0"]
    cursor = (await _get(client, "/v1/audit", limit=3))["next_cursor"]
    _problem(await client.get("/v1/audit", params={"cursor": cursor, "control": "C-1"}), 422)


async def test_an_entry_whose_telling_was_killed_is_told_by_the_projector_once(
    client: httpx.AsyncClient, services: Services, served: None, upkeep: Upkeep, database: Database
) -> None:
    async def killed(*_: Any) -> None:
        raise RuntimeError("killed")

    mortal: Any = services.decisions
    mortal.tell = killed
    assert (await client.put(f"{ITEM}/status", json=PLANNED)).status_code == 500
    assert (await _get(client, ITEM))["status"] == "planned"
    assert await _audit(client) == []
    for _ in range(2):
        await upkeep.round(_everything, datetime.now(UTC))
    assert [entry["action"] for entry in await _audit(client)] == ["status_set"]
    document = await database["decisions"].find_one({"instance": "sales-eu"})
    assert document is not None
    assert (document["outbox"], document["is_pending"], document["is_unrecorded"]) == ([], False, False)


async def test_another_tenant_decides_about_nothing_of_ours(
    client: httpx.AsyncClient, services: Services, served: None
) -> None:
    await _put(client, f"{ITEM}/status", **PLANNED)
    await _put(client, "/v1/controls/C-2/status-template", status="planned")
    async with client_for(services, await services.keys.create("fabrikam", "x", frozenset(Role))) as other:
        _problem(await other.put(f"{ITEM}/status", json=PLANNED), 404)
        body = {"status": "planned", "items": [{"instance": "sales-eu", "control": "C-1"}]}
        answer = (await other.post("/v1/recommendations/statuses", json=body)).json()
        assert [item["result"] for item in answer["items"]] == ["not_found"]
        assert (await other.post("/v1/recommendations/statuses", json={"status": "planned", "filter": {}})).json()[
            "items"
        ] == []
        assert await _audit(other) == []
        assert (await _get(other, "/v1/status-templates"))["items"] == []


async def test_who_may_only_read_decides_about_nothing(services: Services, served: None) -> None:
    async with client_for(services, await services.keys.create("contoso", "r", frozenset({Role.READ}))) as reader:
        _problem(await reader.put(f"{ITEM}/status", json=PLANNED), 403)
        _problem(await reader.post("/v1/recommendations/statuses", json={"status": "planned", "filter": {}}), 403)
        _problem(await reader.put(TEMPLATE, json=PLANNED), 403)
        assert (await reader.get(f"{ITEM}/status")).status_code == 200
