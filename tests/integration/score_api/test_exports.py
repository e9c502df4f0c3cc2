"""Exports: the same as the lists, whole or visibly broken, harmless in a spreadsheet, and of one tenant."""

import asyncio
import csv
import io
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from plumbline_contracts.events import ControlResults, ExposedEntities, ExposedEntity, Insights, Outcome
from plumbline_score_api import app as composition
from plumbline_score_api.app import Database
from plumbline_score_api.exports import records
from plumbline_score_api.exports.service import ReplacedError
from plumbline_score_api.history.changing import TENANT, InsightsChange, Point, Score, Totals
from plumbline_score_api.history.repository import HistoryRepository
from plumbline_score_api.problems import MEDIA_TYPE
from plumbline_score_api.projection.upkeep import Upkeep
from plumbline_score_api.services import Services
from prometheus_client import REGISTRY
from pydantic import ValidationError

from tests.integration.score_api.events import START, Judged, definition, result, status
from tests.integration.score_api.in_process import ALL_ROLES, client_for

HOSTILE = [
    "=HYPERLINK(\"http://evil.example\",\"a\")", "@SUM(1+1)*cmd|' /C calc'!A0", "+1", "-1+1", "\t=1", "\r=1", "\n=1",
    "  =1", "\uff1d1", 'a"b,c;d\r\ne', "\u00e4\u20ac\U0001f600\u2028",
]  # fmt: skip
FORMULA = re.compile(r"\s*[=+\-@\uff1d]")
EXPOSED = "/v1/exports/exposed-entities?format=ndjson"
Take = Callable[..., Awaitable[None]]
Reading = Callable[..., AbstractAsyncContextManager["_Reader"]]


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
    """Two instances, three controls, seven exposed entities; the same names in another tenant with others."""
    titled = definition("C-2", digest="d2", title="=1+1", category="Apps", frameworks={"soc2": ["CC6.1", "CC6.2"]})
    await upkeep.projection.take_definitions([titled])
    for name in ("sales-eu", "sales-us"):
        await upkeep.projection.take_status(status(name))
    failing = [result("C-1", Outcome.FAIL, exposed=4), result("C-2", Outcome.PARTIAL, exposed=2, digest="d2")]
    await take(
        Judged(1, [*failing, result("C-3")]),
        Judged(2, [result("C-1", Outcome.FAIL, exposed=1), result("C-3")], instance="sales-us"),
        Judged(1, [result("C-1", Outcome.FAIL, exposed=9)], tenant="fabrikam"),
    )


async def _ask(client: httpx.AsyncClient, what: str, **params: Any) -> httpx.Response:
    return (await client.get(f"/v1/exports/{what}", params=params)).raise_for_status()


async def _csv(client: httpx.AsyncClient, what: str, **params: Any) -> list[dict[str, str]]:
    answer = await _ask(client, what, format="csv", **params)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    rows = list(csv.reader(io.StringIO(answer.content.decode(), newline=""), strict=True))
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


async def _ndjson(client: httpx.AsyncClient, what: str, **params: Any) -> list[dict[str, Any]]:
    answer = await _ask(client, what, format="ndjson", **params)
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.content.split(b"\n")[:-1]]


# --- what stands in them


@pytest.mark.parametrize(
    ("what", "columns"),
    [
        ("recommendations", records.RECOMMENDATIONS), ("exposed-entities", records.EXPOSED),
        ("history", records.HISTORY), ("history-changes", records.CHANGES), ("audit", records.AUDIT),
    ],
)  # fmt: skip
async def test_both_forms_have_the_same_columns_and_records(
    client: httpx.AsyncClient, served: None, what: str, columns: tuple[str, ...]
) -> None:
    await client.put("/v1/recommendations/sales-eu/C-1/status", json={"status": "planned", "note": "Soon."})
    cells, objects = await _csv(client, what), await _ndjson(client, what)
    assert len(cells) == len(objects) > 0
    for row, record in zip(cells, objects, strict=True):
        assert tuple(row) == tuple(record) == columns
        assert {name for name, cell in row.items() if cell} >= {name for name, each in record.items() if each}


