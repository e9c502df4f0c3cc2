"""Live events: what is told, once and in order, to whom, and for how long."""

import asyncio
import random
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from plumbline_contracts.events import CollectionRequest, Health, Outcome, RequestReason, RunSummary
from plumbline_score_api import app as composition
from plumbline_score_api.access import Session
from plumbline_score_api.app import Database
from plumbline_score_api.changes.changes import ChangeKind
from plumbline_score_api.changes.repository import ChangeLogRepository, Entry
from plumbline_score_api.events import feed as feeding
from plumbline_score_api.events.following import Times
from plumbline_score_api.events.service import EventService, StreamLimits
from plumbline_score_api.problems import MEDIA_TYPE, UnavailableError
from plumbline_score_api.projection.upkeep import Upkeep
from plumbline_score_api.services import Services
from plumbline_score_api.settings import Settings
from pymongo.errors import AutoReconnect, PyMongoError

from tests.integration.score_api.events import START, Judged, result, status
from tests.integration.score_api.in_process import ALL_ROLES, COMMANDS, projection_into
from tests.integration.score_api.listening import PATIENCE_SECONDS, Api, Block, Listener, api, change
from tests.polling import until

QUICK = Times(beat=0.2)
Put = Callable[..., Awaitable[None]]


async def _true(condition: Callable[[], Any], what: str) -> None:
    """Wait until something is so."""
    await asyncio.to_thread(until, condition, within_seconds=PATIENCE_SECONDS, what=what)


def _with(services: Services, database: Database, **settings: Any) -> Services:
    """The services with streams of other settings."""
    log = ChangeLogRepository(database)
    return replace(services, events=EventService(log, (PyMongoError,), **settings))


@pytest.fixture
async def log(database: Database) -> ChangeLogRepository:
    return ChangeLogRepository(database)


@pytest.fixture
async def running(services: Services) -> AsyncIterator[Api]:
    async with api(services) as running:
        yield running


@pytest.fixture
async def key(services: Services) -> str:
    return await services.keys.create("contoso", "listener", ALL_ROLES)


@pytest.fixture
async def put(log: ChangeLogRepository) -> Put:
    """Adds entries to the change log: by name, of contoso, in partition 0."""

    async def add(*names: str, tenant: str = "contoso", partition: int = 0, **fields: Any) -> None:
        await log.append(tenant, partition, [change(name, **fields) for name in names])

    return add


def _names(blocks: list[Block]) -> list[str]:
    return [block.name for block in blocks]


# --- what is told


async def test_a_stream_begins_now_and_tells_within_a_second(running: Api, key: str, put: Put) -> None:
    await put("before")
    async with running.listen(key) as listener:
        assert listener.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert listener.response.headers["cache-control"] == "no-store"
        assert listener.response.headers["x-accel-buffering"] == "no"
        assert "etag" not in listener.response.headers
        waits = []
        for name in ("a", "b", "c"):
            written = time.monotonic()
            await put(name, data={"note": "two\nlines é\u2028"}, instance="sales-eu", control_id="C-1")
            (event,) = await listener.events(1)
            waits.append(time.monotonic() - written)
            assert (event.event, event.name) == ("score_changed", name)
            assert event.data["data"] == {"note": "two\nlines é\u2028"}
            assert event.data.keys() == {
                "event_id", "kind", "at", "scope", "instance", "control_id", "data",
            }  # fmt: skip
    assert min(waits) < 1


async def test_the_first_block_says_when_to_come_back_and_from_where(running: Api, key: str, put: Put) -> None:
    async with running.client(key) as client, client.stream("GET", "/v1/events") as response:
        listener = Listener(response)
        block = await listener.block()
    assert block is not None
    assert block.retry == 2000
    assert block.data is None
    await put("while nobody listened")
    assert _names(await running.told(key, listener.last)) == ["while nobody listened"]


