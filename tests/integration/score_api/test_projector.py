"""The role `project` on a real broker: commits, dead letters, waiting, crashes."""

import asyncio
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from plumbline_contracts import envelope
from plumbline_contracts.events import Insights, InstanceStatus, Outcome
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.provisioning import create_topics
from plumbline_local import kafka as local_kafka

from tests.integration.score_api.events import FUTURE, Judged, definition, result, status
from tests.integration.score_api.in_process import CONTROLS, projection_into
from tests.integration.score_api.stage import Stage, headers_of
from tests.polling import until


def _all(outcome: Outcome, *, exposed: int = 0) -> list[Any]:
    return [result(control, outcome, exposed=exposed) for control in CONTROLS]


def test_what_is_projected_is_committed_and_a_signal_ends_it_cleanly(stage: Stage) -> None:
    projector = stage.project()
    stage.define(*CONTROLS)
    stage.send("instance-status", status())
    stage.judge(Judged(1, _all(Outcome.PASS, exposed=0)))
    for topic in ("control-catalogue", "instance-status", "control-results"):
        stage.wait_committed(topic)
    assert stage.score() == 9
    assert projector.probe("/healthz") == 200
    assert projector.metric("plumbline_score_api_evaluations_projected_total") == 1
    (line,) = projector.lines("evaluation projected")
    assert {"tenant", "instance", "snapshot_id"} <= line.keys()
    assert projector.service.stop() == 0
    assert "Traceback" not in projector.service.text()


def test_the_trace_of_a_record_stands_in_the_log(stage: Stage) -> None:
    projector, trace = stage.project(), "0af7651916cd43dd8448eb211c80319c"
    stage.define("C-1")
    for part in Judged(1).parts():
        headers = [*headers_of(part), ("traceparent", f"00-{trace}-b7ad6b7169203331-01".encode())]
        stage.send_raw("control-results", part.key.encode(), envelope.encode(part), headers)
    (line,) = until(lambda: projector.lines("evaluation projected"), within_seconds=30, what="it is projected")
    assert line["trace_id"] == trace


def _altered(event: Any, **changes: Any) -> bytes:
    return envelope.encode(event.model_copy(update=changes))


def _before_the_calendar(event: InstanceStatus) -> bytes:
    """The event with a moment that is no date any more once it is UTC."""
    moment = envelope.encode(event).split(b'"updated_at":"')[1].split(b'"')[0]
    return envelope.encode(event).replace(moment, b"0001-01-01T00:00:00+14:00")


PART, DEFINITION, STATUS = Judged(1).parts()[0], definition("C-1"), status()
POISON = [
    ("control-results", b"not json"),
    ("control-results", b""),
    ("control-results", None),
    ("control-results", b"[]"),
    ("control-results", b'{"tenant": "contoso"}'),
    ("control-results", _altered(PART, tenant="no/slash")),
    ("control-results", _altered(PART, catalogue_generation=10**30)),
    ("control-results", _altered(PART, part=5, part_count=2)),
    ("control-results", envelope.encode(Judged(FUTURE).parts()[0])),
    ("control-results", os.urandom(1_048_000)),
    ("control-catalogue", b"\xff\xfe"),
    ("control-catalogue", _altered(DEFINITION, max_points=11)),
    ("control-catalogue", _altered(DEFINITION, catalogue_generation=10**30)),
    ("instance-status", b"{}"),
    ("instance-status", envelope.encode(status(number=FUTURE))),
    ("instance-status", _before_the_calendar(STATUS)),
]


def test_poison_goes_to_the_dead_letters_with_key_bytes_and_headers(stage: Stage) -> None:
    """Good neighbours go through."""
    projector = stage.project()
    stage.define(*CONTROLS)
    for number, (topic, value) in enumerate(POISON):
        headers = [("ce_id", str(number).encode()), ("x-own", b"kept")]
        stage.send_raw(topic, f"key-{number}".encode(), value, headers)
    stage.send_raw("control-results", None, envelope.encode(PART), [("ce_type", b"io.plumbline.other.v1")])
    stage.send("instance-status", status())
    stage.judge(Judged(1, _all(Outcome.PASS)))
    for topic in ("control-catalogue", "instance-status", "control-results"):
        stage.wait_committed(topic)
        _check_dead_letters(stage, topic, [(n, value) for n, (name, value) in enumerate(POISON) if name == topic])
    assert stage.score() == 9
    assert projector.process.poll() is None


def _check_dead_letters(stage: Stage, topic: str, wanted: list[tuple[int, bytes | None]]) -> None:
    by_key = {record.key: record for record in stage.on(f"{topic}.dlq")}
    assert by_key.keys() - {None} == {f"key-{number}".encode() for number, _ in wanted}
    assert (None in by_key) == (topic == "control-results")
    originals = {record.key: record for record in stage.on(topic)}
    for number, value in wanted:
        key = f"key-{number}".encode()
        record, headers = by_key[key], dict(by_key[key].headers)
        assert record.value == (value or b"")
        assert (headers["x-own"], headers["ce_id"]) == (b"kept", str(number).encode())
        assert headers["plumbline_topic"].decode() == stage.kafka.topic(topic)
        place = (int(headers["plumbline_partition"]), int(headers["plumbline_offset"]))
        assert place == (originals[key].partition, originals[key].offset)
        assert headers["plumbline_error"] == b"BadRecordError"
        assert headers["plumbline_message"]


