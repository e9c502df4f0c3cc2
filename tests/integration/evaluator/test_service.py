"""The running evaluator: what it tells the platform, how it ends, and what a restart changes."""

import asyncio
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from plumbline_contracts.events import ControlResults
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.provisioning import create_topics
from plumbline_contracts.topics import registry
from plumbline_local import kafka as local_kafka

from tests.integration.evaluator.service import Snapshot, Stage, results, user
from tests.polling import free_port, until


@pytest.fixture
def alone(tmp_path: Path) -> Stage:
    """For a broker that the test starts itself, or does not."""
    return Stage(KafkaSettings(kafka_bootstrap=f"127.0.0.1:{free_port()}", topic_prefix="alone."), tmp_path)


def _large(instance: str, chunks: int = 60) -> Snapshot:
    """A snapshot that takes some seconds to judge, with exposed entities in several parts."""
    rows = [user(number, has_mfa_method=number % 5 > 0) for number in range(700)]
    return Snapshot(instance, [rows] * chunks)


def test_it_says_that_it_works_and_ends_without_a_complaint(stage: Stage) -> None:
    temporary = stage.folder / "temporary"
    temporary.mkdir()
    evaluator = stage.start(PYTHONWARNINGS="default", TMPDIR=temporary)
    stage.publish(Snapshot("sales"))
    stage.wait_for_evaluation("sales")
    stage.wait_for_commits(1)
    assert [evaluator.answer(path) for path in ("/healthz", "/readyz", "/metrics", "/x")] == [200, 200, 200, 404]
    assert evaluator.metric('plumbline_evaluator_evaluations_total{product="salesforce"}') == 1
    assert evaluator.metric("plumbline_evaluator_evaluation_seconds_count") == 1
    assert list(temporary.iterdir())
    evaluator.service.process.terminate()
    assert evaluator.service.process.wait(10) == 0
    assert not list(temporary.iterdir()), "it leaves nothing behind"
    said = evaluator.service.text()
    assert not [line for line in said.splitlines() if not line.startswith("{")], "nothing but log lines"
    assert "Warning" not in said
    levels = [(line["level"], line["event"]) for line in evaluator.lines()]
    assert not [
        (level, event) for level, event in levels if level in ("error", "critical") and "Coordinator" not in event
    ]


def test_a_stop_in_the_middle_of_an_evaluation_is_obeyed_and_the_snapshot_judged_later(stage: Stage) -> None:
    stage.publish(_large("sales"))
    evaluator = stage.start()
    until(lambda: stage.parts("sales"), within_seconds=30, what="it is in the middle")
    evaluator.service.process.terminate()
    assert evaluator.service.process.wait(10) == 0
    assert stage.committed() == 0
    stage.start()
    stage.wait_for_evaluation("sales")
    stage.wait_for_commits(1)


def test_kill_9_in_the_middle_changes_no_result(stage: Stage) -> None:
    snapshot = _large("sales")
    stage.publish(snapshot)
    evaluator = stage.start(session_timeout_seconds=120)
    until(lambda: stage.parts("sales"), within_seconds=30, what="it is in the middle")
    evaluator.service.kill()
    cut_short = stage.parts("sales")
    assert not [part for part in cut_short if part.part_count is not None]
    evaluator.service.restart()
    evaluator.wait_until_ready()  # long before the session of the dead one ends: it is the same member
    whole = stage.wait_for_evaluation("sales")[len(cut_short) :]
    stage.publish(Snapshot("undisturbed", snapshot.pieces))
    undisturbed = stage.wait_for_evaluation("undisturbed")
    assert [part.part for part in whole] == list(range(len(undisturbed)))
    assert {part.evaluation_id for part in [*cut_short, *whole]} == {whole[0].evaluation_id}
    assert results(whole) == results(undisturbed)
    assert [part.exposed for part in whole] == [part.exposed for part in undisturbed]
    for early, late in zip(cut_short, whole, strict=False):
        assert (early.part, early.exposed, early.results) == (late.part, late.exposed, late.results)