async def test_whatever_happens_is_told(running: Api, key: str, upkeep: Upkeep) -> None:
    await upkeep.projection.take_status(status())
    for part in Judged(1, [result("C-1", Outcome.FAIL), result("C-2")]).parts():
        await upkeep.projection.take_part(part)
    for part in Judged(1, [result("C-1")], instance="sales-us").parts():
        await upkeep.projection.take_part(part)
    run = RunSummary(
        request_id="r1",
        reason=RequestReason.USER,
        started_at=START,
        completed_at=START,
        succeeded=True,
        message="Read.",
    )
    async with running.listen(key) as listener, running.client(key) as client:
        await upkeep.projection.take_status(status(number=1, is_collecting=True))
        await upkeep.projection.take_status(status(number=2, last_run=run))
        for part in Judged(2, [result("C-1"), result("C-2")]).parts():
            await upkeep.projection.take_part(part)
        failed = run.model_copy(update={"request_id": "r2", "succeeded": False})
        await upkeep.projection.take_status(status(number=3, last_run=failed, health=Health.FAILED))
        decision = {"status": "risk_accepted", "note": "Known."}
        (await client.put("/v1/recommendations/sales-us/C-1/status", json=decision)).raise_for_status()
        (await client.put("/v1/instances/sales-us/insights", json={"insights": "main"})).raise_for_status()
        await upkeep.round(lambda _: True, datetime.now(UTC))
        await listener.until("insights_changed")
    found = await running.told(key, since=(datetime.now(UTC) - timedelta(hours=1)).isoformat())
    told = [(block.event, block.data["scope"], block.data["instance"]) for block in found]
    for expected in (
        ("collection_started", "instance:sales-eu", "sales-eu"),
        ("collection_finished", "instance:sales-eu", "sales-eu"),
        ("collection_failed", "instance:sales-eu", "sales-eu"),
        ("finding_changed", "instance:sales-eu", "sales-eu"),
        ("status_changed", "instance:sales-eu", "sales-eu"),
        ("score_changed", "instance:sales-eu", "sales-eu"),
        ("score_changed", "product:salesforce", None),
        ("score_changed", "tenant", None),
        ("insights_changed", "product:salesforce", "sales-us"),
        ("insights_changed", "product:salesforce", "sales-eu"),
    ):
        assert expected in told
    assert len(set(_names(found))) == len(found)


async def test_a_status_that_comes_again_adds_nothing_and_one_cut_short_is_told(
    running: Api, key: str, database: Database, log: ChangeLogRepository
) -> None:
    projection = projection_into(database)
    for _ in range(2):
        await projection.take_status(status(is_collecting=True))
    assert len(await running.told(key, since=START.isoformat())) == 1
    repository = projection_into(database)._repository
    new = status(number=1)
    known, waiting = await repository.status("contoso", "sales-eu")
    assert (known, waiting) == (status(is_collecting=True), [])
    await repository.write_status("contoso", new, [change("cut short", ChangeKind.COLLECTION_FINISHED)])
    await projection.take_status(new)
    assert _names(await running.told(key, since=START.isoformat()))[1:] == ["cut short"]
    assert (await repository.status("contoso", "sales-eu"))[1] == []
    await repository.write_status("contoso", status(number=2), [change("again", ChangeKind.COLLECTION_FINISHED)])
    await projection.take_status(status(number=0))
    assert _names(await running.told(key, since=START.isoformat()))[2:] == ["again"], "an older status tells it too"


async def test_filters_choose_and_still_move_on(services: Services, database: Database, key: str, put: Put) -> None:
    async with api(_with(services, database, times=QUICK)) as running:
        query: dict[str, Any] = {
            "kind": ["status_changed", "finding_changed"],
            "instance": "sales-eu",
            "control": ["C-1"],
        }
        async with running.listen(key, **query) as listener:
            await put("a", kind=ChangeKind.FINDING_CHANGED, instance="sales-eu", control_id="C-1")
            await put("b", kind=ChangeKind.FINDING_CHANGED, instance="sales-us", control_id="C-1")
            await put("c", kind=ChangeKind.FINDING_CHANGED, instance="sales-eu", control_id="C-2")
            await put("d", kind=ChangeKind.SCORE_CHANGED, instance="sales-eu", control_id="C-1")
            await put("e", kind=ChangeKind.STATUS_CHANGED, instance="sales-eu", control_id="C-1")
            assert _names(await listener.events(2)) == ["a", "e"]
            await put("f", kind=ChangeKind.SCORE_CHANGED)
            start = listener.last
            await _moved(listener, start)
        assert await running.told(key, listener.last) == [], "a beat moved it behind what it did not want"
        assert _names(await running.told(key, start)) == ["f"]


