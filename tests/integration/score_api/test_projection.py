"""An evaluation is seen whole or not at all, and what comes again changes nothing."""

import asyncio
import itertools
import random
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from plumbline_contracts.envelope import BadRecordError
from plumbline_contracts.events import (
    ControlDefinition,
    ControlResults,
    Insights,
    InstanceStatus,
    Outcome,
    UnknownReason,
)
from plumbline_score_api.app import Database
from plumbline_score_api.pictures.repository import PictureRepository
from plumbline_score_api.projection.repository import ProjectionRepository
from plumbline_score_api.projection.service import LostSwitchError, ProjectionService
from plumbline_score_api.projection.upkeep import Upkeep

from tests.integration.score_api.events import FUTURE, Judged, definition, result, status
from tests.integration.score_api.in_process import CONTROLS, Siem, projection_into, upkeep_of

Seen = Callable[[], Awaitable[dict[str, Any]]]


async def _take(projection: ProjectionService, *evaluations: Judged) -> None:
    for judged in evaluations:
        for part in judged.parts():
            await projection.take_part(part)


def _all(outcome: Outcome, *, exposed: int = 0) -> list[Any]:
    return [result(control, outcome, exposed=exposed) for control in CONTROLS]


async def _current(client: httpx.AsyncClient) -> float:
    found: float = (await client.get("/v1/secure-score")).json()["current"]
    return found


async def _count(database: Database, collection: str) -> int:
    return await database[collection].count_documents({})


async def test_nothing_is_seen_before_the_last_part(projection: ProjectionService, seen: Seen) -> None:
    await _take(projection, Judged(1, _all(Outcome.FAIL, exposed=2)))
    before = await seen()
    *first, last = Judged(2, _all(Outcome.PASS)).parts()
    for part in first:
        await projection.take_part(part)
        assert await seen() == before
    await projection.take_part(last)
    after = await seen()
    assert after["score"]["current"] == 9
    assert {item["outcome"] for item in after["recommendations"]["items"]} == {"PASS"}


async def test_any_order_with_duplicates_and_neighbours_gives_the_same(
    projection: ProjectionService, seen: Seen, database: Database
) -> None:
    evaluations = [
        Judged(number, _all(random.Random(number).choice(list(Outcome)[:3]), exposed=3), instance=f"i{instance}")  # noqa: S311
        for number in range(3)
        for instance in range(4)
    ]
    await _take(projection, *evaluations)
    expected = await seen()
    shuffled = [part for judged in evaluations for part in judged.parts() * 2]
    for seed in range(3):
        await _clear(database, "keys")
        await _take(projection, *(Judged(0, _all(Outcome.FAIL), instance=f"i{n}") for n in range(4)))
        random.Random(seed).shuffle(shuffled)  # noqa: S311
        for part in shuffled:
            await projection.take_part(part)
        found = await seen()
        assert _without_history(found) == _without_history(expected)
        assert await _count(database, "parts") == 0


def _without_history(seen: dict[str, Any]) -> dict[str, Any]:
    """What is seen but the moments that tell which evaluations came in between, and which instance is main."""
    moments = ("changed_at", "first_seen_at", "regressed_at", "is_regressed")
    items = [{k: v for k, v in item.items() if k not in moments} for item in seen["recommendations"]["items"]]
    scores = [
        {k: v for k, v in instance.items() if k not in ("insights", "url", "message")}
        for instance in seen["instances"]["items"]
    ]
    return {"items": items, "scores": scores}


