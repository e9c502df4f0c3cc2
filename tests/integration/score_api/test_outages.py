"""A database or a broker that is not there at the start, or goes away for a while."""

import asyncio
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from plumbline_contracts.events import Outcome
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.provisioning import create_topics
from plumbline_local import kafka as local_kafka
from plumbline_local import mongodb as local_mongodb

from tests.integration.parts import BIN
from tests.integration.score_api.events import Judged, result, status
from tests.integration.score_api.in_process import CONTROLS
from tests.integration.score_api.stage import Running, Stage
from tests.polling import free_port, until

PASSWORD = "s3cret-in-the-url"
LONGER_THAN_PATIENCE_OF_ONE_CALL = 32.0


class Own:
    """A server of the test's own that it starts and stops on one port."""

    def __init__(self, start: Callable[[], Any]) -> None:
        self._start, self._running = start, None

    def start(self) -> None:
        self._running = self._start()

    def kill(self) -> None:
        if self._running is not None:
            self._running.kill()
            self._running = None


@pytest.fixture
def own_database(tmp_path: Path) -> Iterator[tuple[Own, str]]:
    """A database that does not run yet, and its URL."""
    port = free_port()
    own = Own(lambda: local_mongodb.start(tmp_path / "mongodb", port))
    yield own, f"mongodb://127.0.0.1:{port}/plumbline"
    own.kill()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[tuple[Own, KafkaSettings]]:
    """A broker that does not run yet, and its settings."""
    port, controller = free_port(), free_port()
    own = Own(lambda: local_kafka.start(tmp_path / "kafka", port, controller))
    yield own, KafkaSettings(kafka_bootstrap=f"127.0.0.1:{port}", topic_prefix="own.")
    own.kill()


@pytest.fixture
def stages(tmp_path: Path) -> Iterator[Callable[[KafkaSettings, str], Stage]]:
    """Makes stages whose roles end with the test."""
    with ExitStack() as ending:

        def make(kafka: KafkaSettings, mongodb_url: str) -> Stage:
            stage = Stage(kafka, mongodb_url, tmp_path)
            ending.callback(stage.finish)
            return stage

        yield make


def _all(outcome: Outcome) -> list[Any]:
    return [result(control, outcome) for control in CONTROLS]


Stages = Callable[[KafkaSettings, str], Stage]


@pytest.mark.parametrize("role", ["project", "serve"])
def test_a_database_that_is_not_there_ends_the_start_with_a_clear_line(
    kafka_settings: KafkaSettings, stages: Stages, role: str
) -> None:
    url = f"mongodb://plumbline:{PASSWORD}@127.0.0.1:{free_port()}/plumbline"
    running = stages(kafka_settings, url).start(role, startup_timeout_seconds=2, port=free_port())
    until(lambda: running.probe("/healthz") == 200, within_seconds=20, what="it lives while it waits")
    assert running.probe("/readyz") == 503
    assert running.process.wait(30) == 1
    (line,) = running.lines(f"score-api-{role} stops")
    assert "the database did not answer within 2 s" in line["problem"]
    assert "PLUMBLINE_MONGODB_URL" in line["problem"]
    assert PASSWORD not in running.service.text()
    assert "Traceback" not in running.service.text()


@pytest.mark.parametrize("role", ["project", "serve"])
@pytest.mark.parametrize(
    "url", ["mongodb://127.0.0.1:1", f"postgres://x:{PASSWORD}@h/d", f"mongodb://x:{PASSWORD}@h:b/d"]
)
def test_an_unusable_database_url_is_refused_and_never_shown(
    kafka_settings: KafkaSettings, stages: Stages, role: str, url: str
) -> None:
    running = stages(kafka_settings, url).start(role)
    assert running.process.wait(30) == 2
    (line,) = running.lines(f"score-api-{role} cannot start")
    assert "PLUMBLINE_MONGODB_URL" in line["problem"]
    assert PASSWORD not in running.service.text()


