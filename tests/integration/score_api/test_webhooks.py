"""Webhooks: what people manage, what is queued, and what arrives, at targets good and bad."""

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from plumbline_contracts.events import Health, Outcome, Severity
from plumbline_score_api import app as composition
from plumbline_score_api.app import Database
from plumbline_score_api.keys.schemas import Role
from plumbline_score_api.projection.service import ProjectionService
from plumbline_score_api.services import Services
from plumbline_score_api.settings import Settings
from plumbline_score_api.webhooks.delivering import Courier
from plumbline_score_api.webhooks.notifying import Notifier, Ownership
from plumbline_score_api.webhooks.repository import DeliveryRepository, ProgressRepository
from plumbline_score_api.webhooks.schemas import Delivery
from plumbline_score_api.webhooks.targets import TargetRules
from structlog.testing import capture_logs

from tests.integration.score_api import targets
from tests.integration.score_api.asking import bare_app
from tests.integration.score_api.events import Judged, definition, result, status
from tests.integration.score_api.in_process import ALL_ROLES, client_for
from tests.integration.score_api.stage import Stage
from tests.integration.score_api.targets import Received, Target, says, target, threaded_target
from tests.polling import free_port, until

REPOSITORY = Path(__file__).parents[3]
ALL = {
    "score_dropped": {"scopes": ["tenant", "product", "instance"], "points": 1},
    "finding_opened": {"severity": "high"},
    "finding_regressed": {},
    "exception_expiring": {"days": 14},
    "connection_unhealthy": {"health": "degraded"},
}
TIMEOUT_SECONDS = 0.5


async def _do(work: Callable[[], Awaitable[None]]) -> None:
    await work()


def _notifier(database: Database) -> Notifier:
    return composition.build_notifier(database, Ownership(lambda: {0}, lambda _: True))


def _courier(database: Database, **changes: Any) -> Courier:
    allowed = {"webhooks_allow_http": True, "webhooks_allow_private_network": True}
    chosen = {**allowed, "webhook_timeout_seconds": TIMEOUT_SECONDS, **changes}
    return composition.build_courier(database, Settings.model_validate(chosen), _do)


@asynccontextmanager
async def _sending(database: Database, **changes: Any) -> AsyncIterator[Courier]:
    """A courier at work; at the end what it has begun is done."""
    courier = _courier(database, **changes)
    running = asyncio.create_task(courier.run())
    try:
        yield courier
    finally:
        courier.stop()
        await running