@pytest.mark.parametrize("seed", range(4))
async def test_events_of_all_kinds_in_any_order_lead_to_one_score_and_history(
    client: httpx.AsyncClient, database: Database, seed: int
) -> None:
    """Definitions, statuses and results arrive by three topics; between those nothing says which comes first."""
    upkeep = upkeep_of(database)
    choices = {"i0": Insights.MAIN, "i1": Insights.ON, "i2": Insights.OFF}
    events: list[Any] = [definition(control) for control in CONTROLS]
    events += [status(name, insights=choice) for name, choice in choices.items()] * 2
    for number, name in itertools.product((1, 2), choices):
        outcome = Outcome.FAIL if number == 1 else Outcome.PARTIAL
        found = [result(control, outcome, exposed=2) for control in CONTROLS]
        events += Judged(number, found, instance=name).parts() * 2
    random.Random(seed).shuffle(events)  # noqa: S311
    for event in events:
        await _take_event(upkeep.projection, event)
        await upkeep.projection.apply_waiting()
    await upkeep.round(lambda _: True, datetime.now(UTC))
    score = (await client.get("/v1/secure-score")).raise_for_status().json()
    assert (score["current"], score["max"], score["products"][0]["counted_instances"]) == (9, 18, ["i0", "i1"])
    assert score["counts"]["outcomes"] == {"PARTIAL": 6}
    for scope, current, most in (({}, 9, 18), ({"product": "salesforce"}, 9, 18), ({"instance": "i2"}, 4.5, 9)):
        params = {"resolution": "change", **scope}
        points = (await client.get("/v1/history", params=params)).raise_for_status().json()["items"]
        assert (points[-1]["current"], points[-1]["max"]) == (current, most)
        assert sum(point["points"] for point in points) == current
        trends = (await client.get("/v1/history/trends", params=scope)).raise_for_status().json()["items"]
        assert sum(day["net"] for day in trends) == current


async def _take_event(projection: ProjectionService, event: Any) -> None:
    if isinstance(event, ControlDefinition):
        await projection.take_definitions([event])
    elif isinstance(event, InstanceStatus):
        await projection.take_status(event)
    else:
        await projection.take_part(event)


async def test_a_duplicate_changes_nothing_at_all(projection: ProjectionService, database: Database) -> None:
    judged = Judged(1, _all(Outcome.FAIL, exposed=2))
    await _take(projection, Judged(0, _all(Outcome.PASS)), judged)
    before = await _all_of(database)
    await _take(projection, judged, judged, Judged(0, _all(Outcome.PASS)))
    assert await _all_of(database) == before


async def test_an_older_snapshot_never_overwrites_a_newer_one(
    projection: ProjectionService, client: httpx.AsyncClient
) -> None:
    await _take(projection, Judged(5, _all(Outcome.PASS)), Judged(4, _all(Outcome.FAIL), generation=9, catalogue="c9"))
    assert await _current(client) == 9


async def test_a_newer_catalogue_judges_a_snapshot_again_and_an_older_one_does_not(
    projection: ProjectionService, client: httpx.AsyncClient
) -> None:
    await _take(projection, Judged(5, _all(Outcome.PASS), generation=2, catalogue="c2"))
    await _take(projection, Judged(5, _all(Outcome.FAIL), generation=1, catalogue="c1"))
    assert await _current(client) == 9
    await _take(projection, Judged(5, [result("C-1", Outcome.PARTIAL)], generation=3, catalogue="c3"))
    assert await _current(client) == 1.5


async def test_an_evaluation_that_is_being_staged_outlives_the_switch_of_an_older_one(
    projection: ProjectionService, client: httpx.AsyncClient
) -> None:
    """Both judge the same snapshot: tidying up after the older must leave the parts of the newer."""
    newer = Judged(5, _all(Outcome.PASS), generation=2, catalogue="c2").parts()
    await projection.take_part(newer[0])
    await _take(projection, Judged(5, _all(Outcome.FAIL), generation=1, catalogue="c1"))
    for part in newer[1:]:
        await projection.take_part(part)
    assert await _current(client) == 9


async def test_of_two_publications_of_one_snapshot_the_first_stands(
    projection: ProjectionService, client: httpx.AsyncClient, database: Database
) -> None:
    one = Judged(1, _all(Outcome.PASS), digest="1" * 64).parts()
    other = Judged(1, _all(Outcome.FAIL), digest="2" * 64).parts()
    for part in (other[0], one[0], other[1], one[1], one[2], other[2]):
        await projection.take_part(part)
    assert await _current(client) == 9
    await _take(projection, Judged(1, _all(Outcome.FAIL), digest="2" * 64, generation=2, catalogue="c2"))
    assert await _current(client) == 9
    assert await _count(database, "parts") == 0


async def test_an_evaluation_that_was_cut_anew_after_a_crash_is_applied(
    projection: ProjectionService, client: httpx.AsyncClient
) -> None:
    for part in Judged(1, _all(Outcome.PASS), in_parts=6).parts()[:4]:
        await projection.take_part(part)
    await _take(projection, Judged(1, _all(Outcome.PASS), in_parts=2))
    assert await _current(client) == 9