async def _moved(listener: Listener, start: str | None) -> None:
    while listener.last == start:
        block = await listener.block()
        assert block is not None
        assert block.event is None


# --- once, in order, nobody else's


@pytest.mark.parametrize("seed", range(4))
async def test_who_comes_back_misses_nothing_and_hears_nothing_twice(
    services: Services, database: Database, key: str, seed: int
) -> None:
    """Two writers of one partition, a third of another one, a stranger, two replicas, breaks at any block."""
    chance = random.Random(seed)  # noqa: S311
    count = 30
    names = {writer: [f"{writer}/{number}" for number in range(count)] for writer in "abc"}

    async def write(writer: str, tenant: str, partition: int) -> None:
        own = ChangeLogRepository(database)
        for name in names.get(writer, [f"x/{number}" for number in range(count)]):
            await own.append(tenant, partition, [change(name)])

    ours = ("contoso", 0)
    found: list[Block] = []

    async def read(replicas: list[Api], last: str | None) -> None:
        while len(found) < 3 * count:
            async with chance.choice(replicas).listen(key, last) as listener:
                for _ in range(chance.randint(1, 20)):
                    block = await listener.block()
                    assert block is not None
                    assert block.event != "reset"
                    last = listener.last
                    found.extend([block] if block.event else [])
                    if len(found) == 3 * count:
                        break
        assert await replicas[0].told(key, last) == []

    async with api(services) as one, api(composition.build_services(database, _nobody)) as two:
        async with one.listen(key) as listener:
            start = listener.last
        async with asyncio.timeout(120), asyncio.TaskGroup() as group:
            group.create_task(read([one, two], start))
            for writer, tenant, partition in (("a", *ours), ("b", *ours), ("c", "contoso", 1), ("x", "fabrikam", 0)):
                group.create_task(write(writer, tenant, partition))
    assert sorted(_names(found)) == sorted(name for own in names.values() for name in own)
    for writer, own in names.items():
        assert [name for name in _names(found) if name.startswith(writer)] == own


async def _nobody(_: CollectionRequest) -> None:
    """Nobody collects."""


async def test_another_tenants_entries_never_appear(services: Services, database: Database, key: str, put: Put) -> None:
    other = await services.keys.create("fabrikam", "listener", ALL_ROLES)
    async with api(_with(services, database, times=QUICK)) as running, running.listen(key) as listener:
        await put("theirs", tenant="fabrikam")
        start = listener.last
        await _moved(listener, start)
        await put("ours")
        assert _names(await listener.events(1)) == ["ours"]
        since = START.isoformat()
        assert _names(await running.told(key, since=since)) == ["ours"]
        assert _names(await running.told(other, since=since)) == ["theirs"]


async def test_many_entries_are_told_by_the_page(running: Api, key: str, put: Put) -> None:
    async with running.listen(key) as listener:
        names = [f"n{number}" for number in range(450)]
        for start in range(0, 450, 90):
            await put(*names[start : start + 90])
        assert _names(await listener.events(450)) == names
    assert _names(await running.told(key, since=START.isoformat())) == names


async def test_a_pull_tells_what_there_is_and_goes_on_where_it_ended(running: Api, key: str, put: Put) -> None:
    found: list[str] = []
    last: str | None = None
    for number in range(4):
        async with running.listen(key, last, follow="false") as listener:
            found += _names([block for block in await listener.rest() if block.event])
            last = listener.last
        await put(f"n{number}")
    assert found == ["n0", "n1", "n2"], "the first pull begins now"
    async with running.client(key) as client:
        answer = await client.get("/v1/events", params={"follow": "false", "last_event_id": last})
    assert '"n3"' in answer.text