async def _until(condition: Callable[[], Awaitable[Any]], what: str) -> Any:
    """The first truthy answer, within some seconds."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if found := await condition():
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"not in time: {what}")


async def _got(found: Target, count: int) -> list[Received]:
    """What a target got, once there is so much."""

    async def enough() -> bool:
        return len(found.received) >= count

    await _until(enough, f"{count} messages")
    return found.received


@pytest.fixture
def services(database: Database) -> Services:
    """The services, which let targets be on loopback."""

    async def ask(_: Any) -> None:
        raise AssertionError("nothing asks for a collection here")

    return composition.build_services(database, ask, rules=TargetRules(allow_http=True, allow_private_network=True))


@pytest.fixture
async def receiver() -> AsyncIterator[Target]:
    async with target() as found:
        yield found


async def _subscribed(client: httpx.AsyncClient, url: str, events: Any = ALL, **changes: Any) -> dict[str, Any]:
    answer = await client.post("/v1/webhooks", json={"name": "SOC", "url": url, "events": events, **changes})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def _log(client: httpx.AsyncClient, hook: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(f"/v1/webhooks/{hook['webhook_id']}/deliveries", params=query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def _judge(projection: ProjectionService, number: int, *outcomes: Outcome, **changes: Any) -> None:
    """An evaluation of C-1, C-2 and so on."""
    results = [result(f"C-{place}", outcome) for place, outcome in enumerate(outcomes, start=1)]
    for part in Judged(number, results, **changes).parts():
        await projection.take_part(part)


@pytest.fixture
async def fallen(projection: ProjectionService) -> Callable[[], Awaitable[None]]:
    """An instance whose controls passed; called, one of them falls."""
    await projection.take_status(status())
    await _judge(projection, 1, Outcome.PASS, Outcome.PASS)

    async def fall() -> None:
        await _judge(projection, 2, Outcome.FAIL, Outcome.PASS)

    return fall


async def _test_message(client: httpx.AsyncClient, hook: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post(f"/v1/webhooks/{hook['webhook_id']}/test")
    assert answer.status_code == 202, answer.text
    item: dict[str, Any] = answer.json()
    return item


async def _queued(database: Database, hook: dict[str, Any], count: int = 1, **changes: Any) -> list[str]:
    """Messages that wait for a subscription; their ids."""
    now = datetime.now(UTC)
    base = {"tenant": "contoso", "webhook_id": hook["webhook_id"], "type": "finding.opened", "body": "{}"}
    moments = {"created_at": now, "queued_at": now, "due_at": now, "keep_until": now + timedelta(days=30)}
    ids = [f"msg_{hook['webhook_id']}{place:016x}" for place in range(count)]
    found = [Delivery.model_validate({**base, **moments, "message_id": name, **changes}) for name in ids]
    await DeliveryRepository(database).enqueue("contoso", found)
    return ids


# --- what people manage


async def test_a_secret_is_shown_once_and_nowhere_else(
    client: httpx.AsyncClient, database: Database, receiver: Target
) -> None:
    with capture_logs() as logs:
        hook = await _subscribed(client, receiver.url)
        rotated = (await client.post(f"/v1/webhooks/{hook['webhook_id']}/rotate-secret", json={})).json()
        await _test_message(client, hook)
        async with _sending(database):
            await _got(receiver, 1)
        path = f"/v1/webhooks/{hook['webhook_id']}"
        changed = await client.patch(path, json={"name": "Other"})
        answers = [await client.get(each) for each in ("/v1/webhooks", path, f"{path}/deliveries", "/v1/audit")]
        assert (await client.delete(path)).status_code == 204
    told = " ".join([changed.text, *(answer.text for answer in answers), str(logs)])
    for secret in (hook["secret"], rotated["secret"]):
        assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", secret)
        assert secret.removeprefix("whsec_") not in told
    assert "receivers-own" not in str(logs) + answers[3].text, "nor is the rest of the URL"
    trail = [d["action"] async for d in database["audit"].find({}).sort("order", 1)]
    assert [action for action in trail if action.startswith("webhook")] == [
        "webhook_created", "webhook_secret_rotated", "webhook_tested", "webhook_changed", "webhook_deleted",
    ]  # fmt: skip


async def test_who_may_only_read_sees_no_more_of_a_url_than_its_host(
    client: httpx.AsyncClient, services: Services
) -> None:
    hook = await _subscribed(client, "https://hooks.contoso.example/T0/secret?x=y")
    assert hook["url"] == "https://hooks.contoso.example/T0/secret?x=y"
    key = await services.keys.create("contoso", "reader", frozenset({Role.READ}))
    async with client_for(services, key) as reader:
        assert (await reader.get(f"/v1/webhooks/{hook['webhook_id']}")).json()[
            "url"
        ] == "https://hooks.contoso.example/"


async def test_a_webhook_is_changed_by_who_knows_it(client: httpx.AsyncClient) -> None:
    hook = await _subscribed(client, "https://hooks.contoso.example/")
    path = f"/v1/webhooks/{hook['webhook_id']}"
    tag = (await client.get(path)).headers["etag"]
    changed = await client.patch(
        path, json={"is_enabled": False, "products": ["salesforce"]}, headers={"If-Match": tag}
    )
    assert changed.status_code == 200
    assert (changed.json()["is_enabled"], changed.json()["disabled"]["reason"]) == (False, "by_person")
    assert changed.json()["products"] == ["salesforce"]
    assert changed.headers["etag"] != tag
    for method in ("PATCH", "DELETE"):
        stale = await client.request(method, path, json={} if method == "PATCH" else None, headers={"If-Match": tag})
        assert stale.status_code == 412
    again = await client.patch(path, json={"is_enabled": True}, headers={"If-Match": changed.headers["etag"]})
    assert (again.json()["disabled"], again.json()["products"]) == (None, ["salesforce"])
    same = await client.patch(path, json={"is_enabled": True})
    assert same.headers["etag"] == again.headers["etag"], "saying again what holds changes nothing"
    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"url": "https://user:pass@hooks.example/"},
        {"url": "https://169.254.169.254/"},
        {"url": "ftp://hooks.example/"},
        {"url": "https://hooks.example/ x"},
        {"url": "https://hooks.example/" + "x" * 2000},
        {"events": {}},
        {"events": {"score_dropped": {}}},
        {"events": {"anything": {}}},
        {"name": ""},
        {"name": "a\nb"},
        {"instances": ["no/slash"]},
        {"products": ["excel"]},
        {"secret": "whsec_x"},
        {"url": {"$gt": ""}},
    ],
)
async def test_a_bad_subscription_is_refused_and_nothing_is_written(
    client: httpx.AsyncClient, database: Database, change: dict[str, Any]
) -> None:
    good = {"name": "SOC", "url": "https://hooks.example/", "events": {"finding_opened": {}}}
    assert (await client.post("/v1/webhooks", json={**good, **change})).status_code == 422
    assert await database["webhooks"].count_documents({}) == 0
    hook = await _subscribed(client, good["url"], good["events"])  # type: ignore[arg-type]
    if change != {"events": {}}:
        assert (await client.patch(f"/v1/webhooks/{hook['webhook_id']}", json=change)).status_code == 422


async def test_plain_http_and_private_addresses_need_a_setting(database: Database, services: Services) -> None:
    strict = composition.build_services(database, services.instances._ask)
    async with client_for(strict, await services.keys.create("contoso", "x", ALL_ROLES)) as client:
        for url in ("http://hooks.example/", "https://10.0.0.1/", "https://[::1]/"):
            answer = await client.post("/v1/webhooks", json={"name": "x", "url": url, "events": ALL})
            assert answer.status_code == 422, url


async def test_there_is_an_end_to_how_many_there_may_be(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plumbline_score_api.webhooks.service.MOST_WEBHOOKS", 2)
    for _ in range(2):
        await _subscribed(client, "https://hooks.example/")
    body = {"name": "x", "url": "https://hooks.example/", "events": ALL}
    assert (await client.post("/v1/webhooks", json=body)).status_code == 409


# --- what is told


async def test_a_regression_arrives_signed_as_the_how_to_verifies_it(
    client: httpx.AsyncClient, database: Database, receiver: Target, fallen: Callable[[], Awaitable[None]]
) -> None:
    hook = await _subscribed(client, receiver.url)
    await fallen()
    await _notifier(database).turn(datetime.now(UTC))
    async with _sending(database):
        received = await _got(receiver, 4)
    verify = _verifier()
    for each in received:
        verify(hook["secret"], each.headers, each.body)
        with pytest.raises(ValueError, match="no signature fits"):
            verify(hook["secret"], each.headers, each.body + b" ")
        with pytest.raises(ValueError, match="too old"):
            verify(hook["secret"], {**each.headers, "webhook-timestamp": "1614265330"}, each.body)
        assert each.headers["content-type"] == "application/json"
        assert each.line == "POST /hook?token=receivers-own HTTP/1.1"
        _is_as_documented(each.said)
    said = {(each.said["type"], each.said["data"].get("scope")): each.said["data"] for each in received}
    assert said.keys() == {
        ("finding.regressed", None),
        *(("score.dropped", scope) for scope in ("tenant", "product", "instance")),
    }
    finding = said[("finding.regressed", None)]
    assert (finding["control_id"], finding["before"], finding["outcome"]) == ("C-1", "PASS", "FAIL")
    assert (finding["severity"], finding["title"], finding["points"]) == ("high", "Title of C-1", -3)
    assert (await client.get(finding["path"])).status_code == 200
    assert said[("score.dropped", "product")]["percent"] == -50
    log = await _log(client, hook)
    assert {item["state"] for item in log} == {"delivered"}
    assert {item["response_code"] for item in log} == {204}
    assert {item["attempts"] for item in log} == {1}
    assert {item["delivery_id"] for item in log} == {each.message_id for each in received}


def _is_as_documented(message: dict[str, Any]) -> None:
    """Whether the document describes a message."""
    document = bare_app().openapi()
    for operation in (item["post"] for item in document["webhooks"].values()):
        assert operation["security"] == [], "a receiver has no key of ours"
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        validator = Draft202012Validator({**schema, "components": document["components"]})
        if validator.is_valid(message):
            return
    raise AssertionError(f"the document knows no such message: {message}")


def _verifier() -> Callable[[str, dict[str, str], bytes], None]:
    """The function that the how-to gives to receivers in Python."""
    page = (REPOSITORY / "docs/how-to/receive-webhooks.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "receive-webhooks.md", "exec"), names)  # noqa: S102 - our own page
    verify: Callable[[str, dict[str, str], bytes], None] = names["verify"]
    return verify


async def test_a_severity_a_filter_and_a_late_subscriber_leave_out(
    client: httpx.AsyncClient, database: Database, projection: ProjectionService, fallen: Callable[[], Awaitable[None]]
) -> None:
    await projection.take_definitions([definition("C-1", severity=Severity.LOW, generation=2)])
    url, kinds = "https://hooks.example/", {"finding_opened": {"severity": "high"}, "finding_regressed": {}}
    early = await _subscribed(client, url, kinds)
    elsewhere = await _subscribed(client, url, kinds, instances=["other"])
    off = await _subscribed(client, url, kinds)
    await client.patch(f"/v1/webhooks/{off['webhook_id']}", json={"is_enabled": False})
    await _judge(projection, 2, Outcome.UNKNOWN, Outcome.UNKNOWN)
    await _judge(projection, 3, Outcome.FAIL, Outcome.FAIL)
    late = await _subscribed(client, url, kinds)
    await _notifier(database).turn(datetime.now(UTC))
    (item,) = await _log(client, early)
    assert (item["type"], '"control_id":"C-2"' in item["body"]) == ("finding.opened", True)
    for hook in (elsewhere, off, late):
        assert await _log(client, hook) == []
    await _judge(projection, 4, Outcome.FAIL, Outcome.PASS)
    await _judge(projection, 5, Outcome.FAIL, Outcome.FAIL)
    await _notifier(database).turn(datetime.now(UTC))
    assert [item["type"] for item in await _log(client, late)] == ["finding.regressed"]


async def test_a_decision_that_ends_soon_is_told_once_for_each_end(
    client: httpx.AsyncClient, database: Database, fallen: Callable[[], Awaitable[None]]
) -> None:
    await fallen()
    hook = await _subscribed(client, "https://hooks.example/", {"exception_expiring": {"days": 14}})

    async def decide(days: int) -> None:
        body = {"status": "risk_accepted", "expires_at": (datetime.now(UTC) + timedelta(days=days)).isoformat()}
        path = "/v1/recommendations/sales-eu/C-1/status"
        assert (await client.put(path, json=body)).status_code == 200

    await decide(30)
    for days, told in ((0, 0), (17, 1), (18, 1)):
        await _notifier(database).turn(datetime.now(UTC) + timedelta(days=days))
        assert len(await _log(client, hook)) == told
    await decide(10)
    for _ in range(2):
        await _notifier(database).turn(datetime.now(UTC))
        assert [item["type"] for item in await _log(client, hook)] == ["exception.expiring"] * 2


async def test_a_template_that_ends_soon_is_told_once_for_all_instances(
    client: httpx.AsyncClient, database: Database, fallen: Callable[[], Awaitable[None]]
) -> None:
    await fallen()
    hook = await _subscribed(client, "https://hooks.example/", {"exception_expiring": {}}, instances=["other"])
    body = {"status": "risk_accepted", "expires_at": (datetime.now(UTC) + timedelta(days=3)).isoformat()}
    assert (await client.put("/v1/controls/C-1/status-template", json=body)).status_code == 200
    await _notifier(database).turn(datetime.now(UTC))
    (item,) = await _log(client, hook)
    assert '"instance":null' in item["body"]


async def test_a_connection_is_told_when_it_fails_and_when_it_is_well_again(
    client: httpx.AsyncClient, database: Database, projection: ProjectionService
) -> None:
    url = "https://hooks.example/"
    hook = await _subscribed(client, url, {"connection_unhealthy": {"health": "failed"}})
    touchy = await _subscribed(client, url, {"connection_unhealthy": {"health": "degraded"}})
    steps = [
        (Health.HEALTHY, [], []),
        (Health.DEGRADED, [], ["unhealthy"]),
        (Health.FAILED, ["unhealthy"], ["unhealthy", "unhealthy"]),
        (Health.PAUSED, ["unhealthy"], ["unhealthy", "unhealthy"]),
        (Health.FAILED, ["unhealthy"], ["unhealthy", "unhealthy"]),
        (Health.HEALTHY, ["unhealthy", "recovered"], ["unhealthy", "unhealthy", "recovered"]),
    ]
    for number, (health, told, told_touchy) in enumerate(steps):
        await projection.take_status(status(number=number, health=health))
        for _ in range(2):
            await _notifier(database).turn(datetime.now(UTC))
        for each, wanted in ((hook, told), (touchy, told_touchy)):
            found = [item["type"].removeprefix("connection.") for item in await _log(client, each)]
            assert sorted(found) == sorted(wanted), health


async def test_who_subscribes_while_a_connection_fails_is_told(
    client: httpx.AsyncClient, database: Database, projection: ProjectionService
) -> None:
    first = await _subscribed(client, "https://hooks.example/", {"connection_unhealthy": {}})
    await projection.take_status(status(health=Health.FAILED))
    await _notifier(database).turn(datetime.now(UTC))
    late = await _subscribed(client, "https://hooks.example/", {"connection_unhealthy": {}})
    await _notifier(database).turn(datetime.now(UTC))
    assert [len(await _log(client, hook)) for hook in (first, late)] == [1, 1]


async def test_another_tenants_subscription_hears_nothing_of_ours(
    client: httpx.AsyncClient, services: Services, database: Database, fallen: Callable[[], Awaitable[None]]
) -> None:
    key = await services.keys.create("fabrikam", "tests", ALL_ROLES)
    async with client_for(services, key) as fabrikam:
        theirs = await _subscribed(fabrikam, "https://hooks.fabrikam.example/")
        ours = await _subscribed(client, "https://hooks.example/")
        await fallen()
        await _notifier(database).turn(datetime.now(UTC))
        assert await _log(fabrikam, theirs) == []
        (item, *_) = await _log(client, ours)
        for path in ("", "/deliveries", f"/deliveries/{item['delivery_id']}"):
            assert (await fabrikam.get(f"/v1/webhooks/{ours['webhook_id']}{path}")).status_code == 404


# --- crashes and rivals


class KilledError(Exception):
    """The replica is gone."""


class KilledProgress(ProgressRepository):
    """The replica is killed when the messages are written, and before that is remembered."""

    async def advance(self, partition: int, number: int) -> None:
        raise KilledError

    async def turn(self, *_: Any) -> None:
        raise KilledError


async def test_a_replica_that_is_killed_between_queue_and_cursor_loses_and_repeats_nothing(
    client: httpx.AsyncClient, database: Database, projection: ProjectionService, fallen: Callable[[], Awaitable[None]]
) -> None:
    hook = await _subscribed(client, "https://hooks.example/")
    await fallen()
    await projection.take_status(status(number=5, health=Health.FAILED))
    killed, good = _notifier(database), _notifier(database)
    killed._progress = KilledProgress(database)
    for work in (killed.turn(datetime.now(UTC)), killed.tell_connections(datetime.now(UTC))):
        with pytest.raises(KilledError):
            await work
    before = {item["delivery_id"]: item["body"] for item in await _log(client, hook)}
    assert len(before) == 5
    await good.turn(datetime.now(UTC))
    assert {item["delivery_id"]: item["body"] for item in await _log(client, hook)} == before
    await good.turn(datetime.now(UTC))
    assert len(await _log(client, hook)) == 5


async def test_two_owners_queue_the_same_and_two_couriers_send_it_once(
    client: httpx.AsyncClient, database: Database, receiver: Target, fallen: Callable[[], Awaitable[None]]
) -> None:
    await _subscribed(client, receiver.url)
    await fallen()
    now = datetime.now(UTC)
    await asyncio.gather(*(_notifier(database).turn(now) for _ in range(2)))
    async with _sending(database), _sending(database):
        await _got(receiver, 4)

        async def is_done() -> bool:
            return not await database["webhook_deliveries"].count_documents({"state": "pending"})

        await _until(is_done, "all are delivered")
    assert len({each.message_id for each in receiver.received}) == len(receiver.received) == 4


async def test_what_a_killed_courier_had_in_hand_is_sent_when_its_claim_is_over(
    client: httpx.AsyncClient, database: Database, receiver: Target
) -> None:
    hook = await _subscribed(client, receiver.url)
    (name,) = await _queued(database, hook)
    repository = DeliveryRepository(database)
    found = await repository.find("contoso", hook["webhook_id"], name)
    assert found is not None
    now = datetime.now(UTC)
    assert await repository.claim("contoso", found, "killed", now + timedelta(seconds=60))
    assert await repository.due(now, 10, but_tenants=[], but_webhooks=[]) == [], "somebody has it"
    (late,) = await repository.due(now + timedelta(seconds=61), 10, but_tenants=[], but_webhooks=[])
    assert late.attempts == 1
    await database["webhook_deliveries"].update_one({}, {"$set": {"due_at": now}})
    async with _sending(database):
        await _got(receiver, 1)
    assert [each.message_id for each in receiver.received] == [name]
    (item,) = await _log(client, hook)
    assert (item["state"], item["attempts"]) == ("delivered", 2)


def test_a_projector_that_is_killed_delivers_after_its_restart(stage: Stage) -> None:
    allowed: dict[str, Any] = {"webhooks_allow_http": True, "webhooks_allow_private_network": True}
    projector = stage.project(**allowed)
    _, client = stage.serve(**allowed)
    nowhere = f"http://127.0.0.1:{free_port()}/"
    made = client.post("/v1/webhooks", json={"name": "SOC", "url": nowhere, "events": ALL})
    assert made.status_code == 201, made.text
    path = f"/v1/webhooks/{made.json()['webhook_id']}"
    stage.define("C-1", "C-2", "C-3")
    stage.send("instance-status", status())
    stage.judge(Judged(1, [result("C-1")]))
    stage.judge(Judged(2, [result("C-1", Outcome.FAIL)]))

    def log() -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = client.get(f"{path}/deliveries").json()["items"]
        return items

    until(lambda: len([i for i in log() if i["log"]]) == 4, within_seconds=60, what="the target cannot be reached")
    assert {item["log"][0]["outcome"] for item in log()} == {"unreachable"}
    until(
        lambda: projector.metric('plumbline_score_api_webhook_attempts_total{outcome="unreachable"}') >= 4,
        within_seconds=10,
        what="attempts are counted",
    )
    projector.service.kill()
    with threaded_target() as (url, received):
        assert client.patch(path, json={"url": url}).status_code == 200
        stage.ask(_all_due)
        second = stage.project(**allowed)
        until(lambda: len({r.message_id for r in received}) == 4, within_seconds=60, what="all messages arrive")
        until(lambda: {i["state"] for i in log()} == {"delivered"}, within_seconds=10, what="they are delivered")
        assert second.service.stop() == 0
    assert made.json()["secret"] not in projector.service.text() + second.service.text()


async def _all_due(database: Database, _: Any) -> None:
    """Time passes."""
    change = {"$set": {"due_at": datetime.now(UTC)}}
    await database["webhook_deliveries"].update_many({"state": "pending"}, change)


# --- targets that do harm


async def _attempted(
    client: httpx.AsyncClient, database: Database, hook: dict[str, Any], **changes: Any
) -> dict[str, Any]:
    """The one delivery of a subscription after its first attempt."""

    async def first() -> dict[str, Any] | None:
        (item,) = await _log(client, hook)
        return item if item["log"] else None

    async with _sending(database, **changes):
        found: dict[str, Any] = await _until(first, "an attempt")
    return found


@pytest.mark.parametrize(
    ("answer", "state", "outcome", "code", "told"),
    [
        (says(200), "delivered", "delivered", 200, None),
        (targets.endless_body, "delivered", "delivered", 200, None),
        (says(500), "pending", "status", 500, "HTTP 500"),
        (says(404), "pending", "status", 404, "HTTP 404"),
        (targets.nothing, "pending", "timeout", None, "no answer within 0.5 s"),
        (targets.dripping_head, "pending", "timeout", None, "no answer within 0.5 s"),
        (targets.endless_head, "pending", "unreachable", None, "the request failed"),
        (targets.no_http, "pending", "unreachable", None, "the request failed"),
    ],
)
async def test_whatever_a_target_does_it_costs_one_attempt(
    client: httpx.AsyncClient,
    database: Database,
    receiver: Target,
    answer: targets.Answer,
    state: str,
    outcome: str,
    code: int | None,
    told: str | None,
) -> None:
    receiver.answer = answer
    hook = await _subscribed(client, receiver.url)
    await _queued(database, hook)
    item = await _attempted(client, database, hook)
    assert (item["state"], item["log"][0]["outcome"], item["response_code"]) == (state, outcome, code)
    assert told is None or item["log"][0]["detail"].startswith(told)
    assert item["latency_ms"] < 20_000
    assert len(receiver.received) == 1
    if state == "pending":
        wait = datetime.fromisoformat(item["next_attempt_at"]) - datetime.fromisoformat(item["log"][0]["at"])
        assert timedelta(seconds=5) <= wait < timedelta(seconds=30)


async def test_a_redirect_is_not_followed(client: httpx.AsyncClient, database: Database, receiver: Target) -> None:
    async with target() as elsewhere:
        receiver.answer = says(307, Location=elsewhere.url)
        hook = await _subscribed(client, receiver.url)
        await _queued(database, hook)
        item = await _attempted(client, database, hook)
        assert elsewhere.received == []
    assert (item["state"], item["response_code"]) == ("pending", 307)
    assert "not followed" in item["log"][0]["detail"]


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fe80::1", "100.100.100.200"]
)
async def test_a_public_name_with_a_forbidden_address_gets_nothing_and_the_address_is_not_told(
    client: httpx.AsyncClient, database: Database, receiver: Target, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    _resolve(monkeypatch, "hooks.contoso.example", address)
    hook = await _subscribed(client, f"http://hooks.contoso.example:{receiver.port}/")
    await _queued(database, hook)
    item = await _attempted(client, database, hook, webhooks_allow_private_network=False)
    assert receiver.received == []
    assert (item["log"][0]["outcome"], item["response_code"]) == ("forbidden", None)
    assert address not in str(item)


async def test_plain_http_is_not_spoken_although_the_subscription_says_so(
    client: httpx.AsyncClient, database: Database, receiver: Target
) -> None:
    hook = await _subscribed(client, receiver.url)
    await _queued(database, hook)
    item = await _attempted(client, database, hook, webhooks_allow_http=False)
    assert receiver.received == []
    assert item["log"][0]["outcome"] == "forbidden"


async def test_the_address_is_checked_at_every_attempt(
    client: httpx.AsyncClient, database: Database, receiver: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plumbline_contracts.network._is_public", lambda address: str(address) == "127.0.0.1")
    hook = await _subscribed(client, f"http://hooks.contoso.example:{receiver.port}/")
    _resolve(monkeypatch, "hooks.contoso.example", "127.0.0.1")
    async with _sending(database, webhooks_allow_private_network=False):
        await _test_message(client, hook)
        await _got(receiver, 1)
        _resolve(monkeypatch, "hooks.contoso.example", "10.0.0.7")
        await _test_message(client, hook)

        async def second() -> bool:
            return [i["state"] for i in await _log(client, hook)] == ["failed", "delivered"]

        await _until(second, "the second attempt")
    assert len(receiver.received) == 1


def _resolve(monkeypatch: pytest.MonkeyPatch, name: str, address: str) -> None:
    """Let a name have an address."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    real = type(loop).getaddrinfo

    async def getaddrinfo(host: Any, port: Any, **options: Any) -> Any:
        if host != name:
            return await real(loop, host, port, **options)
        return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)