async def test_leftovers_of_abandoned_evaluations_go_with_the_next_switch(
    projection: ProjectionService, database: Database
) -> None:
    for number in range(3):
        for part in Judged(number, _all(Outcome.FAIL, exposed=1)).parts()[:2]:
            await projection.take_part(part)
    assert await _count(database, "parts") == 6
    for number in (5, 6, 7):
        await _take(projection, Judged(number, _all(Outcome.FAIL, exposed=1)))
    assert await _count(database, "parts") == 0
    kept = {d["evaluation"] async for d in database["findings"].find({})}
    assert len(kept) == 2, "the current evaluation and the one before it, which a reader may still follow"
    assert {d["evaluation"] async for d in database["exposed"].find({})} == kept


async def test_a_finding_vanishes_with_its_control(projection: ProjectionService, client: httpx.AsyncClient) -> None:
    await _take(projection, Judged(1, _all(Outcome.FAIL)), Judged(2, [result("C-1")], generation=2, catalogue="c2"))
    page = (await client.get("/v1/recommendations")).json()
    assert [item["control_id"] for item in page["items"]] == ["C-1"]
    assert (await client.get("/v1/recommendations/sales-eu/C-2")).status_code == 404
    score = (await client.get("/v1/secure-score")).json()
    assert (score["current"], score["max"]) == (3, 3)


async def test_an_evaluation_waits_for_its_definitions_and_holds_up_nobody(
    projection: ProjectionService, client: httpx.AsyncClient
) -> None:
    await _take(projection, Judged(1, _all(Outcome.FAIL)))
    await _take(projection, Judged(2, [result("N-1", digest="new")]))
    assert await _current(client) == 0
    (problem,) = await projection.apply_waiting()
    assert "contoso/sales-eu" in problem
    assert "N-1@new" in problem
    assert "evaluator" in problem
    await _take(projection, Judged(1, _all(Outcome.PASS), instance="neighbour"))
    await projection.take_definitions([definition("N-1", digest="new")])
    assert await projection.apply_waiting() == []
    assert await _current(client) == 3


async def test_what_waits_is_dropped_when_a_newer_evaluation_is_whole(
    projection: ProjectionService, client: httpx.AsyncClient, database: Database
) -> None:
    await _take(projection, Judged(2, [result("N-1", digest="never")]), Judged(3, _all(Outcome.PASS)))
    assert await projection.apply_waiting() == []
    assert await _current(client) == 9
    assert await _count(database, "parts") == 0


async def test_a_definition_of_an_older_generation_does_not_come_back(
    projection: ProjectionService, database: Database
) -> None:
    new, old = definition("C-1", generation=5, status="retired"), definition("C-1", generation=4)
    await projection.take_definitions([new])
    await projection.take_definitions([old, definition("C-2")])
    found = await PictureRepository(database).definitions(["C-1@d1"])
    assert found["C-1@d1"].status == "retired"


