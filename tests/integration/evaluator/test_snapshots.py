"""Snapshots whose chunks are gone, cut, altered or somebody else's, and completions that come twice."""

from collections.abc import Callable
from typing import Any

from plumbline_contracts import envelope, ids
from plumbline_contracts.events import ChunkRange, CollectionRequest, ControlResults, Product, Row, SnapshotCompleted

from tests.integration.evaluator.service import Snapshot, Stage, completion, results, user


def test_a_snapshot_that_is_gone_is_skipped_and_only_the_newest_asks_for_another(stage: Stage) -> None:
    gone = stage.publish(*(Snapshot("sales") for _ in range(3)))
    for completed in gone:
        stage.delete_chunks(completed.chunks)
    older = stage.publish(Snapshot("service"))[0]
    stage.delete_chunks(older.chunks)
    newer = stage.publish(Snapshot("service"))[0]
    evaluator = stage.start()
    assert {part.snapshot_id for part in stage.wait_for_evaluation("service")} == {newer.snapshot_id}
    stage.wait_for_commits(5)
    (request,) = stage.events("collection-requests", CollectionRequest)
    newest = gone[-1]
    assert request.key == newest.key
    assert request.request_id == ids.change_request_id(newest.tenant, "sales", f"gone {newest.snapshot_id}")
    assert stage.parts("sales") == []
    assert stage.records("config-snapshots.dlq") == []
    assert evaluator.metric("plumbline_evaluator_snapshots_skipped_total") == 4
    assert [line["collection_requested"] for line in evaluator.lines("snapshot skipped, its chunks are gone")].count(
        True
    ) == 1


def _range(**changes: Any) -> Callable[[SnapshotCompleted], SnapshotCompleted]:
    def damage(completed: SnapshotCompleted) -> SnapshotCompleted:
        assert completed.chunks is not None
        chunks = ChunkRange.model_construct(**{**completed.chunks.model_dump(), **changes})
        return completed.model_copy(update={"chunks": chunks})

    return damage


def _shift(name: str, by: int) -> Callable[[SnapshotCompleted], SnapshotCompleted]:
    return lambda completed: _range(**{name: getattr(completed.chunks, name) + by})(completed)


def _summary(**changes: Any) -> Callable[[SnapshotCompleted], SnapshotCompleted]:
    return lambda c: c.model_copy(update={"datasets": [c.datasets[0].model_copy(update=changes)]})


DEAD = "config-snapshots.dlq"
DAMAGE: dict[str, tuple[str, Callable[[SnapshotCompleted], SnapshotCompleted]]] = {
    "cut-in-front": ("they were cut or altered", _shift("first_offset", 1)),
    "cut-behind": ("they were cut or altered", _shift("last_offset", -1)),
    "more-promised": ("they were cut or altered", _range(chunk_count=3)),
    "altered": ("they were cut or altered", _range(digest="0" * 64)),
    "beyond-the-end": ("the topic ends before", _shift("last_offset", 1000)),
    "no-such-partition": ("names partition 999", _range(partition=999)),
    "backwards": ("the completion names offsets", _range(first_offset=2**80)),
    "not-published": ("the completion says 3 rows", lambda c: c.model_copy(update={"chunks": None})),
    "other-rows": ("has 3 rows in 2 chunks, the completion says 4 rows", _summary(row_count=4)),
    "other-chunks": ("the completion says 3 rows in 3 chunks", _summary(chunk_count=3)),
    "other-dataset": ("the completion says 0 rows in 0 chunks", _summary(name="profiles", row_count=0, chunk_count=0)),
    "other-publication": ("hold 0 chunks", lambda c: c.model_copy(update={"publication_id": "another"})),
    "other-snapshot": ("belongs to snapshot", lambda c: c.model_copy(update={"snapshot_id": "another"})),
    "other-product": ("belongs to snapshot", lambda c: c.model_copy(update={"product": Product.SERVICENOW})),
}