def test_too_many_bad_records_in_a_row_stop_the_projector(stage: Stage) -> None:
    projector = stage.project(bad_records_in_a_row=3)
    for n in range(5):
        stage.send_raw("control-results", b"one-partition", b"bad")
        if n < 4:
            stage.send("instance-status", status(number=n))  # good ones of another topic do not count as a pause
    assert projector.process.wait(30) == 1
    (line,) = projector.lines("score-api-project stops")
    assert "4 records in a row" in line["problem"]
    assert stage.kafka.topic("control-results") in line["problem"]
    assert stage.committed("control-results") < 4
    assert len(stage.on("control-results.dlq")) >= 3


def test_a_tombstone_of_a_compacted_topic_is_no_news(stage: Stage) -> None:
    stage.project()
    for topic in ("instance-status", "control-catalogue"):
        stage.send_raw(topic, b"contoso/gone", None)
        stage.wait_committed(topic)
        assert stage.on(f"{topic}.dlq") == []


def test_an_evaluation_without_definition_waits_in_sight_and_outlives_a_restart(stage: Stage) -> None:
    projector = stage.project()
    stage.define(*CONTROLS)
    stage.send("instance-status", status())
    stage.wait_committed("instance-status")
    stage.judge(Judged(1, [result("N-1", digest="new")]), Judged(1, _all(Outcome.PASS), instance="neighbour"))
    stage.wait_committed("control-results")
    waiting = "plumbline_score_api_waiting_evaluations"
    until(lambda: projector.metric(waiting) == 1, within_seconds=10, what="the waiting evaluation is counted")
    (line,) = projector.lines("evaluations wait for control definitions")
    assert "N-1@new" in line["oldest"]
    assert stage.score() == 0, "the neighbour is not main, the evaluation that waits is seen not at all"
    assert stage.count("findings", {"instance": "neighbour"}) == stage.count("findings") == 1
    projector.service.kill()
    again = stage.project("score-api-0")
    stage.define("N-1", digest="new", generation=2)
    until(lambda: stage.count("findings") == 2, within_seconds=10, what="the evaluation is applied")
    until(lambda: again.metric(waiting) == 0, within_seconds=10, what="nothing waits")


def test_a_database_that_was_restored_gets_its_definitions_back(stage: Stage) -> None:
    projector = stage.project()
    stage.define(*CONTROLS)
    stage.wait_committed("control-catalogue")
    assert projector.service.stop() == 0
    stage.ask(lambda database, _: database["controls"].drop())
    stage.project()
    stage.judge(Judged(1, _all(Outcome.PASS)))
    until(lambda: stage.score() == 9, within_seconds=20, what="the evaluation is projected")


def test_missing_topics_end_the_start_with_the_command_to_run(
    kafka: local_kafka.KafkaBroker, mongodb_url: str, tmp_path: Path
) -> None:
    stage = Stage(KafkaSettings(kafka_bootstrap=kafka.bootstrap, topic_prefix="none."), mongodb_url, tmp_path)
    projector = stage.start("project")
    assert projector.process.wait(30) == 1
    (line,) = projector.lines("score-api-project stops")
    assert "contracts topics create" in line["problem"]
    assert "none.control-results" in line["problem"]


def test_a_missing_topic_of_a_tenant_ends_the_start_too(stage: Stage) -> None:
    asyncio.run(create_topics(stage.kafka, replication_factor=1, tenants=["contoso"]))
    projector = stage.start("project", findings_tenant_topics="contoso,fabrikam")
    assert projector.process.wait(30) == 1
    (line,) = projector.lines("score-api-project stops")
    assert "contracts topics create" in line["problem"]
    assert stage.kafka.topic("compliance-findings.fabrikam") in line["problem"]
    assert "compliance-findings.contoso" not in line["problem"]


OF_INSTANCES = {"scope": {"$in": [f"instance:i{n}" for n in range(10)]}}


def _flow() -> list[Judged]:
    """Fifty evaluations: five snapshots of ten instances, interleaved by the caller."""
    outcomes = list(Outcome)[:3]
    return [
        Judged(
            number,
            _all(outcomes[(number + instance) % 3], exposed=5),
            instance=f"i{instance}",
        )
        for number in range(5)
        for instance in range(10)
    ]


def _statuses() -> list[InstanceStatus]:
    return [status(f"i{n}", insights=Insights.MAIN if n == 4 else Insights.ON) for n in range(10)]


