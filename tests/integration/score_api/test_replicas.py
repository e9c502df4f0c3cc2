"""Two replicas of a role on one database, of which one is killed at work."""

import threading
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from plumbline_contracts.events import Outcome
from plumbline_score_api.app import Database

from tests.integration.score_api.events import Judged, definition, result
from tests.integration.score_api.in_process import projection_into
from tests.integration.score_api.stage import Running, Stage
from tests.polling import free_port, until

WORKERS = 6
ROUNDS = 15
"""Decisions of each worker before one replica is killed, and again afterwards."""


@dataclass
class Worker:
    """A person who decides again and again through one replica, and looks through the other whether it holds.

    When a replica is gone he goes on with the one that is left.
    """

    instance: str
    replicas: list[httpx.Client]
    number: int = 0
    surely: int = 0
    told: list[int] = field(default_factory=list)
    failed_on: set[str] = field(default_factory=set)
    wrong: list[Any] = field(default_factory=list)

    def round(self) -> None:
        """Decide and look."""
        self.number += 1
        writer, reader = self._pair()
        body = {"status": "planned", "note": str(self.number)}
        if self._ask(writer, "PUT", f"/v1/recommendations/{self.instance}/C-1/status", json=body) is not None:
            self.surely = self.number
            self.told.append(self.number)
        page = self._ask(reader, "GET", "/v1/recommendations", params={"instance": self.instance})
        if page is not None:
            self._judge(page)

    def _pair(self) -> tuple[httpx.Client, httpx.Client]:
        place = self.number % len(self.replicas)
        return self.replicas[place], self.replicas[place - 1]

    def _ask(self, client: httpx.Client, method: str, path: str, **more: Any) -> dict[str, Any] | None:
        """What the replica answers; None when it is gone."""
        try:
            answer = client.request(method, path, **more)
        except httpx.TransportError:
            self.failed_on.add(str(client.base_url))
            self.replicas = [each for each in self.replicas if each is not client]
            return None
        if answer.status_code != 200:
            self.wrong.append((answer.status_code, answer.text))
        document: dict[str, Any] = answer.json()
        return document

    def _judge(self, page: dict[str, Any]) -> None:
        """What was answered for sure is seen; what a killed replica did not answer may be."""
        notes = [int(item["decision"]["note"]) for item in page["items"]]
        if page["total"] != 1 or not all(self.surely <= note <= self.number for note in notes):
            self.wrong.append((self.surely, self.number, page))


class Crowd:
    """Workers side by side."""

    def __init__(self, workers: list[Worker]) -> None:
        self.workers = workers

    def start(self, rounds: int) -> list[threading.Thread]:
        """Have everybody work for some rounds."""
        threads = [threading.Thread(target=_work, args=(worker, rounds)) for worker in self.workers]
        for thread in threads:
            thread.start()
        return threads

    @property
    def least(self) -> int:
        """What everybody has done."""
        return min(worker.number for worker in self.workers)


def _work(worker: Worker, rounds: int) -> None:
    for _ in range(rounds):
        worker.round()


@pytest.fixture
def instances(stage: Stage) -> list[str]:
    """One instance with a failing control for each worker."""
    names = [f"i{number}" for number in range(WORKERS)]

    async def fill(database: Database, _: Any) -> None:
        projection = projection_into(database)
        await projection.take_definitions([definition("C-1")])
        for name in names:
            for part in Judged(1, [result("C-1", Outcome.FAIL)], instance=name).parts():
                await projection.take_part(part)

    stage.ask(fill)
    return names


@pytest.fixture
def replicas(stage: Stage) -> tuple[Running, Running, list[str], str]:
    """Two replicas of the API: both, their addresses, and a key."""
    ports = [free_port(), free_port()]
    running = [stage.start("serve", f"serve-{number}", port=port) for number, port in enumerate(ports)]
    for each in running:
        each.wait_ready()
    return running[0], running[1], [f"http://127.0.0.1:{port}" for port in ports], stage.key()