async def test_410_turns_a_subscription_off_at_once(
    client: httpx.AsyncClient, database: Database, receiver: Target
) -> None:
    receiver.answer = says(410)
    hook = await _subscribed(client, receiver.url)
    await _queued(database, hook)
    assert (await _attempted(client, database, hook))["state"] == "failed"
    path = f"/v1/webhooks/{hook['webhook_id']}"
    shown = (await client.get(path)).json()
    assert (shown["is_enabled"], shown["disabled"]["reason"]) == (False, "gone")
    (entry,) = (await client.get("/v1/audit", params={"action": "webhook_disabled"})).json()["items"]
    assert (entry["who"], entry["before"], entry["after"]) == ("system", "enabled", "disabled")
    assert hook["webhook_id"] in entry["detail"]
    receiver.answer = says(204)
    (item,) = await _log(client, hook)
    again = await client.post(f"{path}/deliveries/{item['delivery_id']}/redeliver")
    assert (again.status_code, again.json()["state"]) == (202, "pending")
    (entry,) = (await client.get("/v1/audit", params={"action": "webhook_redelivered"})).json()["items"]
    assert hook["webhook_id"] in entry["detail"]
    async with _sending(database):
        await _got(receiver, 2)
    assert receiver.received[0].message_id == receiver.received[1].message_id, "the id is the same"
    assert (await client.patch(path, json={"is_enabled": True})).json()["disabled"] is None


