"""Parts fit into a record and lose nothing."""

from datetime import UTC, datetime

from plumbline_contracts.events import (
    ControlResult,
    ControlResults,
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
    parts.append(cutter.last(COMPLETED))
    assert [part.part for part in parts] == list(range(len(parts)))
    assert len(parts) > 3
    assert all(len(part.model_dump_json(exclude_none=True)) <= PART_BYTES for part in parts)
    assert [part.part_count for part in parts] == [None] * (len(parts) - 1) + [len(parts)]
    assert [group for part in parts for group in part.exposed] == groups
    assert [found for part in parts for found in part.results] == [result]


def test_an_evaluation_without_results_is_one_part() -> None:
    last = PartCutter(HEADER).last(COMPLETED)
    assert (last.part, last.part_count) == (0, 1)