# --- where it begins


async def _refused(running: Api, key: str, last: str, code: int = 400, **params: Any) -> str:
    async with running.client(key) as client:
        answer = await client.get("/v1/events", headers=[(b"Last-Event-ID", last.encode())], params=params)
    assert (answer.status_code, answer.headers["content-type"]) == (code, MEDIA_TYPE)
    await _true(lambda: running.services.events.open == 0, "the place is free again")
    return str(answer.json()["detail"])


async def test_an_id_that_is_not_ours_gets_400(running: Api, services: Services, key: str, put: Put) -> None:
    await put("a")
    async with running.listen(key) as listener:
        last = str(listener.last)
    other = await services.keys.create("fabrikam", "listener", ALL_ROLES)
    for wrong in ("7", "x" * 20_000, last[:-4], last[:9] + ("A" if last[9] != "A" else "B") + last[10:], "{}", "é"):
        assert "not one of ours" in await _refused(running, key, wrong)
    assert "not one of ours" in await _refused(running, other, last)
    assert await running.told(key, last) == []


@pytest.mark.parametrize(
    "params", [{"kind": "nothing"}, {"scope": "x"}, {"since": "yesterday"}, {"limit": 5}, {"instance": "a b"}]
)
async def test_a_wrong_query_gets_422(running: Api, key: str, params: dict[str, Any]) -> None:
    await _refused(running, key, "", 422, **params)


async def test_since_tells_what_was_written_from_then_on(running: Api, key: str, put: Put) -> None:
    await put("a")
    await put("x", tenant="fabrikam")
    await _next_moment()
    since = datetime.now(UTC)
    await put("b", partition=3)
    await put("c")
    assert sorted(_names(await running.told(key, since=since.isoformat()))) == ["b", "c"]
    async with running.listen(key, since=since.isoformat()) as listener:
        await listener.events(2)
        assert await running.told(key, listener.last, since=since.isoformat()) == [], "the id says more"
    assert await running.told(key, since=(datetime.now(UTC) + timedelta(days=1)).isoformat()) == []


async def _next_moment() -> None:
    """The database's clock has milliseconds."""
    start = datetime.now(UTC)
    await _true(lambda: datetime.now(UTC) - start > timedelta(milliseconds=2), "time passes")


async def test_a_place_older_than_the_log_is_told_and_what_is_kept_follows(
    services: Services, database: Database, key: str, put: Put, log: ChangeLogRepository
) -> None:
    async with api(_with(services, database, times=QUICK)) as running:
        await put("a")
        async with running.listen(key) as listener:
            old = listener.last
        await put("b")
        await put("c", tenant="fabrikam")
        await _next_moment()
        moment = datetime.now(UTC)
        await put("d", "e")
        await log.prune(moment)
        assert set(await log.deleted()) == {0}
        reset, *kept = await running.told(key, old)
        assert (reset.event, reset.data["kind"], reset.data["reason"]) == ("reset", "reset", "deleted")
        assert "Read again" in reset.data["detail"]
        assert _names(kept) == ["d", "e"]
        assert await running.told(key, kept[-1].id) == []
        assert [block.event for block in await running.told(key, since=START.isoformat())] == [
            "reset", "score_changed", "score_changed",
        ]  # fmt: skip
        assert len(await running.told(key, since=moment.isoformat())) == 2, "nothing of that is missing"
        async with running.listen(key, old) as listener:
            assert (await listener.events(3))[0].event == "reset"
            await put("f")
            assert _names(await listener.events(1)) == ["f"]