async def test_who_asked_for_a_test_message_stands_in_the_audit_trail(
    client: httpx.AsyncClient, receiver: Target
) -> None:
    hook = await _subscribed(client, receiver.url)
    assert (await client.post("/v1/webhooks/0000000000000000/test")).status_code == 404
    await _test_message(client, hook)
    (entry,) = (await client.get("/v1/audit", params={"action": "webhook_tested"})).json()["items"]
    assert entry["who"] == "tests"
    assert hook["webhook_id"] in entry["detail"]


async def test_what_waits_for_a_subscription_that_is_off_is_not_sent(
    client: httpx.AsyncClient, database: Database, receiver: Target
) -> None:
    hook = await _subscribed(client, receiver.url)
    await client.patch(f"/v1/webhooks/{hook['webhook_id']}", json={"is_enabled": False})
    await _queued(database, hook, 3)

    async def cancelled() -> bool:
        return {item["state"] for item in await _log(client, hook)} == {"cancelled"}

    async with _sending(database):
        await _until(cancelled, "they are cancelled")
    assert receiver.received == []


async def test_a_retry_after_is_obeyed_for_all_messages_to_the_target(
    client: httpx.AsyncClient, database: Database, receiver: Target, fallen: Callable[[], Awaitable[None]]
) -> None:
    receiver.answer = says(429, Retry_After="600")
    hook = await _subscribed(client, receiver.url)
    ids = await _queued(database, hook, 20)
    began = datetime.now(UTC)

    async def all_rest() -> bool:
        items = await _log(client, hook, limit=200)
        due = [datetime.fromisoformat(item["next_attempt_at"]) for item in items]
        return len(due) == len(ids) and min(due) >= began + timedelta(seconds=600)

    async with _sending(database):
        await _until(all_rest, "all of them rest")
    assert len(receiver.received) <= 6, "those that were under way, and no more"
    await fallen()
    await _notifier(database).turn(datetime.now(UTC))
    new = [item for item in await _log(client, hook, limit=200) if item["delivery_id"] not in ids]
    assert len(new) == 4
    assert all(datetime.fromisoformat(i["next_attempt_at"]) >= began + timedelta(seconds=600) for i in new)