@pytest.mark.parametrize("form", ["csv", "ndjson"])
async def test_a_file_has_a_safe_name_and_no_etag(client: httpx.AsyncClient, served: None, form: str) -> None:
    answer = await _ask(client, "exposed-entities", format=form)
    disposition = answer.headers["content-disposition"]
    assert re.fullmatch(
        rf'attachment; filename="plumbline-contoso-exposed-entities-\d{{8}}T\d{{6}}Z\.{form}"', disposition
    )
    assert "etag" not in answer.headers
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "params",
    [
        {}, {"outcome": ["FAIL", "PARTIAL"]}, {"sort": "name"}, {"sort": "severity", "instance": "sales-eu"},
        {"category": "Apps"}, {"framework": "soc2"}, {"text": "title of c-1"}, {"status": "completed"},
        {"control": "MDA_C-1", "product": "salesforce", "severity": "high"}, {"outcome": "UNKNOWN"},
    ],
)  # fmt: skip
async def test_recommendations_are_those_of_the_list_in_its_order(
    client: httpx.AsyncClient, served: None, params: dict[str, Any]
) -> None:
    page = (await client.get("/v1/recommendations", params={**params, "limit": 500})).json()["items"]
    found = await _ndjson(client, "recommendations", **params)
    shared = set(records.RECOMMENDATIONS) & (set(page[0]) if page else set())
    assert [{name: record[name] for name in shared} for record in found] == [
        {name: item[name] for name in shared} for item in page
    ]


async def test_recommendations_say_what_was_decided_and_what_to_do(client: httpx.AsyncClient, served: None) -> None:
    body = {"status": "risk_accepted", "note": "Till the audit.", "assignee": "ann", "reason": "EX-1"}
    await client.put("/v1/recommendations/sales-eu/C-2/status", json=body)
    (row,) = await _csv(client, "recommendations", status="risk_accepted")
    assert (row["decided_by"], row["decision_holds"], row["assignee"], row["note"], row["decision_reason"]) == (
        "tests", "true", "ann", "Till the audit.", "EX-1",
    )  # fmt: skip
    assert (row["frameworks"], row["implementation_steps"]) == ("soc2:CC6.1; soc2:CC6.2", "Open Setup.; Change it.")
    assert row["title"] == "'=1+1"


@pytest.mark.parametrize(
    ("params", "number"),
    [
        ({}, 7), ({"instance": "sales-eu"}, 6), ({"instance": "sales-eu", "control": "C-1"}, 4),
        ({"control": "C-1"}, 5), ({"control": "MDA_C-2"}, 2), ({"outcome": "PASS"}, 0), ({"category": "Apps"}, 2),
    ],
)  # fmt: skip
async def test_exposed_entities_of_one_recommendation_an_instance_or_all(
    client: httpx.AsyncClient, served: None, params: dict[str, str], number: int
) -> None:
    found = await _ndjson(client, "exposed-entities", **params)
    assert len(found) == number
    keys = [(each["instance"], each["control_id"]) for each in found]
    assert keys == sorted(keys)
    for instance, control in dict.fromkeys(keys):
        page = (await client.get(f"/v1/recommendations/{instance}/{control}/exposed")).json()["items"]
        mine = [each for each in found if (each["instance"], each["control_id"]) == (instance, control)]
        assert [(each["entity_id"], each["detail"]) for each in mine] == [(e["id"], e["detail"]) for e in page]


async def test_nothing_is_a_file_with_a_header_row_alone(client: httpx.AsyncClient) -> None:
    assert (await _ask(client, "exposed-entities")).text == ",".join(records.EXPOSED) + "\r\n"
    assert (await _ask(client, "exposed-entities", format="ndjson")).text == ""


