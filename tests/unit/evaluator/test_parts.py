"""Parts fit into a record and lose nothing."""

from datetime import UTC, datetime, timedelta

from plumbline_contracts import envelope
from plumbline_contracts.events import (
    AuditEntry,
    ControlResult,
    ControlResults,
    Evidence,
    ExposedEntities,
    ExposedEntity,
    Outcome,
    SnapshotCompleted,
)
from plumbline_evaluator.results import PART_BYTES, PartCutter

NOW = datetime(2026, 11, 24, tzinfo=UTC)
BASE = {"tenant": "t", "instance": "i", "product": "salesforce", "snapshot_id": "s"}
HEADER = ControlResults(
    **BASE,
    evaluation_id="e",
    snapshot_digest="d",
    snapshot_started_at=NOW,
    evaluated_at=NOW,
    catalogue_digest="c",
    catalogue_generation=1,
    part=0,
)
COMPLETED = SnapshotCompleted(
    **BASE,
    publication_id="p",
    request_id="r",
    reason="user",
    started_at=NOW,
    completed_at=NOW,
    datasets=[],
    collector_version="1",
)


def _group(number: int) -> ExposedEntities:
    entities = [ExposedEntity(id=f"{number}-{n}", name="n" * 100, type="t") for n in range(500)]
    return ExposedEntities(control_id="C-1", entities=entities)


def test_parts_are_small_numbered_and_whole() -> None:
    groups = [_group(number) for number in range(40)]
    result = ControlResult(
        control_id="C-1", control_digest="x", outcome=Outcome.FAIL, explanation="", share=0, points=0, max_points=1
    )
    cutter = PartCutter(HEADER)
    parts = [*cutter.add(groups), *cutter.add([result])]
    parts += cutter.last(COMPLETED)
    assert [part.part for part in parts] == list(range(len(parts)))
    assert len(parts) > 3
    assert all(len(part.model_dump_json(exclude_none=True)) <= PART_BYTES for part in parts)
    assert [part.part_count for part in parts] == [None] * (len(parts) - 1) + [len(parts)]
    assert [group for part in parts for group in part.exposed] == groups
    assert [found for part in parts for found in part.results] == [result]


def test_an_evaluation_without_results_is_one_part() -> None:
    (last,) = PartCutter(HEADER).last(COMPLETED)
    assert (last.part, last.part_count) == (0, 1)


def _entity(number: int, **changes: object) -> ExposedEntity:
    return ExposedEntity.model_validate({"id": str(number), "name": "n", "type": "t", **changes})


def _result(**changes: object) -> ControlResult:
    base = {"control_id": "C-1", "control_digest": "x", "outcome": "FAIL", "explanation": "", "share": 0, "points": 0}
    return ControlResult.model_validate({**base, "max_points": 1, **changes})


def _parts(*items: ExposedEntities | ControlResult, completed: SnapshotCompleted = COMPLETED) -> list[ControlResults]:
    cutter = PartCutter(HEADER)
    return [*cutter.add(items), *cutter.last(completed)]


def _fit(parts: list[ControlResults]) -> bool:
    return all(len(envelope.encode(part)) <= PART_BYTES for part in parts)


def test_a_part_is_measured_in_bytes_not_in_characters() -> None:
    entities = [_entity(number, name="名" * 100) for number in range(500)]
    assert _fit(_parts(*(ExposedEntities(control_id="C-1", entities=entities) for _ in range(10))))


def test_a_group_that_is_larger_than_a_part_is_divided() -> None:
    entities = [_entity(number, detail={"text": "x" * 20_000}) for number in range(500)]
    parts = _parts(ExposedEntities(control_id="C-1", entities=entities))
    assert _fit(parts)
    assert [entity for part in parts for group in part.exposed for entity in group.entities] == entities


def test_a_value_that_is_larger_than_a_part_is_cut() -> None:
    huge = "x" * 700_000
    evidence = Evidence(dataset="d", source="s", state="ok", observed={"long": huge, "list": [huge], "short": 1})
    group = ExposedEntities(control_id="C-1", entities=[_entity(1, detail={"long": huge, "short": [1]}, name=huge)])
    parts = _parts(group, _result(evidence=[evidence], explanation=huge))
    assert _fit(parts)
    (entity,) = parts[0].exposed[0].entities
    assert (entity.id, entity.detail["short"]) == ("1", [1])
    (result,) = (result for part in parts for result in part.results)
    assert result.evidence[0].observed["short"] == 1
    assert str(result.evidence[0].observed["long"]).endswith("x…")


def test_the_last_part_has_room_for_the_datasets_and_the_newest_audit_entries() -> None:
    entries = [AuditEntry(at=NOW + timedelta(seconds=n), actor="a", action="x" * 1000) for n in range(2000)]
    completed = COMPLETED.model_copy(update={"audit_entries": entries})
    parts = _parts(_group(1), completed=completed)
    assert _fit(parts)
    assert [part.part_count for part in parts] == [None, 2]
    kept = parts[-1].audit_entries
    assert kept == entries[-len(kept) :]
    assert len(kept) > 400