@pytest.mark.parametrize("got_through", [False, True])
async def test_a_message_is_given_up_after_ten_attempts_and_with_it_a_target_that_takes_nothing(
    client: httpx.AsyncClient, database: Database, receiver: Target, got_through: bool
) -> None:
    hook = await _subscribed(client, receiver.url)
    await _queued(database, hook, attempts=9, queued_at=datetime.now(UTC) - timedelta(days=3))
    if got_through:
        earlier = {"delivered_at": datetime.now(UTC) - timedelta(days=1)}
        await database["webhooks"].update_one({}, {"$set": earlier})
    receiver.answer = says(503)
    item = await _attempted(client, database, hook)
    assert (item["state"], item["attempts"]) == ("failed", 10)
    shown = (await client.get(f"/v1/webhooks/{hook['webhook_id']}")).json()
    assert shown["is_enabled"] is got_through
    if not got_through:
        assert shown["disabled"]["reason"] == "failing"
        assert "HTTP 503" in shown["disabled"]["detail"]
        assert len((await client.get("/v1/audit", params={"action": "webhook_disabled"})).json()["items"]) == 1


async def test_slow_targets_hold_nobody_up(client: httpx.AsyncClient, database: Database, receiver: Target) -> None:
    async with target() as slow:
        slow.answer = targets.nothing
        first = await _subscribed(client, slow.url)
        await _queued(database, first, 100, due_at=datetime.now(UTC) - timedelta(hours=1))
        quick = await _subscribed(client, receiver.url)
        await _queued(database, quick, 3)
        async with _sending(database, webhooks_at_once=8, webhook_timeout_seconds=60) as courier:
            await _got(receiver, 1)
            assert len(slow.received) <= 2
            courier.stop()
            await slow.end()