async def test_history_is_what_the_list_shows_whatever_its_length(
    client: httpx.AsyncClient, database: Database
) -> None:
    """Three batches of points, an hour apart."""
    points = [_point(number) for number in range(1, 121)]
    await HistoryRepository(database).add("contoso", points)
    asked = {"resolution": "change", "since": (START - timedelta(days=10)).isoformat()}
    listed = (await client.get("/v1/history", params={**asked, "limit": 1000})).json()["items"]
    found = await _ndjson(client, "history", **asked)
    assert [(each["at"], each["current"], each["outcome_fail"]) for each in found] == [
        (each["at"], each["current"], each["outcomes"].get("FAIL", 0)) for each in listed
    ]
    changes = await _ndjson(client, "history-changes", since=asked["since"])
    assert [each["points"] for each in changes] == list(range(1, 121))
    days = await _csv(client, "history", since=asked["since"])
    assert [each["day"] for each in days] == [
        each["day"] for each in (await client.get("/v1/history", params={"since": asked["since"]})).json()["items"]
    ]
    assert days[-1]["day"] == datetime.now(UTC).date().isoformat()


def _point(number: int) -> Point:
    """At which the tenant's score rises, because an instance came to count."""
    turned = InsightsChange(
        instance="sales-eu", before=Insights.OFF, after=Insights.ON, points=number, max_points=number
    )
    return Point(
        scope=TENANT,
        seq=number,
        at=START - timedelta(hours=121 - number),
        totals=Totals(score=Score(current=number, max=500), outcomes={"FAIL": number}),
        points=number,
        max_points=number,
        insights=[turned],
    )


async def test_changes_say_who_and_why(client: httpx.AsyncClient, served: None, upkeep: Upkeep) -> None:
    await client.put("/v1/instances/sales-us/insights", json={"insights": "on", "note": "Live."})
    await client.put("/v1/recommendations/sales-eu/C-1/status", json={"status": "resolved_third_party", "note": "GW"})
    await upkeep.round(lambda _: True, datetime.now(UTC))
    found = {each["kind"]: each for each in await _ndjson(client, "history-changes")}
    turned, decided = found["insights"], found["status"]
    assert (turned["insights_before"], turned["insights_after"], turned["by"], turned["note"]) == (
        "off", "on", "tests", "Live.",
    )  # fmt: skip
    assert (decided["status_before"], decided["status_after"], decided["points"], decided["note"]) == (
        "to_address", "resolved_third_party", 3, "GW",
    )  # fmt: skip


async def test_audit_is_the_trail_with_its_filters(client: httpx.AsyncClient, served: None) -> None:
    for control in ("C-1", "C-2"):
        await client.put(f"/v1/recommendations/sales-eu/{control}/status", json={"status": "planned"})
    listed = (await client.get("/v1/audit", params={"control": "C-1"})).json()["items"]
    assert await _ndjson(client, "audit", control="C-1") == listed
    assert len(await _csv(client, "audit", action="status_set")) == 2


# --- hostile content


async def test_no_cell_is_a_formula_and_every_value_comes_back(client: httpx.AsyncClient, upkeep: Upkeep) -> None:
    entities = [ExposedEntity(id=text, name=text, type=text, detail={text: text}) for text in HOSTILE]
    judged = Judged(1, [result("C-1", Outcome.FAIL, exposed=len(entities))])
    parts = judged.parts()
    exposed = [ExposedEntities(control_id="C-1", entities=entities)]
    hostile: list[ControlResults] = [parts[0].model_copy(update={"exposed": exposed}), *parts[1:]]
    for part in hostile:
        await upkeep.projection.take_part(part)
    note = "=cmd|'/C calc'!A0"
    await client.put("/v1/recommendations/sales-eu/C-1/status", json={"status": "planned", "note": note})
    assert [each["entity_name"] for each in await _ndjson(client, "exposed-entities")] == HOSTILE
    rows = await _csv(client, "exposed-entities")
    for row, text in zip(rows, HOSTILE, strict=True):
        assert row["entity_id"] == row["entity_name"] == row["entity_type"]
        assert row["entity_id"].removeprefix("'") == text
        assert json.loads(row["detail"]) == {text: text}
    everything = [*rows, *await _csv(client, "recommendations"), *await _csv(client, "audit")]
    for row in everything:
        assert not [cell for cell in row.values() if FORMULA.match(cell)]


# --- wrong questions, other tenants