async def test_who_is_connected_is_never_reset_by_the_retention_of_what_others_did(
    services: Services, database: Database, key: str, put: Put, log: ChangeLogRepository
) -> None:
    async with api(_with(services, database, times=QUICK)) as running:
        async with running.listen(key) as listener:
            for number in range(3):
                await put(f"x{number}", tenant="fabrikam")
            await _moved(listener, listener.last)
            await put("last", tenant="fabrikam")
            await _moved(listener, listener.last)
        await log.prune(datetime.now(UTC) + timedelta(days=1))
        assert await running.told(key, listener.last) == []


async def test_a_place_beyond_the_end_of_a_restored_log_is_told(
    running: Api, key: str, put: Put, database: Database
) -> None:
    await put("a", "b", "c")
    async with running.listen(key) as listener:
        last = listener.last
    await database["changes"].delete_many({"number": {"$gt": 1}})
    reset, *kept = await running.told(key, last)
    assert (reset.event, reset.data["reason"]) == ("reset", "unknown")
    assert _names(kept) == ["a"]
    async with running.listen(key, last) as listener:
        assert [block.event for block in await listener.events(2)] == ["reset", "score_changed"]


async def test_a_log_that_goes_back_while_it_is_followed_ends_the_streams(
    running: Api, key: str, put: Put, database: Database
) -> None:
    await put("a", "b")
    async with running.listen(key) as listener:
        await database["changes"].delete_many({"number": 2})
        with pytest.raises(feeding.BrokenLogError, match=r"partitions \[0\] end before"):
            await running.services.events.feed.check()
        last = listener.last
    assert (await running.told(key, last))[0].event == "reset"


async def test_a_missing_number_ends_the_streams_and_the_next_ones_go_on(
    running: Api, key: str, put: Put, database: Database, log: ChangeLogRepository
) -> None:
    await put("a")
    log._ends.clear()  # whoever writes next is another replica
    async with running.listen(key) as listener:
        documents = [{**d, "_id": f"0/{n}", "number": n, "event": f"x{n}"} async for d in database["changes"].find({})
                     for n in (3, 4)]  # fmt: skip
        await database["changes"].insert_many(documents)
        rest = await listener.rest()
        assert "come again" in str(rest[-1].comment)
        async with running.listen(key, listener.last) as again:
            assert len(await again.events(2)) == 2
            await put("b")
            assert _names(await again.events(1)) == ["b"]


# --- for how long


async def test_a_silent_stream_shows_that_it_lives(services: Services, database: Database, key: str) -> None:
    async with api(_with(services, database, times=QUICK)) as running, running.listen(key) as listener:
        blocks = [await listener.block() for _ in range(3)]
        assert [block.comment for block in blocks if block] == ["beat"] * 3


async def test_a_busy_log_of_others_does_not_silence_a_stream(
    services: Services, database: Database, key: str, put: Put
) -> None:
    async with api(_with(services, database, times=Times(beat=0.5))) as running, running.listen(key) as listener:
        is_done = asyncio.Event()

        async def others() -> None:
            number = 0
            while not is_done.is_set():
                await put(f"x{number}", tenant="fabrikam")
                number += 1

        writing = asyncio.create_task(others())
        blocks = [await listener.block() for _ in range(3)]
        is_done.set()
        await writing
        assert [block.comment for block in blocks if block] == ["beat"] * 3


async def test_a_revoked_key_ends_its_streams_alone(
    running: Api, services: Services, database: Database, key: str, put: Put
) -> None:
    other = await services.keys.create("contoso", "other", ALL_ROLES)
    async with running.listen(key) as listener, running.listen(other) as lasting:
        await database["keys"].update_one({"name": "listener"}, {"$set": {"revoked_at": datetime.now(UTC)}})
        await services.events.feed.check()
        assert [block.comment for block in await listener.rest()] == ["the key or token no longer opens this stream"]
        await put("a")
        assert _names(await lasting.events(1)) == ["a"]
    async with running.client(key) as client:
        assert (await client.get("/v1/events")).status_code == 401


async def test_a_key_that_loses_the_role_ends_its_streams(
    running: Api, services: Services, database: Database, key: str
) -> None:
    async with running.listen(key) as listener:
        await database["keys"].update_one({"name": "listener"}, {"$set": {"roles": ["Keys.Manage"]}})
        await services.events.feed.check()
        assert len(await listener.rest()) == 1