async def test_one_tenant_has_a_bounded_share_of_what_is_sent_at_once(
    client: httpx.AsyncClient, database: Database, services: Services, receiver: Target
) -> None:
    async with target() as slow:
        slow.answer = targets.nothing
        for _ in range(8):
            hook = await _subscribed(client, slow.url)
            await _queued(database, hook, 5, due_at=datetime.now(UTC) - timedelta(hours=1))
        key = await services.keys.create("fabrikam", "tests", ALL_ROLES)
        async with client_for(services, key) as fabrikam:
            theirs = await _subscribed(fabrikam, receiver.url)
            await _test_message(fabrikam, theirs)
        async with _sending(database, webhooks_at_once=8, webhook_timeout_seconds=60):
            await _got(receiver, 1)
            assert len(slow.received) <= 4
            await slow.end()


# --- secrets, the log, and what is kept


async def test_the_old_secret_signs_for_its_grace_and_no_longer(
    client: httpx.AsyncClient, database: Database, receiver: Target
) -> None:
    hook = await _subscribed(client, receiver.url)
    path, verify = f"/v1/webhooks/{hook['webhook_id']}/rotate-secret", _verifier()
    second = (await client.post(path, json={"grace_hours": 24})).json()
    assert second["old_until"] is not None
    third = (await client.post(path, json={"grace_hours": 1})).json()
    await _test_message(client, hook)
    async with _sending(database):
        (both,) = await _got(receiver, 1)
    for secret in (hook["secret"], second["secret"], third["secret"]):
        verify(secret, both.headers, both.body)
    assert len(both.headers["webhook-signature"].split(" ")) == 3
    fourth = (await client.post(path, json={"grace_hours": 0})).json()
    assert fourth["old_until"] is None
    await _test_message(client, hook)
    async with _sending(database):
        *_, alone = await _got(receiver, 2)
    verify(fourth["secret"], alone.headers, alone.body)
    for secret in (hook["secret"], second["secret"], third["secret"]):
        with pytest.raises(ValueError, match="no signature fits"):
            verify(secret, alone.headers, alone.body)


