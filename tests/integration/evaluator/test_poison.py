"""Completions that cannot be judged: each goes to the dead letters as it came, and the next one is judged."""

import json
from datetime import UTC, datetime, timedelta

from plumbline_contracts import envelope

from tests.integration.evaluator.service import TENANT, Record, Snapshot, Stage, completion

FUTURE = timedelta(minutes=10)
KEY = f"{TENANT}/sales".encode()
"""One key, thus one partition: the order of the records is the order of this file."""


def _poison() -> dict[str, Record]:
    """What the dead letter must say, and the record that it is about."""
    good = Snapshot("sales").completed(None).model_copy(update={"datasets": []})
    document = json.loads(envelope.encode(good))
    headers = envelope.headers(good, source="/collector/test")
    other = [(name, b"io.plumbline.instance-status.v1" if name == "ce_type" else value) for name, value in headers]
    future = good.model_copy(update={"started_at": datetime.now(UTC) + FUTURE})
    return {
        "got an empty value": (KEY, None, headers),
        "expected io.plumbline.snapshot-completed.v1, got": (KEY, b"", []),
        "Invalid JSON": (KEY, b"\xff\xfe{", headers),
        "Input should be an object": (KEY, b"[1]", []),
        "the record says 'io.plumbline.instance-status.v1'": (KEY, envelope.encode(good), other),
        "the snapshot's start lies in the future": (KEY, envelope.encode(future), headers),
        "tenant: String should match pattern": (KEY, json.dumps({**document, "tenant": "../etc"}).encode(), headers),
        "product: Input should be": (KEY, json.dumps({**document, "product": "workday"}).encode(), []),
        "datasets: Field required": (
            KEY,
            json.dumps({name: value for name, value in document.items() if name != "datasets"}).encode(),
            headers,
        ),
    }


def test_poison_goes_to_the_dead_letters_as_it_came_and_the_next_is_judged(stage: Stage) -> None:
    poison = _poison()
    good = stage.write(Snapshot("sales"))
    places = stage.produce("config-snapshots", [*poison.values(), completion(good)])
    evaluator = stage.start()
    stage.wait_for_evaluation("sales")
    stage.wait_for_commits(len(poison) + 1)
    dead = stage.records("config-snapshots.dlq")
    assert [(record.key, record.value) for record in dead] == [(key, value) for key, value, _ in poison.values()]
    for record, place, (message, (_, _, headers)) in zip(dead, places, poison.items(), strict=False):
        said = dict(record.headers)
        assert said["plumbline_topic"].decode() == stage.kafka.topic("config-snapshots")
        assert (int(said["plumbline_partition"]), int(said["plumbline_offset"])) == place
        assert said["plumbline_error"] == b"BadRecordError"
        assert message in said["plumbline_message"].decode()
        assert dict(headers).items() <= said.items(), "the headers of the record are kept"
    assert evaluator.metric("plumbline_evaluator_bad_records_total") == len(poison)
    assert not [line for line in evaluator.lines() if "Traceback" in json.dumps(line)]


def test_a_completion_without_headers_or_key_is_judged_by_what_it_says(stage: Stage) -> None:
    completed = stage.write(Snapshot("sales"))
    stage.produce("config-snapshots", [(None, envelope.encode(completed), [])])
    stage.start()
    (part,) = stage.wait_for_evaluation("sales")
    assert part.snapshot_id == completed.snapshot_id


def test_too_many_bad_records_in_a_row_end_the_process_and_are_not_all_diverted(stage: Stage) -> None:
    good = stage.write(Snapshot("sales"))
    bad: Record = (KEY, b"not JSON", [])
    stage.produce("config-snapshots", [bad, bad, completion(good), bad, bad, bad, bad])
    evaluator = stage.start(wait=False, bad_records_in_a_row=3)
    assert evaluator.wait() == 1
    (line,) = evaluator.lines("evaluator stops")
    assert "TooManyBadRecordsError: 4 bad completions in a row; the last: " in line["problem"]
    assert "Traceback" not in evaluator.service.text()
    assert len(stage.records("config-snapshots.dlq")) == 5, "a good one between begins the count anew"
    assert stage.committed() == 6
    assert len(stage.wait_for_evaluation("sales")) == 1