async def test_the_watch_runs_by_itself(
    running: Api, database: Database, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "WATCH_SECONDS", 0.1)
    async with running.listen(key) as listener:
        await database["keys"].update_one({"name": "listener"}, {"$set": {"revoked_at": datetime.now(UTC)}})
        assert len(await listener.rest()) == 1


async def test_a_stream_whose_key_cannot_be_checked_ends_in_time(
    services: Services, database: Database, key: str
) -> None:
    async with api(_with(services, database, times=Times(beat=0.1, unverified=1.0))) as running:
        async with running.listen(key) as listener:
            (member,) = running.services.events.feed.members

            async def away(_: str) -> None:
                raise UnavailableError("The database does not answer now.")

            member.session = Session(member.session.caller, "x", away)
            await running.services.events.feed.check()
            assert member.ended is None, "it may be back in a moment"
            rest = await listener.rest()
        assert rest[-1].comment == "the key or token could not be checked; come again"


async def test_streams_have_a_limit_per_tenant_and_one_of_all(services: Services, database: Database, key: str) -> None:
    other = await services.keys.create("fabrikam", "listener", ALL_ROLES)
    third = await services.keys.create("wingtip", "listener", ALL_ROLES)
    limits = StreamLimits(at_once=3, per_tenant=2)
    async with api(_with(services, database, limits=limits)) as running:
        async with running.listen(key), running.listen(key):
            async with running.client(key) as client:
                answer = await client.get("/v1/events")
                assert (answer.status_code, answer.headers["content-type"]) == (429, MEDIA_TYPE)
                assert answer.headers["retry-after"] == "10"
                assert (await client.get("/v1/products")).status_code == 200
            async with running.listen(other), running.client(third) as client:
                answer = await client.get("/v1/events")
                assert (answer.status_code, answer.headers["content-type"]) == (503, MEDIA_TYPE)
                assert answer.headers["retry-after"] == "10"
            await _true(lambda: running.services.events.open == 2, "a client that went leaves its place")
            async with running.listen(third):
                assert running.services.events.open == 3
        await _true(lambda: running.services.events.open == 0, "nothing is left")


async def test_head_says_what_it_is_and_leaves_nothing(running: Api, key: str) -> None:
    async with running.client(key) as client:
        answer = await client.head("/v1/events")
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        await _true(lambda: running.services.events.open == 0, "nothing is left")
        assert (await client.get("/v1/products")).status_code == 200


async def test_the_database_is_read_for_all_streams_together(services: Services, database: Database, key: str) -> None:
    async with api(_with(services, database, times=Times(beat=1.5))) as running:

        async def reads_of(count: int) -> int:
            streams = [running.listen(key) for _ in range(count)]
            listeners = [await stream.__aenter__() for stream in streams]
            before = COMMANDS.count
            assert all(await asyncio.gather(*(listener.block() for listener in listeners)))
            reads = COMMANDS.count - before
            for stream in streams:
                await stream.__aexit__(None, None, None)
            await _true(lambda: running.services.events.open == 0, "all have gone")
            return reads

        one, many = await reads_of(1), await reads_of(30)
        assert 3 <= one <= 10, "about four a second until the first beat"
        assert many <= one + 4


async def test_nobody_reads_while_nobody_listens(running: Api, key: str) -> None:
    async with running.listen(key):
        assert running.services.events.feed.is_reading
    await _true(lambda: not running.services.events.feed.is_reading, "it rests")


class _Failing(ChangeLogRepository):
    """A database that is away when it is asked for what is `named`."""

    named: frozenset[str] = frozenset()
    failures = 0

    async def after(self, *args: Any) -> list[Entry]:
        self._fail("after")
        return await super().after(*args)

    async def between(self, *args: Any) -> list[Entry]:
        self._fail("between")
        return await super().between(*args)

    async def heads(self) -> dict[int, int]:
        self._fail("heads")
        return await super().heads()

    def _fail(self, name: str) -> None:
        if name in self.named:
            self.failures += 1
            raise AutoReconnect("gone")


