"""What SIEMs are told of findings: each change once, in order, under the same id whenever it is sent again."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from plumbline_contracts.events import ControlResult, Insights, Outcome, Product, UnknownReason
from plumbline_score_api import app as composition
from plumbline_score_api.app import Database
from plumbline_score_api.audit.schemas import Author
from plumbline_score_api.decisions.decision import Status
from plumbline_score_api.findings.feed import FeedSettings
from plumbline_score_api.findings.lifecycle import HEARTBEAT_AFTER
from plumbline_score_api.findings.repository import FindingRepository
from plumbline_score_api.findings.schemas import FindingQuery
from plumbline_score_api.findings.told import read
from plumbline_score_api.projection.upkeep import Upkeep
from plumbline_score_api.services import Services
from plumbline_score_api.webhooks.notifying import Ownership

from tests.integration.score_api.events import Judged, definition, result, status
from tests.integration.score_api.in_process import CONTROLS, KilledError, Siem, upkeep_of

ANN = Author("ann", "user:ann")


@pytest.fixture
def siem() -> Siem:
    return Siem()


@pytest.fixture
async def upkeep(database: Database, siem: Siem) -> Upkeep:
    return await _restarted(database, siem)


async def _restarted(database: Database, siem: Siem) -> Upkeep:
    upkeep = upkeep_of(database, siem=siem)
    await upkeep.projection.take_definitions([definition(control) for control in CONTROLS])
    return upkeep


async def _judge(upkeep: Upkeep, number: int, *outcomes: Outcome | ControlResult, **more: Any) -> None:
    """Snapshot `number`, with an outcome or result per control."""
    results = [
        each if isinstance(each, ControlResult) else result(control, each)
        for control, each in zip(CONTROLS, outcomes, strict=False)
    ]
    for part in Judged(number, results, **more).parts():
        await upkeep.projection.take_part(part)


async def _round(upkeep: Upkeep, now: datetime | None = None) -> None:
    await upkeep.round(lambda _: True, now or datetime.now(UTC))


async def _decide(client: httpx.AsyncClient, upkeep: Upkeep, control: str, status: Status, **more: Any) -> None:
    path = f"/v1/recommendations/sales-eu/{control}/status"
    answer = await client.put(path, json={"status": status.value, "note": "as agreed", **more})
    assert answer.is_success, answer.text
    await _round(upkeep)


async def test_every_change_of_a_result_is_told_once(upkeep: Upkeep, siem: Siem) -> None:
    await upkeep.projection.take_status(status())
    await _judge(upkeep, 1, Outcome.FAIL, Outcome.PASS, Outcome.NOT_APPLICABLE)
    assert siem.told() == [("C-1", "failed", 1), ("C-3", "not_applicable", 5)]
    await _judge(upkeep, 2, Outcome.FAIL, Outcome.PASS, Outcome.NOT_APPLICABLE)
    assert siem.told() == []
    await _judge(upkeep, 3, Outcome.PASS, Outcome.PARTIAL, Outcome.NOT_APPLICABLE)
    assert siem.told() == [("C-1", "passed", 4), ("C-2", "regressed", 1)]
    denied = result("C-2", Outcome.UNKNOWN, reason=UnknownReason.MISSING_PERMISSION)
    await _judge(upkeep, 4, Outcome.FAIL, denied, Outcome.NOT_APPLICABLE)
    assert siem.told() == [("C-1", "regressed", 1), ("C-2", "no_result", 1)]
    await _judge(upkeep, 5, Outcome.FAIL, Outcome.PASS)
    assert siem.told() == [("C-2", "passed", 4)], "a control that is archived already has no end to be told"
    assert siem.refused == []


async def test_the_event_holds_what_an_analyst_needs(upkeep: Upkeep, siem: Siem) -> None:
    await upkeep.projection.take_status(status())
    await _judge(upkeep, 1, result("C-1", Outcome.FAIL, exposed=30))
    (made,) = siem.got
    event = made.event
    assert event["finding_info"]["uid"] == "contoso|sales-eu|C-1"
    assert (event["activity_id"], event["severity"], event["compliance"]["status"]) == (1, "High", "Fail")
    assert event["unmapped"]["instance"]["url"] == "https://contoso.my.salesforce.com"
    assert event["unmapped"]["counts"]["exposed"] == 30
    affected = [each["uid"] for each in event["resources"] if each["role"] == "Affected"]
    assert affected == [f"{number:018d}" for number in range(20)]
    assert "user1@contoso.example" not in made.record.decode(), "names are personal data, and not asked for"
    assert event["time"] == event["finding_info"]["modified_time"]
    assert len(made.record) <= 8000


async def test_names_travel_where_the_operator_lets_them(database: Database) -> None:
    siem = Siem(FeedSettings("0.1.0", names_are_allowed=True))
    upkeep = await _restarted(database, siem)
    await _judge(upkeep, 1, result("C-1", Outcome.FAIL, exposed=2))
    assert "user1@contoso.example" in siem.got[0].record.decode()


async def test_decisions_of_people_are_told(upkeep: Upkeep, siem: Siem, client: httpx.AsyncClient) -> None:
    await _judge(upkeep, 1, Outcome.FAIL, Outcome.FAIL, Outcome.FAIL)
    siem.told()
    await _decide(client, upkeep, "C-1", Status.PLANNED)
    await _decide(client, upkeep, "C-2", Status.RISK_ACCEPTED)
    disposition = siem.got[-1].event["unmapped"]["disposition"]
    assert (disposition["state"], disposition["reason"]) == ("risk_accepted", "as agreed")
    await _decide(client, upkeep, "C-3", Status.RESOLVED_THIRD_PARTY)
    assert siem.told() == [("C-1", "planned", 2), ("C-2", "risk_accepted", 3), ("C-3", "claimed", 4)]
    await _decide(client, upkeep, "C-1", Status.TO_ADDRESS)
    assert siem.told() == [("C-1", "reopened", 1)]
    await _judge(upkeep, 2, Outcome.FAIL, Outcome.FAIL, Outcome.PARTIAL)
    assert siem.told() == [("C-3", "reopened", 1)], "the evidence contradicts what was claimed"
    await _judge(upkeep, 3, Outcome.FAIL, Outcome.PASS, Outcome.PARTIAL)
    assert siem.told() == [("C-2", "passed", 4)]


async def test_a_decision_that_expires_is_told(upkeep: Upkeep, siem: Siem, client: httpx.AsyncClient) -> None:
    await _judge(upkeep, 1, Outcome.FAIL)
    soon = datetime.now(UTC) + timedelta(hours=2)
    await _decide(client, upkeep, "C-1", Status.RISK_ACCEPTED, expires_at=soon.isoformat())
    siem.told()
    await _round(upkeep, soon + timedelta(seconds=1))
    await _round(upkeep, soon + timedelta(seconds=2))
    assert siem.told() == [("C-1", "exception_expired", 1)]


async def test_an_instance_that_comes_to_count_is_told_of_its_open_findings(
    upkeep: Upkeep, siem: Siem, client: httpx.AsyncClient
) -> None:
    await _judge(upkeep, 1, Outcome.FAIL, Outcome.PASS, Outcome.FAIL)
    await _judge(upkeep, 1, Outcome.FAIL, Outcome.PASS, Outcome.PASS, instance="sales-us")
    siem.told()
    for choice in (Insights.ON, Insights.OFF, Insights.ON):
        answer = await client.put("/v1/instances/sales-us/insights", json={"insights": choice.value})
        assert answer.is_success, answer.text
        await _round(upkeep)
    (first, *_) = siem.got
    assert first.event["unmapped"]["instance"]["insights"] == "on"
    uids = [made.telling.event_uid for made in siem.got]
    assert siem.told() == [("C-1", "insights_changed", 1)] * 3
    assert len(set(uids)) == 3


async def test_what_leaves_is_closed(upkeep: Upkeep, siem: Siem, services: Services) -> None:
    await upkeep.projection.take_status(status())
    await _judge(upkeep, 1, Outcome.FAIL, Outcome.PASS, Outcome.FAIL)
    siem.told()
    await _judge(upkeep, 2, Outcome.FAIL, Outcome.PASS)
    assert siem.told() == [("C-3", "control_retired", 5)]
    await services.disconnecting.disconnect("contoso", "sales-eu", ANN, None)
    await _round(upkeep)
    await _round(upkeep)
    assert siem.told() == [("C-1", "instance_disconnected", 5)]


async def test_open_findings_are_told_again_before_anybody_forgets_them(
    upkeep: Upkeep, siem: Siem, database: Database
) -> None:
    await _judge(upkeep, 1, Outcome.FAIL, Outcome.PASS, Outcome.FAIL)
    siem.told()
    await _round(upkeep)
    assert siem.told() == []
    await _age(database, HEARTBEAT_AFTER + timedelta(minutes=1))
    upkeep = await _restarted(database, siem)
    await _round(upkeep)
    await _round(upkeep)
    assert siem.told() == [("C-1", "heartbeat", 1), ("C-3", "heartbeat", 1)]


async def _age(database: Database, by: timedelta) -> None:
    """Let all that was told be so much older."""
    async for document in database["records"].find({"findings": {"$ne": None}}):
        told = read(document["tenant"], "sales-eu", document["findings"], None)
        older = {
            name: replace(state, modified_at=state.modified_at - by if state.modified_at else None)
            for name, state in told.states.items()
        }
        aged = replace(told, states=older)
        fields = {"findings": aged.dump(), "findings_due": aged.due()}
        await database["records"].update_one({"_id": document["_id"]}, {"$set": fields})


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_killed_projector_tells_it_again_under_the_same_id(
    database: Database, upkeep: Upkeep, siem: Siem, when: str
) -> None:
    await _judge(upkeep, 1, Outcome.PASS, Outcome.PASS)
    siem.fail = when
    with pytest.raises(KilledError):
        await _judge(upkeep, 2, Outcome.FAIL, Outcome.PARTIAL)
    siem.fail = None
    lost = [made.telling.event_uid for made in siem.got]
    siem.got.clear()
    await _round(await _restarted(database, siem))
    again = [made.telling.event_uid for made in siem.got]
    assert len(again) == 2
    assert lost in ([], again)
    assert siem.told() == [("C-1", "regressed", 1), ("C-2", "regressed", 1)] or lost == again


async def test_everything_is_told_again_on_request(upkeep: Upkeep, siem: Siem, database: Database) -> None:
    await _judge(upkeep, 1, Outcome.FAIL, Outcome.PASS, Outcome.FAIL)
    await _judge(upkeep, 2, Outcome.FAIL, Outcome.PASS, Outcome.PASS)
    siem.told()
    repository = FindingRepository(database)
    await repository.request("contoso", ["sales-eu"], "replay.1", None)
    await _round(upkeep)
    await _round(upkeep)
    uids = {made.telling.event_uid for made in siem.got}
    assert siem.told() == [("C-1", "replayed", 1), ("C-3", "replayed", 4)]
    assert await repository.requested() == []
    since = datetime.now(UTC) + timedelta(minutes=1)
    await repository.request("contoso", ["sales-eu"], "replay.2", since)
    await _round(upkeep)
    assert siem.told() == []
    assert len(uids) == 2


async def test_who_polls_gets_every_event_once(upkeep: Upkeep, siem: Siem, client: httpx.AsyncClient) -> None:
    for number, outcomes in enumerate([(Outcome.FAIL, Outcome.FAIL), (Outcome.PASS, Outcome.FAIL)] * 4, start=1):
        await _judge(upkeep, number, *outcomes)
    sent = [made.event for made in siem.got]
    got: list[Any] = []
    cursor: Sequence[Any] = ()
    while True:
        page = (await client.get("/v1/findings", params={"limit": 2, **dict(cursor)})).raise_for_status().json()
        got += page["items"]
        cursor = [("cursor", page["next_cursor"])]
        if not page["has_more"]:
            break
    assert got == sent
    page = (await client.get("/v1/findings", params=dict(cursor))).json()
    assert (page["items"], page["has_more"], page["is_cut"]) == ([], False, False)
    await _judge(upkeep, 20, Outcome.FAIL, Outcome.FAIL)
    page = (await client.get("/v1/findings", params=dict(cursor))).json()
    assert [item["unmapped"]["transition"] for item in page["items"]] == ["regressed"]
    filtered = (await client.get("/v1/findings", params={"control": "C-2"})).json()["items"]
    assert [item["metadata"]["event_code"] for item in filtered] == ["C-2"]


async def test_another_tenants_events_and_cursors_are_nothing_to_us(
    upkeep: Upkeep, client: httpx.AsyncClient, services: Services
) -> None:
    await _judge(upkeep, 1, Outcome.FAIL, tenant="fabrikam")
    page = (await client.get("/v1/findings")).json()
    assert page["items"] == []
    other = await services.findings.page("fabrikam", FindingQuery())
    assert len(other.items) == 1
    answer = await client.get("/v1/findings", params={"cursor": other.next_cursor})
    assert answer.status_code == 422


@pytest.mark.parametrize(("severity", "count"), [("high", 2), ("critical", 0)])
async def test_a_webhook_brings_the_same_events(
    upkeep: Upkeep, siem: Siem, client: httpx.AsyncClient, database: Database, severity: str, count: int
) -> None:
    """By the severity of the control: a finding that closes is informational, and told to who heard of it."""
    events = {"compliance_finding": {"severity": severity}}
    hook = {"name": "SOC", "url": "https://hooks.contoso.example/", "events": events}
    made = (await client.post("/v1/webhooks", json=hook)).raise_for_status().json()
    await _judge(upkeep, 1, Outcome.FAIL)
    await _judge(upkeep, 2, Outcome.PASS)
    await composition.build_notifier(database, Ownership(lambda: {0}, lambda _: True)).turn(datetime.now(UTC))
    queued = (await client.get(f"/v1/webhooks/{made['webhook_id']}/deliveries")).json()["items"]
    bodies = [json.loads(item["body"]) for item in queued]
    assert {body["type"] for body in bodies} <= {"compliance.finding"}
    told = sorted((body["data"] for body in bodies), key=lambda event: event["metadata"]["sequence"])
    assert told == [each.event for each in siem.got][:count]


async def test_the_stream_brings_them_only_to_who_names_them(upkeep: Upkeep, client: httpx.AsyncClient) -> None:
    await _judge(upkeep, 1, Outcome.FAIL)
    since = {"follow": "false", "since": "2026-01-01T00:00:00Z"}
    everything = (await client.get("/v1/events", params=since)).text
    named = (await client.get("/v1/events", params={**since, "kind": "compliance_finding"})).text
    assert "event: score_changed" in everything
    assert "compliance_finding" not in everything
    assert '"class_uid":2003' in named


async def test_evidence_that_keeps_changing_is_told_once_an_hour(
    upkeep: Upkeep, siem: Siem, database: Database
) -> None:
    for number in range(1, 5):
        await _judge(upkeep, number, result("C-1", Outcome.PARTIAL, exposed=number))
    assert siem.told() == [("C-1", "failed", 1), ("C-1", "evidence_changed", 1)]
    await _round(upkeep, datetime.now(UTC) + timedelta(hours=1))
    found = [made.event["unmapped"]["counts"]["exposed"] for made in siem.got]
    assert (siem.told(), found) == ([("C-1", "evidence_changed", 1)], [4])


@pytest.mark.parametrize("product", list(Product))
async def test_a_feed_that_is_turned_on_later_tells_what_stands(
    database: Database, siem: Siem, product: Product
) -> None:
    silent = upkeep_of(database)
    await silent.projection.take_definitions([definition(control) for control in CONTROLS])
    await _judge(silent, 1, Outcome.FAIL, Outcome.PASS, product=product)
    upkeep = await _restarted(database, siem)
    await _judge(upkeep, 2, Outcome.FAIL, Outcome.PASS, product=product)
    assert siem.told() == [("C-1", "failed", 1)]