def test_a_killed_replica_of_the_api_takes_nothing_but_its_own_connections_with_it(
    stage: Stage, instances: list[str], replicas: tuple[Running, Running, list[str], str]
) -> None:
    victim, _, addresses, key = replicas
    headers = {"Authorization": f"Bearer {key}"}
    clients = [
        [httpx.Client(base_url=each, headers=headers, timeout=30, trust_env=False) for each in addresses]
        for _ in instances
    ]
    crowd = Crowd([Worker(name, opened) for name, opened in zip(instances, clients, strict=True)])
    threads = crowd.start(2 * ROUNDS)
    until(lambda: crowd.least >= ROUNDS, within_seconds=120, what="everybody has decided often")
    victim.service.kill()
    for thread in threads:
        thread.join(120)
    left = httpx.Client(base_url=addresses[1], headers=headers, timeout=30, trust_env=False)
    for worker in crowd.workers:
        assert worker.number == 2 * ROUNDS
        assert worker.wrong == []
        assert worker.failed_on == {f"{addresses[0]}/"} or worker.failed_on == {addresses[0]}
        assert worker.surely >= 2 * ROUNDS - 1, "one replica is enough"
        until(lambda worker=worker: _all_told(left, worker), within_seconds=30, what="the audit trail is whole")  # type: ignore[misc]
    for opened in (left, *(client for pair in clients for client in pair)):
        opened.close()


def _all_told(client: httpx.Client, worker: Worker) -> bool:
    """Whether every decision that was answered stands in the audit trail, once."""
    query: dict[str, str | int] = {"instance": worker.instance, "limit": 500}
    entries = client.get("/v1/audit", params=query).raise_for_status().json()["items"]
    notes = [int(entry["note"]) for entry in entries]
    return len(notes) == len(set(notes)) and set(notes) >= set(worker.told)


INSTANCES, EVALUATIONS = 12, 8


def test_a_killed_projector_loses_nothing_and_leaves_no_gap(stage: Stage) -> None:
    victim = stage.project("score-api-0")
    survivor = stage.project("score-api-1")
    until(lambda: survivor.probe("/readyz") == 200 == victim.probe("/readyz"), within_seconds=60, what="both share")
    stage.define("C-1")
    names = [f"i{number:02d}" for number in range(INSTANCES)]
    stage.judge(*(_judged(number, name) for number in range(1, EVALUATIONS + 1) for name in names))
    done = "plumbline_score_api_evaluations_projected_total"
    until(lambda: victim.metric(done) >= 3, within_seconds=60, what="the one to be killed is at work")
    victim.service.kill()
    stage.wait_committed("control-results", within_seconds=120)
    until(lambda: stage.count("records", {"is_pending": True}) == 0, within_seconds=60, what="everything is told")
    until(lambda: stage.count("instances", {"current.is_settled": False}) == 0, within_seconds=60, what="all settled")
    assert stage.ask(_current) == {name: _judged(EVALUATIONS, name).snapshot_id for name in names}
    assert stage.count("parts") == 0
    assert stage.score() == 3, "one of the instances is main"
    numbers, events = stage.ask(_changes)
    assert len(numbers) > 1, "several partitions"
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())
    assert len(events) == len(set(events))
    history = stage.ask(_history)
    assert {scope: len(seqs) for scope, seqs in history.items() if scope.startswith("instance:")} == {
        f"instance:{name}": EVALUATIONS for name in names
    }
    assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in history.values())


def _judged(number: int, instance: str) -> Judged:
    """The outcome changes every time, and is PASS at the end."""
    return Judged(number, [result("C-1", Outcome.FAIL if number % 2 else Outcome.PASS)], instance=instance)


async def _current(database: Database, _: Any) -> dict[str, str]:
    return {d["instance"]: d["current"]["snapshot_id"] async for d in database["instances"].find({})}


async def _changes(database: Database, _: Any) -> tuple[dict[int, list[int]], list[str]]:
    """Partition to its numbers in order, and the names of all events."""
    numbers: dict[int, list[int]] = defaultdict(list)
    events = []
    async for each in database["changes"].find({}).sort("number", 1):
        numbers[each["partition"]].append(each["number"])
        events.append(each["event"])
    return numbers, events


async def _history(database: Database, _: Any) -> dict[str, list[int]]:
    """Scope to the numbers of its points in order."""
    found: dict[str, list[int]] = defaultdict(list)
    async for each in database["history"].find({}).sort("seq", 1):
        found[each["scope"]].append(each["seq"])
    return found
