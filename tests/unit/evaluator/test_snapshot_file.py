"""A snapshot file is read whole or refused with its line."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from plumbline_contracts import envelope
from plumbline_contracts.events import DatasetChunk, DatasetSummary, SnapshotCompleted
from plumbline_evaluator.sources import SnapshotError
from plumbline_evaluator.sources.file import SnapshotFile

NOW = datetime(2026, 11, 24, tzinfo=UTC)
BASE = {"tenant": "t", "instance": "i", "product": "salesforce", "snapshot_id": "s"}


def _line(record: str, event: DatasetChunk | SnapshotCompleted) -> str:
    return json.dumps({"record": record, **json.loads(envelope.encode(event))})


@pytest.fixture
def lines() -> list[str]:
    chunks = [
        DatasetChunk(
            **BASE, publication_id="", dataset="users", sequence=n, rows=[{"id": str(n), "username": "x" * 90000}]
        )
        for n in range(3)
    ]
    summary = DatasetSummary(name="users", kind="rows", state="ok", row_count=3, chunk_count=3, source="User")
    completed = SnapshotCompleted(
        **BASE,
        publication_id="",
        request_id="r",
        reason="user",
        started_at=NOW,
        completed_at=NOW,
        datasets=[summary],
        collector_version="1",
    )
    return [*(_line("dataset-chunk", chunk) for chunk in chunks), _line("snapshot-completed", completed)]


def _write(path: Path, lines: list[str], end: str = "\n") -> Path:
    path.write_text("\n".join(lines) + end)
    return path


def test_a_whole_file_is_read(tmp_path: Path, lines: list[str]) -> None:
    source = SnapshotFile(_write(tmp_path / "s", lines))
    assert source.completed.snapshot_id == "s"
    assert [chunk.sequence for chunk in source.chunks()] == [0, 1, 2]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: lines[:-1], "expected a snapshot-completed record"),
        (lambda lines: [lines[0], *lines[2:]], "not chunk 1"),
        (lambda lines: [*lines[:2], lines[3]], "the completion says 3 rows in 3 chunks"),
        (lambda lines: [lines[0].replace('"s"', '"other"'), *lines[1:]], "not chunk 0 of snapshot"),
        (lambda lines: [*lines[:2], lines[2][:50], lines[3]], "not JSON"),
        (lambda lines: ["hello"], "not JSON"),
        (lambda lines: ["[1]"], "not a record"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, lines: list[str], damage: object, message: str) -> None:
    assert callable(damage)
    path = _write(tmp_path / "s", damage(lines))
    with pytest.raises(SnapshotError, match=message):
        list(SnapshotFile(path).chunks())


def test_a_file_that_was_cut_in_its_last_line_is_refused(tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(SnapshotError, match="record the snapshot again"):
        SnapshotFile(_write(tmp_path / "s", [*lines[:-1], lines[-1][:-20]], end=""))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="cannot be read"):
        SnapshotFile(tmp_path / "nothing")