async def test_ten_thousand_exposed_entities(
    projection: ProjectionService, client: httpx.AsyncClient, database: Database
) -> None:
    await _take(projection, Judged(1, [result("C-1", Outcome.FAIL, exposed=10_000)], in_parts=2))
    sizes = [len(document["body"]) async for document in database["exposed"].find({})]
    assert max(sizes) < 1_000_000
    path, names, cursor = "/v1/recommendations/sales-eu/C-1/exposed", [], None
    while True:
        params = {"limit": 499} | ({"cursor": cursor} if cursor else {})
        page = (await client.get(path, params=params)).raise_for_status().json()
        names += [entity["id"] for entity in page["items"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert names == [f"{n:018d}" for n in range(10_000)]
    assert page["total"] == 10_000
    assert page["is_cut"] is False


async def test_a_failed_read_keeps_the_last_outcome_with_its_entities_for_a_day(
    projection: ProjectionService, client: httpx.AsyncClient
) -> None:
    error = result("C-1", Outcome.UNKNOWN, reason=UnknownReason.COLLECTION_ERROR, exposed=1)
    await _take(projection, Judged(0, [result("C-1", Outcome.PARTIAL, exposed=700)]), Judged(1, [error], hours=1))
    path = "/v1/recommendations/sales-eu/C-1"
    stale = (await client.get(path)).json()
    assert (stale["outcome"], stale["is_stale"], stale["exposed"]) == ("PARTIAL", True, 700)
    page = (await client.get(f"{path}/exposed", params={"limit": 500})).json()
    rest = (await client.get(f"{path}/exposed", params={"limit": 500, "cursor": page["next_cursor"]})).json()
    assert len(page["items"]) + len(rest["items"]) == 700
    score = (await client.get("/v1/secure-score")).json()
    assert (score["current"], score["coverage"]) == (1.5, 0)
    await _take(projection, Judged(0, [error], hours=25.1))
    later = (await client.get(path)).json()
    assert (later["outcome"], later["reason"], later["is_stale"]) == ("UNKNOWN", "collection_error", False)
    assert (await client.get("/v1/secure-score")).json()["current"] == 0


async def test_a_status_of_the_past_changes_nothing_and_one_of_the_future_is_refused(
    projection: ProjectionService, client: httpx.AsyncClient
) -> None:
    await projection.take_status(status(number=5, message="newer"))
    await projection.take_status(status(number=4, message="older"))
    with pytest.raises(BadRecordError, match="future"):
        await projection.take_status(status(number=FUTURE, message="future"))
    assert (await client.get("/v1/instances/sales-eu")).json()["message"] == "newer"


async def test_a_snapshot_of_the_future_is_refused(projection: ProjectionService, database: Database) -> None:
    with pytest.raises(BadRecordError, match="future"):
        await _take(projection, Judged(FUTURE))
    assert await _count(database, "parts") == 0


WRITES = frozenset({
    "stage", "write_exposed", "carry_exposed", "write_findings", "switch", "forget", "forget_parts", "sweep",
    "mark_waiting", "settled", "replace", "told", "add", "append", "recorded", "keep_known",
})  # fmt: skip


class Mortal:
    """A repository that dies before the n-th write of all that share its life, as a killed process would."""

    def __init__(self, repository: Any, life: "Life") -> None:
        self._repository, self._life = repository, life

    def __getattr__(self, name: str) -> Any:
        if name in WRITES:
            self._life.spend(name)
        return getattr(self._repository, name)


class Life:
    """So many writes are left."""

    def __init__(self, writes: int) -> None:
        self.left = writes

    def spend(self, name: str) -> None:
        """One write less. Raises KilledError when none is left."""
        self.left -= 1
        if self.left < 0:
            raise KilledError(name)

    def give(self, upkeep: Upkeep) -> Upkeep:
        """Everything that the projector writes with, mortal."""
        owners: list[tuple[Any, tuple[str, ...]]] = [
            (upkeep.projection, ("_repository",)),
            (upkeep.recorder, ("_repository", "_log")),
            (upkeep.decisions, ("_repository", "_audit")),
            (upkeep.insights, ("_repository", "_audit")),
        ]
        for owner, names in owners:
            for name in names:
                setattr(owner, name, Mortal(getattr(owner, name), self))
        return upkeep


class KilledError(Exception):
    """Stands for kill -9."""


def _everything(_: str) -> bool:
    return True


async def test_a_crash_before_any_step_is_made_good_by_reading_again(database: Database) -> None:
    """Kills before the 1st, 2nd, … write, then reads everything again and does what is left to do."""
    error = result("C-2", Outcome.UNKNOWN, reason=UnknownReason.COLLECTION_ERROR)
    run = [
        Judged(1, _all(Outcome.FAIL, exposed=600)),
        Judged(2, [result("C-1"), error, result("C-3", Outcome.PARTIAL, exposed=3)]),
    ]

    now = datetime.now(UTC)

    async def work(upkeep: Upkeep) -> None:
        await _take(upkeep.projection, *run)
        await upkeep.round(_everything, now)

    siem = Siem()
    upkeep = upkeep_of(database, siem=siem)
    await upkeep.projection.take_definitions([definition(control) for control in CONTROLS])
    await work(upkeep)
    expected, told = await _all_of(database), _told(siem)
    assert len(told) == 6
    for writes in itertools.count():
        await _clear(database)
        siem.got.clear()
        try:
            await work(Life(writes).give(upkeep_of(database, siem=siem)))
        except KilledError:
            await work(upkeep_of(database, siem=siem))
            assert await _all_of(database) == expected, f"killed before write {writes}"
            assert _told(siem) == told, f"killed before write {writes}"
        else:
            break
    assert writes > 40


def _told(siem: Siem) -> dict[str, bytes]:
    """What SIEMs were told, in order, by event; what they were told twice is the same."""
    found: dict[str, bytes] = {}
    for made in siem.got:
        assert found.setdefault(made.telling.event_uid, made.record) == made.record
    return found


async def _clear(database: Database, *keep: str) -> None:
    """Everything is gone but the indexes, the controls and some collections."""
    for name in await database.list_collection_names():
        if name not in ("controls", *keep):
            await database[name].delete_many({})


async def _all_of(database: Database) -> dict[str, list[dict[str, Any]]]:
    """All that is kept, but findings that nobody follows, and when it was written."""
    names = ("parts", "instances", "insights", "history", "history_days", "records", "changes", "decisions", "audit")
    found = {name: [d async for d in database[name].find({}).sort("_id", 1)] for name in names}
    for entry in found["changes"]:
        del entry["written_at"]
    current = {instance["current"]["key"] for instance in found["instances"]}
    for name in ("findings", "exposed", "pictures"):
        found[name] = [d async for d in database[name].find({"evaluation": {"$in": [*current]}}).sort("_id", 1)]
    return found


async def test_a_frozen_replica_that_wakes_up_destroys_nothing(
    projection: ProjectionService, database: Database, client: httpx.AsyncClient
) -> None:
    """It was evicted between its switch and its tidying up; meanwhile the new owner wrote and switched."""
    gate, frozen = asyncio.Event(), asyncio.Event()

    class Frozen(ProjectionRepository):
        async def sweep(self, *arguments: Any) -> None:
            frozen.set()
            await gate.wait()
            await super().sweep(*arguments)

    first = asyncio.create_task(_take(projection_into(database, Frozen(database)), Judged(1, _all(Outcome.FAIL))))
    await frozen.wait()
    await _take(projection, Judged(2, _all(Outcome.PASS)), Judged(3, _all(Outcome.PASS)))
    staged = Judged(4, _all(Outcome.PARTIAL)).parts()
    await projection.take_part(staged[0])
    gate.set()
    await first
    assert await _current(client) == 9
    assert len((await client.get("/v1/recommendations")).json()["items"]) == 3
    for part in staged[1:]:
        await projection.take_part(part)
    assert await _current(client) == 4.5


async def test_two_replicas_that_switch_at_once_agree(projection: ProjectionService, database: Database) -> None:
    evaluations = [Judged(n, _all(Outcome.PASS if n % 2 else Outcome.FAIL)) for n in range(12)]

    async def run(seed: int) -> None:
        service = projection_into(database)
        order = [part for judged in evaluations for part in judged.parts()]
        random.Random(seed).shuffle(order)  # noqa: S311
        for part in order:
            await _insist(service, part)

    await asyncio.gather(*map(run, range(3)))
    (instance,) = [d async for d in database["instances"].find({})]
    assert instance["current"]["started_at"] == evaluations[-1].started_at
    current = instance["current"]["key"]
    (findings,) = [d async for d in database["findings"].find({"evaluation": current})]
    assert findings["results"].keys() == set(CONTROLS)
    assert await _count(database, "parts") == 0


async def _insist(service: ProjectionService, part: ControlResults) -> None:
    while True:
        try:
            return await service.take_part(part)
        except LostSwitchError:
            continue


async def test_sums_of_thirds_are_round(projection: ProjectionService, client: httpx.AsyncClient) -> None:
    third = [result(control, Outcome.PARTIAL, share=1 / 3) for control in CONTROLS]
    await _take(projection, *(Judged(1, third, instance=f"i{n}") for n in range(7)))
    for n in range(7):
        await client.put(f"/v1/instances/i{n}/insights", json={"insights": "main" if n == 0 else "on"})
    text = (await client.get("/v1/secure-score")).text
    assert '"current":21.0,"max":63.0,"percentage":33.33,"coverage":100.0' in text
    assert not re.search(r":\d+\.\d{4,}", text)