def test_two_replicas_start_together_and_share_the_instances(stage: Stage) -> None:
    both = [stage.start(f"evaluator-{number}", wait=False) for number in range(2)]
    for evaluator in both:
        evaluator.wait_until_ready()
    names = [f"instance-{number}" for number in range(12)]
    stage.publish(*map(Snapshot, names))
    stage.wait_for_commits(len(names))
    assert sorted({part.instance for part in stage.parts() if part.part_count}) == sorted(names)
    judged = [evaluator.metric('plumbline_evaluator_evaluations_total{product="salesforce"}') for evaluator in both]
    assert all(judged)
    assert {definition.status for definition in stage.definitions().values()} == {"active", "manual"}


def test_a_broker_that_is_not_there_ends_the_start_with_a_clear_line(alone: Stage) -> None:
    evaluator = alone.start(wait=False, startup_timeout_seconds=2)
    until(lambda: evaluator.answer("/healthz") == 200, within_seconds=20, what="it is alive while it waits")
    assert evaluator.answer("/readyz") == 503
    assert evaluator.wait() == 1
    (line,) = evaluator.lines("evaluator stops")
    assert f"the broker at {alone.kafka.kafka_bootstrap} did not answer within 2 s" in line["problem"]
    assert "PLUMBLINE_KAFKA_BOOTSTRAP" in line["problem"]
    assert "Traceback" not in evaluator.service.text()


def test_a_stop_while_the_broker_is_not_there_is_obeyed_at_once(alone: Stage) -> None:
    evaluator = alone.start(wait=False)
    until(lambda: evaluator.lines("broker does not answer yet"), within_seconds=30, what="it waits for the broker")
    evaluator.service.process.terminate()
    assert evaluator.service.process.wait(8) == 0


def test_missing_topics_end_the_start_with_the_command_to_run(kafka: local_kafka.KafkaBroker, alone: Stage) -> None:
    alone.kafka = KafkaSettings(kafka_bootstrap=kafka.bootstrap, topic_prefix="nothing-here.")
    evaluator = alone.start(wait=False)
    assert evaluator.wait() == 1
    (line,) = evaluator.lines("evaluator stops")
    assert "contracts topics create" in line["problem"]
    used = [topic.name for topic in registry().topics if "evaluator" in (*topic.producers, *topic.consumers)]
    assert all(f"nothing-here.{name}" in line["problem"] for name in used)