def test_a_snapshot_that_was_cut_or_altered_is_diverted_and_shows_nothing(stage: Stage) -> None:
    damaged = {name: damage(stage.write(Snapshot(name))) for name, (_, damage) in DAMAGE.items()}
    stage.produce("config-snapshots", map(completion, damaged.values()))
    stage.publish(Snapshot("whole"))
    evaluator = stage.start()
    stage.wait_for_evaluation("whole")
    stage.wait_for_commits(len(damaged) + 1)
    dead = {record.key.decode().partition("/")[2]: dict(record.headers) for record in stage.records(DEAD)}
    assert dead.keys() == DAMAGE.keys()
    for name, (message, _) in DAMAGE.items():
        assert message in dead[name]["plumbline_message"].decode(), name
        assert dead[name]["plumbline_error"] == b"SnapshotError"
    assert [part.instance for part in stage.parts() if part.part_count is not None] == ["whole"]
    assert evaluator.metric("plumbline_evaluator_snapshots_skipped_total") == 0
    assert stage.records("collection-requests") == []


def test_records_of_others_between_the_chunks_are_passed_over(stage: Stage) -> None:
    strangers = [*Snapshot("sales").chunks(), None, b"", b"no chunk at all"]
    stage.produce("config-snapshots", [completion(stage.write(Snapshot("sales"), strangers=strangers))])
    stage.start()
    found = results(stage.wait_for_evaluation("sales"))
    assert (found["SF-ID-13"].compliant, found["SF-ID-13"].total) == (2, 3)


def test_a_chunk_of_this_publication_that_cannot_be_read_diverts_the_snapshot(stage: Stage) -> None:
    snapshot = Snapshot("sales")
    first, second = snapshot.chunks()
    broken = second.replace(b'"rows":[', b'"rows":["not a row",')
    stage.produce("config-snapshots", [completion(stage.write(snapshot, [first, broken]))])
    stage.start()
    stage.wait_for_commits(1)
    (dead,) = stage.records(DEAD)
    assert "a chunk cannot be read" in dict(dead.headers)["plumbline_message"].decode()
    assert stage.parts() == []


def test_rows_of_a_wrong_shape_are_judged_as_not_judgeable(stage: Stage) -> None:
    odd: list[Row] = [user(1, idle_days=2**70), user(2, idle_days="yesterday"), {"id": None}, user(4)]
    stage.publish(Snapshot("sales", [odd]))
    stage.start()
    found = results(stage.wait_for_evaluation("sales"))
    assert (found["SF-ID-45"].compliant, found["SF-ID-45"].total) == (1, 4)
    assert stage.records(DEAD) == []


def _without_time(part: ControlResults) -> bytes:
    return envelope.encode(part.model_copy(update={"evaluated_at": part.snapshot_started_at}))


def test_a_completion_that_comes_twice_gives_the_same_parts(stage: Stage) -> None:
    wrong = [[user(number, has_mfa_method=False) for number in range(start, start + 1500)] for start in (0, 1500, 3000)]
    completed = stage.publish(Snapshot("sales", wrong))[0]
    stage.produce("config-snapshots", [completion(completed)])
    stage.start()
    found = stage.wait_for_evaluation("sales", count=2)
    half = len(found) // 2
    assert half > 1
    assert len({part.evaluation_id for part in found}) == 1
    assert list(map(_without_time, found[:half])) == list(map(_without_time, found[half:]))
    listed = [record for record in stage.records("control-results") if record.key == completed.key.encode()]
    stated = [dict(record.headers)["ce_id"] for record in listed]
    assert stated[:half] == stated[half:]


def test_two_publications_of_one_snapshot_are_told_apart_by_their_digest(stage: Stage) -> None:
    first = Snapshot("sales")
    second = Snapshot("sales", [[user(9)]], started_at=first.started_at, snapshot_id=first.snapshot_id)
    stage.publish(first, second)
    stage.start()
    one, two = stage.wait_for_evaluation("sales", count=2)
    assert one.evaluation_id == two.evaluation_id
    assert (one.snapshot_digest, two.snapshot_digest) == tuple(
        c.chunks.digest for c in stage.events("config-snapshots", SnapshotCompleted) if c.chunks
    )
    assert one.snapshot_digest != two.snapshot_digest