async def test_a_secret_whose_grace_is_over_signs_no_more(
    client: httpx.AsyncClient, database: Database, receiver: Target
) -> None:
    hook = await _subscribed(client, receiver.url)
    await client.post(f"/v1/webhooks/{hook['webhook_id']}/rotate-secret", json={"grace_hours": 1})
    past = datetime.now(UTC) - timedelta(seconds=1)
    await database["webhooks"].update_one({}, {"$set": {"secrets.1.expires_at": past}})
    await _test_message(client, hook)
    async with _sending(database):
        (found,) = await _got(receiver, 1)
    assert len(found.headers["webhook-signature"].split(" ")) == 1


async def test_a_test_is_sent_once_also_while_the_subscription_is_off(
    client: httpx.AsyncClient, database: Database, receiver: Target
) -> None:
    receiver.answer = says(500)
    hook = await _subscribed(client, receiver.url)
    await client.patch(f"/v1/webhooks/{hook['webhook_id']}", json={"is_enabled": False})
    queued = await _test_message(client, hook)
    assert (queued["state"], queued["type"]) == ("pending", "webhook.test")
    item = await _attempted(client, database, hook)
    assert (item["state"], item["attempts"]) == ("failed", 1)
    for _ in range(5):
        await _test_message(client, hook)
    assert (await client.post(f"/v1/webhooks/{hook['webhook_id']}/test")).status_code == 409