@pytest.mark.parametrize("role", ["project", "serve"])
def test_a_database_that_does_not_know_the_password_ends_the_start_with_one_clear_line(
    kafka_settings: KafkaSettings, mongodb_url: str, stages: Stages, role: str
) -> None:
    place = mongodb_url.removeprefix("mongodb://")
    url = f"mongodb://plumbline:{PASSWORD}@{place}?authSource=admin"
    running = stages(kafka_settings, url).start(role, port=free_port())
    assert running.process.wait(30) == 2
    (line,) = running.lines(f"score-api-{role} cannot start")
    assert line["problem"].startswith(f"the database at {place} does not know the user or the password of PLUMBLINE_")
    assert not running.lines(f"score-api-{role} stops")
    assert PASSWORD not in running.service.text()
    assert "Traceback" not in running.service.text()


def test_a_command_tells_of_a_wrong_password_too(mongodb_url: str) -> None:
    place = mongodb_url.removeprefix("mongodb://")
    env = {**os.environ, "PLUMBLINE_MONGODB_URL": f"mongodb://plumbline:{PASSWORD}@{place}?authSource=admin"}
    for command in (["init"], ["keys", "list", "--tenant", "contoso"]):
        done = subprocess.run([str(BIN / "score-api"), *command], env=env, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "does not know the user or the password" in done.stderr
        assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.parametrize("role", ["project", "serve"])
def test_a_signal_is_obeyed_at_once_while_the_database_is_not_there(
    kafka_settings: KafkaSettings, stages: Stages, role: str
) -> None:
    running = stages(kafka_settings, f"mongodb://127.0.0.1:{free_port()}/plumbline").start(role)
    until(lambda: running.lines("database does not answer yet"), within_seconds=30, what="it waits for the database")
    _ends_at_once(running)


def _ends_at_once(running: Running) -> None:
    running.process.terminate()
    assert running.process.wait(12) == 0
    assert "Traceback" not in running.service.text()


def test_a_database_that_comes_later_is_waited_for(
    kafka_settings: KafkaSettings, own_database: tuple[Own, str], stages: Stages
) -> None:
    database, url = own_database
    stage = stages(kafka_settings, url)
    running = [stage.start(role, port=free_port()) for role in ("project", "serve")]
    for each in running:
        until(lambda each=each: each.lines("database does not answer yet"), within_seconds=30, what="it waits")  # type: ignore[misc]
    database.start()
    for each in running:
        each.wait_ready()


def test_a_broker_that_is_not_there_ends_the_start_of_the_projector(mongodb_url: str, stages: Stages) -> None:
    kafka = KafkaSettings(kafka_bootstrap=f"127.0.0.1:{free_port()}", topic_prefix="own.")
    running = stages(kafka, mongodb_url).start("project", startup_timeout_seconds=2)
    assert running.process.wait(30) == 1
    (line,) = running.lines("score-api-project stops")
    assert f"the broker at {kafka.kafka_bootstrap} did not answer" in line["problem"]
    assert "PLUMBLINE_KAFKA_BOOTSTRAP" in line["problem"]
    again = stages(kafka, mongodb_url).start("project", "other")
    until(lambda: again.lines("broker does not answer yet"), within_seconds=30, what="it waits for the broker")
    _ends_at_once(again)


def test_the_api_serves_without_a_broker_and_refuses_only_scans(
    mongodb_url: str, own_broker: tuple[Own, KafkaSettings], stages: Stages
) -> None:
    """The broker is not there, comes, and goes away again."""
    broker, kafka = own_broker
    stage = stages(kafka, mongodb_url)
    running, client = stage.serve()
    stage.ask(lambda database, _: database["instances"].insert_one(_instance()))
    assert client.get("/v1/instances").status_code == 200
    _is_refused(client, within_seconds=2)
    broker.start()
    asyncio.run(create_topics(kafka, replication_factor=1))
    until(lambda: _scan(client).status_code == 202, within_seconds=40, what="a scan is taken")
    assert [value["instance"] for value in stage.values("collection-requests")] == ["sales-eu"]
    broker.kill()
    _is_refused(client, within_seconds=9)
    assert client.get("/v1/instances").status_code == 200
    assert running.probe("/readyz") == 200
    _ends_at_once(running)


def _instance() -> dict[str, Any]:
    return {"_id": "contoso/sales-eu", "tenant": "contoso", "instance": "sales-eu", "product": "salesforce"}


def _scan(client: httpx.Client) -> httpx.Response:
    return client.post("/v1/instances/sales-eu/scan")


def _is_refused(client: httpx.Client, within_seconds: float) -> None:
    started = time.monotonic()
    answer = _scan(client)
    assert time.monotonic() - started < within_seconds
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert "again" in answer.json()["detail"]


def test_a_database_that_goes_away_loses_nothing(
    kafka_settings: KafkaSettings, own_database: tuple[Own, str], stages: Stages
) -> None:
    """It is away for longer than half a minute: no offset is committed, and the same process goes on afterwards."""
    database, url = own_database
    database.start()
    stage = stages(kafka_settings, url)
    projector = stage.project()
    served, client = stage.serve()
    stage.define(*CONTROLS)
    stage.send("instance-status", status())
    stage.judge(Judged(1, _all(Outcome.FAIL)))
    stage.wait_committed("control-results")
    before = stage.committed("control-results")
    gone_at = time.monotonic()
    database.kill()
    stage.judge(*(Judged(number, _all(Outcome.PASS), instance=f"i{number}") for number in range(2, 12)))
    stage.judge(Judged(20, _all(Outcome.PASS)))
    until(lambda: projector.lines("a write did not succeed, trying again"), within_seconds=60, what="it tries again")
    assert client.get("/v1/secure-score").status_code == 503
    until(lambda: served.probe("/readyz") == 503, within_seconds=20, what="the API is not ready")
    assert served.probe("/healthz") == projector.probe("/healthz") == 200
    until(
        lambda: time.monotonic() - gone_at > LONGER_THAN_PATIENCE_OF_ONE_CALL,
        within_seconds=60,
        what="the outage is long",
    )
    assert stage.committed("control-results") == before
    database.start()
    stage.wait_committed("control-results", within_seconds=60)
    assert stage.score() == 9
    assert stage.count("instances") == 11
    assert projector.process.poll() is None
    until(lambda: served.probe("/readyz") == 200, within_seconds=30, what="the API is ready again")
    assert client.get("/v1/secure-score").json()["current"] == 9
    database.kill()
    stage.judge(Judged(30, _all(Outcome.FAIL)))
    told = len(projector.lines("a write did not succeed, trying again"))
    again = "a write did not succeed, trying again"
    until(lambda: len(projector.lines(again)) > told, within_seconds=60, what="it tries again")
    _ends_at_once(projector)


def test_a_broker_that_goes_away_loses_nothing(
    mongodb_url: str, own_broker: tuple[Own, KafkaSettings], stages: Stages
) -> None:
    broker, kafka = own_broker
    broker.start()
    asyncio.run(create_topics(kafka, replication_factor=1))
    stage = stages(kafka, mongodb_url)
    projector = stage.project()
    stage.define(*CONTROLS)
    stage.send("instance-status", status())
    stage.judge(Judged(1, _all(Outcome.FAIL)))
    stage.wait_committed("control-results")
    broker.kill()
    gone_at = time.monotonic()
    until(lambda: time.monotonic() - gone_at > 12, within_seconds=20, what="the session is over")
    assert projector.probe("/healthz") == 200
    broker.start()
    stage.judge(Judged(2, _all(Outcome.PASS)))
    until(lambda: stage.score() == 9, within_seconds=60, what="it is projected")
    stage.wait_committed("control-results", within_seconds=60)
    assert projector.process.poll() is None
    broker.kill()
    _ends_at_once(projector)