@pytest.mark.parametrize(
    ("path", "params", "status_code"),
    [
        ("recommendations", {"format": "xlsx"}, 422),
        ("recommendations", {"limit": "1"}, 422),
        ("recommendations", {"instance": "nobody"}, 404),
        ("exposed-entities", {"instance": "nobody"}, 404),
        ("exposed-entities", {"instance": '{"$gt": ""}'}, 422),
        ("history", {"instance": "nobody"}, 404),
        ("history", {"since": "2099-01-01T00:00:00Z"}, 422),
        ("history-changes", {"product": "salesforce", "instance": "sales-eu"}, 422),
        ("audit", {"action": "nothing"}, 422),
        ("nothing", {}, 404),
    ],
)
async def test_a_wrong_question_is_a_problem_and_no_file(
    client: httpx.AsyncClient, served: None, path: str, params: dict[str, str], status_code: int
) -> None:
    answer = await client.get(f"/v1/exports/{path}", params=params)
    assert (answer.status_code, answer.headers["content-type"]) == (status_code, MEDIA_TYPE), answer.text
    assert "content-disposition" not in answer.headers


async def test_another_tenant_gets_its_own_alone(services: Services, served: None) -> None:
    async with client_for(services, await services.keys.create("fabrikam", "tests", ALL_ROLES)) as client:
        assert len(await _csv(client, "exposed-entities")) == 9
        assert {row["instance"] for row in await _csv(client, "recommendations")} == {"sales-eu"}
        assert await _csv(client, "audit") == [row for row in await _csv(client, "audit") if row["who"] != "operator"]
        assert (await client.get("/v1/exports/recommendations", params={"instance": "sales-us"})).status_code == 404


# --- streaming


class _Reader:
    """A client of the application that takes a message when it is told to."""

    def __init__(self, app: FastAPI, path: str, key: str) -> None:
        self._messages: asyncio.Queue[Any] = asyncio.Queue(1)
        self._asked, self._left = False, asyncio.Event()
        self.seen: list[dict[str, Any]] = []
        """The messages that were taken."""
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": [(b"authorization", f"Bearer {key}".encode())],
            "client": ("127.0.0.1", 1),
            "http_version": "1.1",
        }
        self.task = asyncio.create_task(app(scope, self._receive, self._messages.put))

    async def _receive(self) -> dict[str, object]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def take(self) -> dict[str, Any]:
        """The next message."""
        self.seen.append(await asyncio.wait_for(self._messages.get(), 20))
        return self.seen[-1]

    async def leave(self) -> None:
        """Go away, and wait until the application knows."""
        self._left.set()
        while not self.task.done():
            if not self._messages.empty():
                self._messages.get_nowait()
            await asyncio.sleep(0)

    async def rest(self) -> list[dict[str, Any]]:
        """All further messages, until the application ends; what it raises is raised."""
        start = len(self.seen)
        while not (self.task.done() and self._messages.empty()):
            taking = asyncio.ensure_future(self._messages.get())
            await asyncio.wait([taking, self.task], return_when=asyncio.FIRST_COMPLETED, timeout=20)
            if taking.done():
                self.seen.append(taking.result())
            taking.cancel()
        self.task.result()
        return self.seen[start:]


@pytest.fixture
async def large(upkeep: Upkeep, take: Take) -> None:
    """6,000 exposed entities of two controls."""
    await take(Judged(1, [result("C-1", Outcome.FAIL, exposed=3000), result("C-2", Outcome.FAIL, exposed=3000)]))


@pytest.fixture
async def reader(database: Database, large: None) -> AsyncIterator[Reading]:
    """Makes readers of an export, of which a tenant may have one at a time; all leave in the end."""
    services = composition.build_services(database, _nobody, exports_at_once=2)
    app = composition.create_app(services, _is_ready)
    key = await services.keys.create("contoso", "tests", ALL_ROLES)
    readers: list[_Reader] = []

    @asynccontextmanager
    async def reading(path: str = EXPOSED) -> AsyncIterator[_Reader]:
        one = _Reader(app, path, key)
        readers.append(one)
        yield one

    yield reading
    for one in readers:
        one.task.cancel()
    await asyncio.gather(*(one.task for one in readers), return_exceptions=True)


async def _nobody(_: Any) -> None:
    """Nobody collects."""


async def _is_ready() -> bool:
    return True


def _body(messages: list[dict[str, Any]]) -> bytes:
    return b"".join(message["body"] for message in messages)