def _send_twice(stage: Stage, seed: int) -> None:
    """The parts of ten instances interleaved, each instance's in order, and some of it delivered again."""
    order = random.Random(seed)  # noqa: S311
    queues = [[p for j in _flow() if j.instance == f"i{n}" for p in j.parts()] for n in range(10)]
    parts = []
    while any(queues):
        queue = order.choice([queue for queue in queues if queue])
        parts.append(queue.pop(0))
        if order.random() < 0.3:
            parts.append(order.choice(parts))
    stage.send("control-results", *parts)


def test_kills_at_any_moment_leave_what_an_undisturbed_run_leaves(
    stage: Stage, mongodb_url: str, kafka: local_kafka.KafkaBroker, tmp_path: Path
) -> None:
    """Two replicas, seven kill -9 of one or the other while fifty evaluations flow, and parts delivered again."""
    quiet = Stage(stage.kafka, f"{mongodb_url}-quiet", tmp_path)
    expected = _undisturbed(quiet)
    chance = random.Random(7)  # noqa: S311
    replicas = [stage.start("project", f"score-api-{n}") for n in range(2)]
    stage.define(*CONTROLS)
    stage.send("instance-status", *_statuses())
    until(lambda: stage.count("instances") == 10, within_seconds=60, what="the instances are known")
    _send_twice(stage, seed=3)
    for kill in range(7):
        wanted = 6 * kill + chance.randrange(4)
        until(lambda wanted=wanted: stage.count("history", OF_INSTANCES) >= wanted, within_seconds=60, what="progress")  # type: ignore[misc]
        victim = chance.choice(replicas)
        victim.service.kill()
        victim.service.restart()
    stage.wait_committed("control-results", within_seconds=120)
    assert stage.seen() == expected
    assert stage.count("parts") == 0
    assert stage.count("history", OF_INSTANCES) == quiet.count("history", OF_INSTANCES)
    assert stage.on("control-results.dlq") == []
    for replica in replicas:
        assert replica.wait_ready().service.stop() == 0


def _undisturbed(stage: Stage) -> dict[str, Any]:
    """What one projection sees of the flow when nothing disturbs it."""

    async def run(database: Any, _: Any) -> None:
        projection = projection_into(database)
        await projection.take_definitions([definition(control) for control in CONTROLS])
        for each in _statuses():
            await projection.take_status(each)
        for judged in _flow():
            for part in judged.parts():
                await projection.take_part(part)

    stage.ask(run)
    return stage.seen()


def test_what_people_decide_reaches_history_and_change_log_and_ends_in_its_time(stage: Stage) -> None:
    """Two projectors share the partitions; one is killed, and its successor or the other goes on."""
    replicas = [stage.start("project", f"score-api-{n}") for n in range(2)]
    for replica in replicas:
        replica.wait_ready()
    stage.define(*CONTROLS)
    stage.send("instance-status", *_statuses())
    stage.judge(*(Judged(1, _all(Outcome.FAIL), instance=f"i{n}") for n in range(10)))
    until(lambda: stage.count("history", OF_INSTANCES) == 10, within_seconds=60, what="ten evaluations are recorded")
    _, client = stage.serve()
    soon = (datetime.now(UTC) + timedelta(seconds=15)).isoformat()
    body = {"status": "resolved_third_party", "expires_at": soon, "filter": {"control": ["C-1"]}}
    made = client.post("/v1/recommendations/statuses", json=body).raise_for_status().json()
    assert made["changed"] == 10
    assert client.get("/v1/secure-score").json()["current"] == 30
    replicas[0].service.kill()
    replicas[0].service.restart()
    until(lambda: _current(client) == 0, within_seconds=60, what="the decisions have expired")
    until(lambda: _recorded(client) == [0, 0], within_seconds=60, what="the history knows")
    points = client.get("/v1/history", params={"resolution": "change", "limit": 1000}).json()["items"]
    assert sum(point["points"] for point in points) == 0
    told = client.get("/v1/audit", params={"limit": 500, "action": ["status_set", "status_expired"]}).json()["items"]
    assert sorted(entry["action"] for entry in told) == ["status_expired"] * 10 + ["status_set"] * 10
    log = stage.ask(lambda database, _: database["changes"].find({}).to_list(None))
    for partition in {entry["partition"] for entry in log}:
        numbers = sorted(entry["number"] for entry in log if entry["partition"] == partition)
        assert numbers == list(range(1, len(numbers) + 1))
    assert len({entry["event"] for entry in log}) == len(log)
    assert len([entry for entry in log if entry["kind"] == "status_changed"]) in range(10, 21)
    for replica in replicas:
        assert replica.wait_ready().service.stop() == 0


def _current(client: Any) -> float:
    return float(client.get("/v1/secure-score").json()["current"])


def _recorded(client: Any) -> list[float]:
    """The last recorded points of the tenant, and of the instance i3."""
    scopes: list[dict[str, str]] = [{}, {"instance": "i3"}]
    found = [client.get("/v1/history", params=scope).json()["items"][-1] for scope in scopes]
    counted = [item["statuses"].get("resolved_third_party", 0) for item in found]
    return [item["current"] + count for item, count in zip(found, counted, strict=True)]
