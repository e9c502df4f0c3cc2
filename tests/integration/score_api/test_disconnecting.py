"""Disconnecting an instance: at once for readers, whole whatever is killed, and final for what comes late."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from plumbline_contracts.events import (
    ControlResult,
    ControlResults,
    Health,
    InstanceStatus,
    Outcome,
    RequestReason,
    RunSummary,
)
from plumbline_score_api.app import Database
from plumbline_score_api.audit.repository import AuditRepository
from plumbline_score_api.audit.schemas import Author
from plumbline_score_api.instances.disconnecting import DisconnectingService
from plumbline_score_api.instances.insights import InsightsService
from plumbline_score_api.instances.repository import DisconnectionRepository, InsightsRepository
from plumbline_score_api.keys.schemas import Role
from plumbline_score_api.problems import MEDIA_TYPE
from plumbline_score_api.projection.evaluations import Evaluation
from plumbline_score_api.projection.repository import ProjectionRepository
from plumbline_score_api.projection.upkeep import Upkeep
from plumbline_score_api.services import Services

from tests.integration.score_api.events import START, Judged, definition, result, status
from tests.integration.score_api.in_process import client_for, upkeep_of

Take = Callable[..., Awaitable[None]]
CHANGES = {"resolution": "change", "since": (START - timedelta(days=10)).isoformat()}
ANN = Author("ann", "key:ann")
HELD = ("findings", "exposed", "pictures", "parts", "decisions", "decision_exposed")
"""What is deleted."""


@pytest.fixture
async def take(upkeep: Upkeep) -> Take:
    """Projects evaluations."""

    async def project(*evaluations: Judged) -> None:
        for judged in evaluations:
            for part in judged.parts():
                await upkeep.projection.take_part(part)

    return project


@pytest.fixture
async def served(client: httpx.AsyncClient, upkeep: Upkeep, take: Take) -> None:
    """sales-eu is main with 6 of 9 points, one by a decision; sales-us is off with 3 of 3; fabrikam has a sales-eu."""
    for name in ("sales-eu", "sales-us"):
        await upkeep.projection.take_status(status(name))
    await take(
        Judged(1, [result("C-1", Outcome.FAIL, exposed=2), result("C-2", Outcome.FAIL), result("C-3")]),
        Judged(2, [result("C-1")], instance="sales-us"),
        Judged(1, [result("C-1", Outcome.FAIL, exposed=1)], tenant="fabrikam"),
    )
    body = {"status": "resolved_third_party", "note": "A proxy."}
    (await client.put("/v1/recommendations/sales-eu/C-1/status", json=body)).raise_for_status()
    await _round(upkeep)


async def _round(upkeep: Upkeep) -> None:
    await upkeep.round(lambda _: True, datetime.now(UTC))


async def _get(client: httpx.AsyncClient, path: str, **params: Any) -> Any:
    return (await client.get(path, params=params)).raise_for_status().json()


async def _points(client: httpx.AsyncClient, **scope: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await _get(client, "/v1/history", **CHANGES, **scope))["items"]
    return found


async def _disconnect(client: httpx.AsyncClient, name: str = "sales-eu", **params: str) -> None:
    answer = await client.delete(f"/v1/instances/{name}", params=params)
    assert (answer.status_code, answer.content) == (204, b"")


async def _held(database: Database, instance: str = "sales-eu", tenant: str = "contoso") -> dict[str, int]:
    mine = {"tenant": tenant, "instance": instance}
    return {name: await database[name].count_documents(mine) for name in HELD}


class _Again(Judged):
    """An evaluation that was made at the moment at which its snapshot began."""

    def parts(self) -> list[ControlResults]:
        return [part.model_copy(update={"evaluated_at": self.started_at}) for part in super().parts()]


def _again(*results: ControlResult) -> Judged:
    """An evaluation of a snapshot that begins now."""
    return _Again(0, results, hours=(datetime.now(UTC) - START) / timedelta(hours=1))


def _run(started_at: datetime, *, succeeded: bool = True) -> RunSummary:
    return RunSummary(
        request_id="r",
        reason=RequestReason.SCHEDULE,
        started_at=started_at,
        completed_at=started_at + timedelta(seconds=30),
        succeeded=succeeded,
        message="It ran.",
    )


# --- at once


async def test_the_score_falls_at_once_and_nothing_of_it_is_shown(client: httpx.AsyncClient, served: None) -> None:
    assert (await _get(client, "/v1/secure-score"))["current"] == 6
    await _disconnect(client)
    score = await _get(client, "/v1/secure-score")
    assert (score["current"], score["max"]) == (3, 3)
    assert [each["main_instance"] for each in score["products"]] == ["sales-us"]
    assert [each["instance"] for each in (await _get(client, "/v1/instances"))["items"]] == ["sales-us"]
    assert {each["instance"] for each in (await _get(client, "/v1/recommendations"))["items"]} == {"sales-us"}
    for method, path in (
        ("GET", "/v1/instances/sales-eu"), ("GET", "/v1/instances/sales-eu/score"),
        ("GET", "/v1/recommendations/sales-eu/C-1"), ("GET", "/v1/recommendations/sales-eu/C-1/exposed"),
        ("POST", "/v1/instances/sales-eu/scan"), ("GET", "/v1/instances/sales-eu/oscal"),
    ):  # fmt: skip
        assert (await client.request(method, path)).status_code == 404, path
    body = {"status": "planned"}
    assert (await client.put("/v1/recommendations/sales-eu/C-1/status", json=body)).status_code == 404
    assert (await client.put("/v1/instances/sales-eu/insights", json={"insights": "on"})).status_code == 404


async def test_the_last_instance_leaves_an_empty_score(client: httpx.AsyncClient, served: None, upkeep: Upkeep) -> None:
    for name in ("sales-us", "sales-eu"):
        await _disconnect(client, name)
    assert await _get(client, "/v1/products") == {"items": []}
    await _round(upkeep)
    assert (await _points(client))[-1]["max"] == 0


# --- what follows


async def test_history_says_who_and_why_and_stays(client: httpx.AsyncClient, served: None, upkeep: Upkeep) -> None:
    await _disconnect(client, note="The org was sold.")
    await _round(upkeep)
    for scope in ({}, {"product": "salesforce"}):
        point = (await _points(client, **scope))[-1]
        told = {change["instance"]: change for change in point["insights"]}
        gone, heir = told["sales-eu"], told["sales-us"]
        assert (gone["before"], gone["after"], gone["points"], gone["max_points"]) == ("main", "off", -6, -9)
        assert (gone["by"], gone["note"]) == ("tests", "Disconnected. The org was sold.")
        assert (heir["before"], heir["after"], heir["points"]) == ("off", "main", 3)
        assert (point["current"], point["points"], point["max_points"]) == (3, -3, -6)
    points = await _points(client, instance="sales-eu")
    assert [(each["current"], each["max"]) for each in points] == [(3, 9), (6, 9), (0, 0)]
    assert {change["kind"] for change in points[-1]["changes"]} == {"retired"}


async def test_the_audit_trail_stays_and_says_who(client: httpx.AsyncClient, served: None) -> None:
    await _disconnect(client, note="Sold.")
    found = (await _get(client, "/v1/audit"))["items"]
    assert [(each["action"], each["instance"], each["note"]) for each in found] == [
        ("insights_set", "sales-us", "sales-eu was disconnected."),
        ("instance_disconnected", "sales-eu", "Sold."),
        ("status_set", "sales-eu", "A proxy."),
    ]
    assert {each["who"] for each in found} == {"tests"}


async def test_findings_entities_and_decisions_go_and_other_instances_and_tenants_keep_theirs(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep, database: Database
) -> None:
    others = [await _held(database, "sales-us"), await _held(database, tenant="fabrikam")]
    held = await _held(database)
    assert [name for name in HELD if not held[name]] == ["parts"]
    await _disconnect(client)
    await _round(upkeep)
    assert set((await _held(database)).values()) == {0}
    assert [await _held(database, "sales-us"), await _held(database, tenant="fabrikam")] == others


async def test_doing_it_again_changes_nothing(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep, database: Database
) -> None:
    await _disconnect(client)
    await _disconnect(client)
    await _round(upkeep)
    points, trail = await _points(client), await _get(client, "/v1/audit")
    await _disconnect(client)
    await _round(upkeep)
    assert (await _points(client), await _get(client, "/v1/audit")) == (points, trail)


async def test_only_who_manages_instances_may_and_only_what_there_is(
    client: httpx.AsyncClient, services: Services, served: None
) -> None:
    for role in Role:
        async with client_for(services, await services.keys.create("contoso", role, frozenset({role}))) as other:
            answer = await other.delete("/v1/instances/nobody")
        expected = 404 if role is Role.INSTANCES else 403
        assert (answer.status_code, answer.headers["content-type"]) == (expected, MEDIA_TYPE)
    assert (await client.delete("/v1/instances/sales-eu", params={"force": "1"})).status_code == 422
    assert len((await _get(client, "/v1/instances"))["items"]) == 2


# --- killed in the middle


async def test_the_projector_does_what_the_api_could_not(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep, database: Database
) -> None:
    """The API was killed after its first write."""
    repository, audit = DisconnectionRepository(database), AuditRepository(database)
    dying = DisconnectingService(repository, InsightsService(_Killed(database), audit), audit)
    with pytest.raises(_KilledError):
        await dying.disconnect("contoso", "sales-eu", ANN, None)
    assert (await client.get("/v1/instances/sales-eu")).status_code == 404
    await _round(upkeep)
    assert (await _get(client, "/v1/secure-score"))["products"][0]["main_instance"] == "sales-us"
    assert set((await _held(database)).values()) == {0}
    assert (await _get(client, "/v1/audit", action="instance_disconnected"))["items"][0]["who"] == "ann"
    assert (await _points(client))[-1]["insights"]
    assert await repository.pending() == []


class _KilledError(Exception):
    """The process ends here."""


class _Killed(InsightsRepository):
    async def replace(self, *_: Any, **__: Any) -> bool:
        raise _KilledError


async def test_a_projector_that_is_killed_on_the_way_is_followed_by_another(
    client: httpx.AsyncClient, served: None, database: Database
) -> None:
    """Killed before each of the steps that write."""
    await _disconnect(client)
    for name in ("_findings", "_exposed", "_pictures"):
        dying = upkeep_of(database, _dying(database, name))
        with pytest.raises(_KilledError):
            await _round(dying)
        assert await DisconnectionRepository(database).pending() == [("contoso", "sales-eu")]
    points = await _points(client)
    await _round(upkeep_of(database))
    assert await _points(client) == points
    assert set((await _held(database)).values()) == {0}
    assert len((await _get(client, "/v1/audit", action="instance_disconnected"))["items"]) == 1


def _dying(database: Database, name: str) -> ProjectionRepository:
    """A repository whose process ends when it deletes from one of its collections."""

    class Dying:
        async def delete_many(self, _: Any) -> None:
            raise _KilledError

    repository = ProjectionRepository(database)
    setattr(repository, name, Dying())
    return repository


# --- what comes late


async def test_late_results_do_not_bring_it_back(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep, take: Take, database: Database
) -> None:
    """The same again, a re-evaluation of the same snapshot, newer snapshots from before, before and after the end."""
    staged = Judged(6, [result("C-1")]).parts()
    await upkeep.projection.take_part(staged[0])
    await _disconnect(client)
    for _ in range(2):
        await take(
            Judged(1, [result("C-1")]),
            Judged(1, [result("C-1")], catalogue="c2", generation=2),
            Judged(5, [result("C-1")], hours=71),
        )
        for part in staged:
            await upkeep.projection.take_part(part)
        assert (await client.get("/v1/instances/sales-eu")).status_code == 404
        await _round(upkeep)
    assert set((await _held(database)).values()) == {0}


async def test_an_evaluation_that_waited_for_its_definitions_does_not_bring_it_back(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep, take: Take, database: Database
) -> None:
    await take(Judged(5, [result("C-9")]))
    await _disconnect(client)
    await upkeep.projection.take_definitions([definition("C-9")])
    assert await upkeep.projection.apply_waiting() == []
    await _round(upkeep)
    assert (await client.get("/v1/instances/sales-eu")).status_code == 404
    assert set((await _held(database)).values()) == {0}


async def test_no_replica_can_switch_readers_to_an_older_snapshot(
    client: httpx.AsyncClient, served: None, database: Database
) -> None:
    """One that looked before the instance was disconnected, and writes afterwards."""
    await _disconnect(client)
    late = Evaluation.of(Judged(5, hours=71).parts()[-1])
    current = {"key": late.key, "started_at": START + timedelta(hours=71)}
    assert await ProjectionRepository(database).switch("contoso", late, None, current) is False
    assert (await client.get("/v1/instances/sales-eu")).status_code == 404


@pytest.mark.parametrize("is_closed", [False, True])
async def test_late_statuses_do_not_bring_it_back(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep, *, is_closed: bool
) -> None:
    """Not the paused one either, which the collector writes when the connection leaves its file."""
    before = datetime.now(UTC) - timedelta(minutes=5)
    await _disconnect(client)
    if is_closed:
        await _round(upkeep)
    soon = datetime.now(UTC) + timedelta(seconds=30)
    late: list[InstanceStatus] = [
        status(number=5),
        status(updated_at=soon),
        status(updated_at=soon, last_run=_run(before), last_started_at=before),
        status(updated_at=soon, last_run=_run(soon), health=Health.PAUSED),
    ]
    for each in late:
        await upkeep.projection.take_status(each)
        assert (await client.get("/v1/instances/sales-eu")).status_code == 404
    await _round(upkeep)
    assert [each["instance"] for each in (await _get(client, "/v1/instances"))["items"]] == ["sales-us"]
    assert (await _get(client, "/v1/products/salesforce"))["main_instance"] == "sales-us"


# --- connected again


@pytest.mark.parametrize("is_closed", [False, True])
async def test_a_later_snapshot_connects_it_again_without_its_past(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep, take: Take, *, is_closed: bool
) -> None:
    await _disconnect(client)
    if is_closed:
        await _round(upkeep)
    await take(_again(result("C-1", Outcome.FAIL, exposed=2), result("C-2")))
    instance = await _get(client, "/v1/instances/sales-eu")
    assert (instance["current"], instance["max"], instance["insights"]) == (3, 6, "off")
    detail = await _get(client, "/v1/recommendations/sales-eu/C-1")
    assert (detail["status"], detail["decision"], detail["first_seen_at"]) == (
        "to_address", None, detail["evaluated_at"],
    )  # fmt: skip
    assert len(detail["exposed_entities"]["items"]) == 2
    await _round(upkeep)
    assert [(each["current"], each["max"]) for each in await _points(client, instance="sales-eu")] == [
        (3, 9), (6, 9), (0, 0), (3, 6),
    ]  # fmt: skip


async def test_a_later_run_connects_it_again_though_it_failed(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep
) -> None:
    await _disconnect(client)
    begun = datetime.now(UTC) + timedelta(seconds=10)
    failed = status(updated_at=begun + timedelta(seconds=1), last_run=_run(begun, succeeded=False))
    await upkeep.projection.take_status(failed)
    instance = await _get(client, "/v1/instances/sales-eu")
    assert (instance["max"], instance["insights"], instance["evaluated_at"]) == (0, "off", None)


async def test_disconnected_twice(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep, take: Take, database: Database
) -> None:
    await _disconnect(client)
    again = _again(result("C-1"))
    await take(again)
    await _disconnect(client)
    await take(again)
    await _round(upkeep)
    assert (await client.get("/v1/instances/sales-eu")).status_code == 404
    assert set((await _held(database)).values()) == {0}
    assert len((await _get(client, "/v1/audit", action="instance_disconnected"))["items"]) == 2


async def test_history_and_live_score_agree_through_all_of_it(
    client: httpx.AsyncClient, served: None, upkeep: Upkeep, take: Take
) -> None:
    await client.put("/v1/instances/sales-us/insights", json={"insights": "on"})
    await _round(upkeep)
    await _disconnect(client)
    await _round(upkeep)
    await take(_again(result("C-1"), result("C-2", Outcome.PARTIAL)))
    await client.put("/v1/instances/sales-eu/insights", json={"insights": "main"})
    await _round(upkeep)
    live = {
        None: await _get(client, "/v1/secure-score"),
        ("product", "salesforce"): await _get(client, "/v1/products/salesforce"),
        ("instance", "sales-eu"): await _get(client, "/v1/instances/sales-eu/score"),
    }
    for scope, score in live.items():
        points = await _points(client, **dict([scope] if scope is not None else []))
        assert (points[-1]["current"], points[-1]["max"]) == (score["current"], score["max"])
        for point in points:
            told = [*point["changes"], *point["insights"]]
            assert round(sum(change["points"] for change in told), 3) == point["points"], scope
            assert round(sum(change["max_points"] for change in told), 3) == point["max_points"], scope