async def test_a_database_that_is_away_for_a_moment_is_a_delay(
    services: Services, database: Database, key: str, put: Put
) -> None:
    log = _Failing(database)
    events = EventService(log, (PyMongoError,))
    async with api(replace(services, events=events)) as running:
        async with running.listen(key) as listener:
            log.named = frozenset({"after", "heads"})
            await events.feed.check()
            await put("a")
            await _true(lambda: log.failures > 1, "reading fails")
            log.named = frozenset()
            assert _names(await listener.events(1)) == ["a"]
            last = listener.last
        await put("b")
        log.named = frozenset({"heads"})
        async with running.client(key) as client:
            assert (await client.get("/v1/events")).status_code == 503
        log.named = frozenset({"between"})
        async with running.listen(key, last) as listener:
            assert [block.comment for block in await listener.rest()] == ["the database does not answer; come again"]
        log.named = frozenset()
        assert _names(await running.told(key, last)) == ["b"]


class _Counting(ChangeLogRepository):
    """Knows how many pages single streams read."""

    pages = 0

    async def between(self, *args: Any) -> list[Entry]:
        self.pages += 1
        return await super().between(*args)


async def test_a_slow_reader_is_no_burden_and_misses_nothing(
    services: Services, database: Database, key: str, put: Put
) -> None:
    """It reads nothing while more is written than sockets and the feed hold."""
    count, at_once, padding = 1000, 100, {"text": "x" * 8000}
    names = [f"n{number}" for number in range(count)]
    log = _Counting(database)
    feed = feeding.Feed(log, (PyMongoError,), most_kept=150)
    events = EventService(log, (PyMongoError,), feed=feed)
    async with api(replace(services, events=events)) as running, _unread(running, key) as slow:
        async with running.listen(key) as quick:
            for start in range(0, count, at_once):
                await put(*names[start : start + at_once], data=padding)
                assert _names(await quick.events(at_once)) == names[start : start + at_once], "it waits for nobody"
        assert feed.weight <= 150
        before = log.pages
        await _read(slow, names)
        assert log.pages - before >= 2, "what the feed no longer kept came from the database"


@asynccontextmanager
async def _unread(running: Api, key: str) -> AsyncIterator[asyncio.StreamReader]:
    """A stream on a small socket, whose client has read the head of the answer."""
    host, port = running.url.removeprefix("http://").split(":")
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    small.setblocking(False)
    await asyncio.get_running_loop().sock_connect(small, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=small, limit=16_384)
    try:
        writer.write(f"GET /v1/events HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        yield reader
    finally:
        writer.transport.abort()


async def _read(reader: asyncio.StreamReader, names: list[str]) -> None:
    """Read events of these ids, in this order and each once."""
    async with asyncio.timeout(60):
        for name in names:
            while not (line := await reader.readuntil(b"\n")).startswith(b"data: "):
                pass
            assert line.startswith(b'data: {"event_id":"%s",' % name.encode())


async def test_who_takes_nothing_at_all_is_cut_off(services: Services, key: str, put: Put) -> None:
    async with api(services, Settings(answer_timeout_seconds=0.5)) as running, _unread(running, key):
        for start in range(0, 1000, 100):
            await put(*(f"n{number}" for number in range(start, start + 100)), data={"text": "x" * 8000})
        await _true(lambda: running.services.events.open == 0, "the place is free")


async def test_a_server_that_stops_ends_its_streams_at_once(services: Services, key: str) -> None:
    async with api(services) as running, running.listen(key) as listener:
        started = time.monotonic()
        running.server.should_exit = True
        rest = await listener.rest()
        assert rest[-1].comment == "the server stops; come again"
        assert time.monotonic() - started < 3
        with pytest.raises(UnavailableError):
            async with services.events.admitted("contoso", Session(*_session())):
                raise AssertionError


def _session() -> tuple[Any, str, Any]:
    return None, "", None
