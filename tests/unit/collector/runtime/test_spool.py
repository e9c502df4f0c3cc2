"""The spool: chunks of bounded size, one completion at the end, for nobody else's eyes, and clear failures."""

import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import pytest
from plumbline_collector import spool
from plumbline_collector.collection import start_after
from plumbline_collector.errors import ReadError
from plumbline_collector.spool import CHUNK_BYTES, LARGEST_ROW_BYTES, SpoolError, SpoolWriter
from plumbline_contracts.events import DatasetState, Product, RequestReason, Row, SnapshotCompleted
from pydantic import JsonValue

ROWS: list[Row] = [{"id": number, "name": "ü" * 100} for number in range(3000)]


def writer(path: Path) -> SpoolWriter:
    """A spool of contoso/sales-eu."""
    return SpoolWriter(path, tenant="contoso", instance="sales-eu", product=Product.SALESFORCE, snapshot_id="s")


def completed() -> SnapshotCompleted:
    """A last line."""
    now = datetime.now(UTC)
    return SnapshotCompleted(
        tenant="contoso",
        instance="sales-eu",
        product=Product.SALESFORCE,
        snapshot_id="s",
        publication_id="",
        request_id="r",
        reason=RequestReason.USER,
        started_at=now,
        completed_at=now,
        datasets=[],
        collector_version="0",
    )


def test_rows_come_back_in_order_in_chunks_of_bounded_size(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.spool"
    with writer(path) as spooled:
        for start in range(0, len(ROWS), 700):
            spooled.add("users", ROWS[start : start + 700])
            spooled.add("sites", [{"n": start}])
        spooled.flush()
        spooled.complete(completed())
    lines = path.read_bytes().splitlines()
    assert all(len(line) < CHUNK_BYTES + 2000 for line in lines)
    assert [json.loads(line)["record"] for line in lines] == ["dataset-chunk"] * (len(lines) - 1) + [
        "snapshot-completed"
    ]
    chunks = list(spool.chunks(path))
    assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
    assert [row for chunk in chunks if chunk.dataset == "users" for row in chunk.rows] == ROWS
    assert spooled.row_counts == {"users": 3000, "sites": 5}
    assert sum(spooled.chunk_counts.values()) == len(chunks) > 2


def test_a_chunk_is_written_before_the_dataset_is_whole(tmp_path: Path) -> None:
    with writer(tmp_path / "a.spool") as spooled:
        spooled.add("users", ROWS)
        assert spooled.chunk_counts["users"] >= 2
        assert sum(chunk.size_bytes for chunk in spooled._waiting.values()) < CHUNK_BYTES


def test_only_the_owner_may_read_it_even_when_the_name_was_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.spool"
    path.write_text("left")
    path.chmod(0o644)
    with writer(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == b""


def test_a_row_that_no_record_can_carry_is_that_datasets_error(tmp_path: Path) -> None:
    with writer(tmp_path / "a.spool") as spooled:
        with pytest.raises(ReadError) as caught:
            spooled.add("users", [{"id": 1}, {"blob": "x" * LARGEST_ROW_BYTES}])
        assert (caught.value.state, caught.value.code) == (DatasetState.ERROR, "row_too_large")
        assert spooled.row_counts == {"users": 1}


def test_large_rows_do_not_share_a_chunk_that_grows_too_large(tmp_path: Path) -> None:
    path, rows = tmp_path / "a.spool", [Row(id=number, blob="x" * 90_000) for number in range(7)]
    with writer(path) as spooled:
        spooled.add("users", rows)
        spooled.flush()
    assert [len(chunk.rows) for chunk in spool.chunks(path)] == [2, 2, 2, 1]
    assert spooled.row_counts == {"users": 7}


@pytest.mark.parametrize("value", [None, "null", 2**70, 1e300, "\u2028\0é"])
def test_every_value_of_json_comes_back(tmp_path: Path, value: JsonValue) -> None:
    path = tmp_path / "a.spool"
    with writer(path) as spooled:
        spooled.add("users", [{"value": value, "more": [value]}])
        spooled.flush()
    (line,) = path.read_bytes().splitlines()
    assert json.loads(line)["rows"] == [{"value": value, "more": [value]}]


@pytest.mark.parametrize("value", [float("inf"), float("nan"), "\ud800"])
def test_a_value_that_json_does_not_know_is_never_written_as_another(tmp_path: Path, value: JsonValue) -> None:
    with writer(tmp_path / "a.spool") as spooled:
        with pytest.raises(ValueError, match=r"not JSON compliant|surrogates not allowed"):
            spooled.add("users", [{"value": value}])
        assert spooled.row_counts == {}


def test_a_folder_that_cannot_be_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match=r"file/a\.spool cannot be written: .*; is the disk full"):
        writer(tmp_path / "file" / "a.spool")


@pytest.mark.parametrize("rows", [1, 3000])
def test_a_full_disk_is_a_clear_error(rows: int) -> None:
    class OnFullDisk(SpoolWriter):
        def _create(self) -> IO[bytes]:
            return Path("/dev/full").open("wb")

    def write() -> None:
        with OnFullDisk(Path("x"), tenant="t", instance="i", product=Product.SALESFORCE, snapshot_id="s") as spooled:
            spooled.add("users", ROWS[:rows])
            spooled.flush()

    with pytest.raises(SpoolError, match="No space left on device"):
        write()


def test_leftovers_are_deleted_and_other_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.spool").write_text("")
    (tmp_path / "b.spool").write_text("")
    (tmp_path / "snapshot.ndjson").write_text("")
    assert spool.delete_leftovers(tmp_path) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot.ndjson"]
    assert spool.delete_leftovers(tmp_path / "absent") == 0


def test_a_spool_that_is_gone_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="cannot be read"):
        list(spool.chunks(tmp_path / "gone.spool"))


@pytest.mark.parametrize("ahead_microseconds", [0, 1, 400, 999, 1000, -5_000_000])
def test_a_start_is_later_than_the_last_on_the_wire_too(ahead_microseconds: int) -> None:
    last = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)
    now = datetime.fromtimestamp(last.timestamp() + ahead_microseconds / 1e6, UTC)
    started = start_after(last, now)
    assert started > last
    assert started.microsecond % 1000 == 0