async def test_a_whole_file_ends_in_order(reader: Reading) -> None:
    async with reader() as one:
        messages = [await one.take(), *await one.rest()]
    assert _body(messages[1:]).count(b"\n") == 6000
    assert len(messages) > 5
    assert messages[-1]["more_body"] is False


async def test_nothing_is_read_that_the_client_has_not_asked_for(reader: Reading, database: Database) -> None:
    """Entities that vanish while the client waits are missing in what it takes then."""
    async with reader() as one:
        assert (await one.take())["status"] == 200
        first = (await one.take())["body"]
        await database["exposed"].update_many({}, {"$set": {"body": "[]"}})
        rest = _body(await one.rest())
    assert 0 < first.count(b"\n") < 1000
    assert first.count(b"\n") + rest.count(b"\n") <= 1500


async def test_a_failure_on_the_way_leaves_the_answer_unfinished(reader: Reading, take: Take) -> None:
    """Two newer evaluations take away what is being sent."""
    async with reader() as one:
        await one.take()
        await one.take()
        for number in (2, 3):
            await take(Judged(number, [result("C-1", Outcome.FAIL, exposed=1)]))
        with pytest.raises(ReplacedError):
            await one.rest()
        assert all(message["more_body"] for message in one.seen[1:])


async def test_a_database_that_fails_on_the_way_leaves_it_unfinished_too(reader: Reading, database: Database) -> None:
    async with reader() as one:
        await one.take()
        await one.take()
        await database["exposed"].update_many({}, {"$set": {"body": "{broken"}})
        with pytest.raises(ValidationError):
            await one.rest()
        assert all(message["more_body"] for message in one.seen[1:])


async def test_a_control_whose_turn_comes_later_is_read_as_it_is_then(
    reader: Reading, take: Take, database: Database
) -> None:
    async with reader() as one:
        messages = [await one.take(), await one.take()]
        await take(Judged(2, [result("C-2", Outcome.FAIL, exposed=7)]))
        gone = {"control_id": "C-2", "evaluation": {"$ne": await _current(database)}}
        assert (await database["exposed"].delete_many(gone)).deleted_count > 0
        messages += await one.rest()
    lines = [json.loads(line) for line in _body(messages[1:]).splitlines()]
    assert [each["control_id"] for each in lines] == ["C-1"] * 3000 + ["C-2"] * 7
    assert len({each["evaluated_at"] for each in lines}) == 2


async def _current(database: Database) -> str:
    document = await database["instances"].find_one({"instance": "sales-eu"})
    assert document is not None
    return str(document["current"]["key"])


async def test_a_client_that_leaves_frees_its_place(reader: Reading) -> None:
    left = _ended("left")
    async with reader() as one:
        assert (await one.take())["status"] == 200
        async with reader() as other:
            refused = await other.take()
        assert (refused["status"], dict(refused["headers"])[b"retry-after"]) == (429, b"10")
        await one.leave()
    assert _ended("left") == left + 1
    async with reader() as third:
        assert (await third.take())["status"] == 200


async def test_a_broken_export_frees_its_place(reader: Reading, database: Database) -> None:
    async with reader() as one:
        await one.take()
        await database["exposed"].update_many({}, {"$set": {"body": "{broken"}})
        with pytest.raises(ValidationError):
            await one.rest()
    async with reader("/v1/exports/recommendations") as other:
        assert (await other.take())["status"] == 200


async def test_a_failure_before_the_first_line_is_a_problem(reader: Reading, database: Database) -> None:
    await database["audit"].insert_one({"tenant": "contoso", "order": "9", "body": "{broken"})
    for _ in range(3):
        async with reader("/v1/exports/audit") as one:
            assert (await one.take())["status"] == 500


async def test_head_reads_nothing_to_its_end(client: httpx.AsyncClient, large: None) -> None:
    answer = await client.head("/v1/exports/exposed-entities")
    assert (answer.status_code, answer.content) == (200, b"")
    assert "attachment" in answer.headers["content-disposition"]


def _ended(how: str) -> float:
    found = REGISTRY.get_sample_value("plumbline_score_api_exports_total", {"what": "exposed-entities", "end": how})
    return found or 0.0
