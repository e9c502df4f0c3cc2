"""The topic `compliance-findings` on a real broker: what is on it, after kills too, and how it is filled again."""

import asyncio
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import jsonschema_rs
from plumbline_contracts.events import Outcome
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.provisioning import create_topics
from plumbline_score_api.findings.validation import problems

from tests.integration.parts import BIN, environment
from tests.integration.score_api.events import Judged, result, status
from tests.integration.score_api.in_process import CONTROLS
from tests.integration.score_api.stage import Stage
from tests.polling import until

TOPIC = "compliance-findings"
SCHEMA = Path(__file__).parents[3] / "contracts/generated/schemas/finding.v1.json"


def _all(outcome: Outcome) -> list[Any]:
    return [result(control, outcome) for control in CONTROLS]


def _by_key(records: list[Any]) -> dict[str, list[dict[str, Any]]]:
    """Finding to its events, in the order of the topic."""
    found: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        found.setdefault(record.key.decode(), []).append(json.loads(record.value))
    return found


def test_every_record_is_what_the_contract_says(stage: Stage) -> None:
    stage.project()
    stage.define(*CONTROLS)
    stage.send("instance-status", status())
    stage.judge(Judged(1, _all(Outcome.FAIL)), Judged(2, _all(Outcome.PASS)))
    stage.wait_committed("control-results")
    records = stage.on(TOPIC)
    assert len(records) == 6
    documented = jsonschema_rs.validator_for(json.loads(SCHEMA.read_text()))
    for record in records:
        event = json.loads(record.value)
        assert problems(event) == []
        assert [str(error) for error in documented.iter_errors(event)] == []
        assert b"\n" not in record.value
        assert len(record.value) <= 8000
        headers = dict(record.headers)
        assert record.key.decode() == event["finding_info"]["uid"]
        assert (record.timestamp, record.timestamp_type) == (event["time"], 0)
        assert headers["ce_id"].decode() == event["metadata"]["uid"]
        assert headers["ce_type"] == b"plumbline.finding.v1"
        assert headers["ce_source"] == b"/tenants/contoso/instances/sales-eu"
        assert {"content-type", "ce_specversion", "ce_subject", "ce_time", "traceparent"} <= headers.keys()
    for key, events in _by_key(records).items():
        assert key.startswith("contoso|sales-eu|C-")
        assert [event["unmapped"]["transition"] for event in events] == ["failed", "passed"]


def test_kills_lose_nothing_and_repeat_events_under_their_own_ids(stage: Stage) -> None:
    stage.define(*CONTROLS)
    stage.send("instance-status", status())
    rounds = 30
    projector = stage.project()
    for number in range(1, rounds + 1):
        stage.judge(Judged(number, _all(Outcome.FAIL if number % 2 else Outcome.PASS), in_parts=2))
        if number % 10 == 0:
            projector.service.kill()
            projector.service.restart()
    stage.wait_committed("control-results", within_seconds=90)
    for key, events in _by_key(stage.on(TOPIC)).items():
        by_uid = {event["metadata"]["uid"]: event for event in events}
        assert all(by_uid[event["metadata"]["uid"]] == event for event in events), key
        told = [event["metadata"]["sequence"] for event in by_uid.values()]
        assert told == list(range(1, rounds + 1)), key


def test_a_tenant_with_a_topic_of_its_own_finds_its_events_there_and_no_others(
    stage: Stage, kafka_settings: KafkaSettings
) -> None:
    asyncio.run(create_topics(kafka_settings, replication_factor=1, tenants=["contoso"]))
    stage.project(findings_tenant_topics="contoso")
    stage.define(*CONTROLS)
    stage.judge(Judged(1, _all(Outcome.FAIL)), Judged(1, _all(Outcome.FAIL), tenant="fabrikam"))
    stage.wait_committed("control-results")
    shared, own = stage.on(TOPIC), stage.on(f"{TOPIC}.contoso")
    assert {record.key.split(b"|")[0] for record in shared} == {b"contoso", b"fabrikam"}
    ours = [each.value for each in shared if each.key.startswith(b"contoso|")]
    assert sorted(record.value for record in own) == sorted(ours)
    assert len(own) == 3


def test_a_replay_tells_what_stands(stage: Stage, kafka_settings: KafkaSettings) -> None:
    stage.project()
    stage.define(*CONTROLS)
    stage.send("instance-status", status())
    stage.judge(Judged(1, [result("C-1", Outcome.FAIL), result("C-2", Outcome.PASS)]))
    stage.wait_committed("control-results")
    before = len(stage.on(TOPIC))
    done = _replay(stage, kafka_settings, "contoso")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 of 1 instances are done"), done.stderr
    (event,) = [json.loads(record.value) for record in stage.on(TOPIC)[before:]]
    assert (event["unmapped"]["transition"], event["status_id"], event["activity_id"]) == ("replayed", 1, 2)
    nobody = _replay(stage, kafka_settings, "fabrikam")
    assert (nobody.returncode, nobody.stderr.strip()) == (1, "tenant fabrikam has no instance; is its name right?")
    wrong = _replay(stage, kafka_settings, "contoso", "--instance", "sales")
    assert "no instance sales; it has sales-eu" in wrong.stderr


def test_a_replay_that_is_interrupted_is_withdrawn(stage: Stage, kafka_settings: KafkaSettings) -> None:
    projector = stage.project()
    stage.define(*CONTROLS)
    stage.judge(Judged(1, _all(Outcome.FAIL)))
    stage.wait_committed("control-results")
    projector.service.kill()
    command = [str(BIN / "score-api"), "findings", "replay", "--tenant", "contoso"]
    with subprocess.Popen(
        command, env=_environment(stage, kafka_settings), stderr=subprocess.PIPE, text=True
    ) as asking:
        until(lambda: stage.count("finding_replays") == 1, within_seconds=20, what="it is asked for")
        asking.send_signal(signal.SIGINT)
        _, said = asking.communicate(timeout=20)
    assert "interrupted: 1 of 1 instances are withdrawn" in said
    assert asking.returncode != 0
    assert stage.count("finding_replays") == 0


def _environment(stage: Stage, kafka: KafkaSettings) -> dict[str, str]:
    return environment(kafka, PLUMBLINE_MONGODB_URL=stage.mongodb_url)


def _replay(stage: Stage, kafka: KafkaSettings, tenant: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "score-api"), "findings", "replay", "--tenant", tenant, *more]
    env = _environment(stage, kafka)
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