async def test_the_log_is_paged_and_filtered(client: httpx.AsyncClient, database: Database) -> None:
    hook = await _subscribed(client, "https://hooks.example/")
    ids = await _queued(database, hook, 5)
    path, seen, cursor = f"/v1/webhooks/{hook['webhook_id']}/deliveries", [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await client.get(path, params=query)).json()
        seen += [item["delivery_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        other = await client.get(path, params={"limit": 2, "cursor": cursor, "state": "failed"})
        assert other.status_code == 422, "a cursor belongs to its list"
    assert seen == sorted(ids, reverse=True)
    assert len(await _log(client, hook, state=["pending", "failed"])) == 5
    assert await _log(client, hook, state="delivered") == []
    assert await _log(client, hook, type="score.dropped") == []


async def test_what_was_kept_long_enough_is_forgotten_but_not_what_waits(
    client: httpx.AsyncClient, database: Database
) -> None:
    hook, now = await _subscribed(client, "https://hooks.example/"), datetime.now(UTC)
    await _queued(database, hook, 2, keep_until=now - timedelta(days=1))
    await database["webhook_deliveries"].update_one({"message_id": {"$gt": ""}}, {"$set": {"state": "failed"}})
    await DeliveryRepository(database).prune(now)
    assert [item["state"] for item in await _log(client, hook)] == ["pending"]


async def test_what_is_being_sent_cannot_be_sent_again_now(client: httpx.AsyncClient, database: Database) -> None:
    hook = await _subscribed(client, "https://hooks.example/")
    (name,) = await _queued(database, hook)
    far = datetime.now(UTC) + timedelta(seconds=60)
    await database["webhook_deliveries"].update_one({}, {"$set": {"claim": "other", "due_at": far}})
    path = f"/v1/webhooks/{hook['webhook_id']}/deliveries/{name}/redeliver"
    assert (await client.post(path)).status_code == 409


async def test_a_deleted_webhook_leaves_nothing_and_gets_nothing(
    client: httpx.AsyncClient, database: Database, receiver: Target
) -> None:
    hook = await _subscribed(client, receiver.url)
    await _queued(database, hook, 2)
    assert (await client.delete(f"/v1/webhooks/{hook['webhook_id']}")).status_code == 204
    assert await database["webhook_deliveries"].count_documents({}) == 0
    await _queued(database, hook, 1)

    async def is_forgotten() -> bool:
        return not await database["webhook_deliveries"].count_documents({})

    async with _sending(database):
        await _until(is_forgotten, "a message without a subscription is forgotten")
    assert receiver.received == []