def test_a_taken_port_or_a_missing_password_file_is_said(alone: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        evaluator = alone.start(wait=False, health_port=port)
        assert evaluator.wait() == 1
    assert f"127.0.0.1:{port} cannot be opened" in evaluator.lines("evaluator stops")[0]["problem"]
    sasl: dict[str, Any] = {
        "PLUMBLINE_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "PLUMBLINE_KAFKA_SASL_USERNAME": "ann",
        "PLUMBLINE_KAFKA_SASL_PASSWORD_FILE": str(alone.folder / "not-there"),
    }
    evaluator = alone.start("evaluator-1", wait=False, **sasl)
    assert evaluator.wait() == 1
    assert "not-there" in evaluator.lines("evaluator stops")[0]["problem"]


def test_a_mistake_in_the_catalogue_ends_the_start_with_file_and_line(alone: Stage) -> None:
    (alone.folder / "salesforce").mkdir()
    (alone.folder / "catalogue.yaml").write_text("version: '1'\ngeneration: 1\n")
    (alone.folder / "salesforce" / "SF-X.yaml").write_text("id: SF-X\nversion: one\n")
    evaluator = alone.start(wait=False, PLUMBLINE_CONTROLS=alone.folder)
    assert evaluator.wait() == 2
    path = alone.folder / "salesforce" / "SF-X.yaml"
    assert f"{path}:2: version: Input should be a valid integer" in evaluator.service.text()
    assert all(line.startswith(f"{path}:") for line in evaluator.service.text().splitlines())


def test_a_broker_that_is_killed_and_comes_back_is_waited_for_and_nothing_is_lost(alone: Stage) -> None:
    port, controller = int(alone.kafka.kafka_bootstrap.rpartition(":")[2]), free_port()
    broker = local_kafka.start(alone.folder / "kafka", port, controller)
    try:
        asyncio.run(create_topics(alone.kafka, replication_factor=1))
        evaluator = alone.start()
        alone.publish(Snapshot("before"))
        alone.wait_for_evaluation("before")
        alone.publish(_large("during"))
        until(lambda: alone.parts("during"), within_seconds=30, what="it is in the middle")
        broker.kill()
        broker = local_kafka.start(alone.folder / "kafka", port, controller)
        found = alone.wait_for_evaluation("during", within_seconds=90)
        assert _is_whole(found)
        alone.publish(Snapshot("after"))
        alone.wait_for_evaluation("after", within_seconds=60)
        alone.wait_for_commits(3)
        assert evaluator.answer("/healthz") == 200
        assert evaluator.service.process.poll() is None
        assert evaluator.service.stop() == 0
    finally:
        alone.finish()
        broker.stop()


def _is_whole(found: list[ControlResults]) -> bool:
    """Whether every part of the evaluation is there, however often."""
    last = next(part for part in found if part.part_count is not None)
    return {part.part for part in found} == set(range(last.part_count or 0))


SESSION_SECONDS = 6
ENOUGH_SECONDS = 1.5 * SESSION_SECONDS


def test_a_long_evaluation_stays_in_the_group_and_in_flat_memory(stage: Stage) -> None:
    evaluator = stage.start(session_timeout_seconds=SESSION_SECONDS)
    rows = [user(number, has_mfa_method=number % 10 > 0) for number in range(1000)]
    stage.publish(Snapshot("small", [rows] * 15))
    stage.wait_for_evaluation("small")
    memory, seconds = evaluator.memory_kib(), evaluator.metric("plumbline_evaluator_evaluation_seconds_sum")
    chunks = max(150, int(15 * ENOUGH_SECONDS / seconds))
    stage.publish(Snapshot("large", [rows] * chunks))
    answers = []

    def is_judged() -> bool:
        answers.append((evaluator.answer("/healthz"), evaluator.answer("/readyz")))
        return evaluator.metric('plumbline_evaluator_evaluations_total{product="salesforce"}') == 2

    until(is_judged, within_seconds=200, what="ten times as many rows are judged")
    assert evaluator.metric("plumbline_evaluator_evaluation_seconds_sum") - seconds > SESSION_SECONDS
    assert set(answers) == {(200, 200)}
    stage.wait_for_commits(2)
    assert evaluator.metric("plumbline_evaluator_assignments_total") == 1
    found = stage.parts("large")
    assert [part.part for part in found] == list(range(found[-1].part_count or 0)), "judged once, every part once"
    mfa = results(found)["SF-ID-13"]
    assert (mfa.total, mfa.exposed, mfa.exposed_listed) == (chunks * 1000, chunks * 100, 10_000)
    assert evaluator.memory_kib() < 1.5 * memory


def test_a_frozen_replica_is_replaced_and_changes_nothing_when_it_wakes(stage: Stage) -> None:
    frozen = stage.start("evaluator-0", session_timeout_seconds=6)
    stage.publish(_large("sales"))
    until(lambda: stage.parts("sales"), within_seconds=30, what="it is in the middle")
    frozen.service.process.send_signal(signal.SIGSTOP)
    stage.start("evaluator-1", wait=False, session_timeout_seconds=6)
    stage.wait_for_evaluation("sales", within_seconds=60)
    frozen.service.process.send_signal(signal.SIGCONT)
    stage.wait_for_commits(1)
    assert _is_whole(stage.wait_for_evaluation("sales"))
    assert len({part.evaluation_id for part in stage.parts("sales")}) == 1
