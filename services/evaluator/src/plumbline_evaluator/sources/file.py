"""A snapshot file: one JSON object a line, the chunks first, the completion last.

Written by `collector snapshot`; each line has `record`: `dataset-chunk` or `snapshot-completed`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TypeVar

from plumbline_contracts import envelope
from plumbline_contracts.events import DatasetChunk, Event, SnapshotCompleted

from plumbline_evaluator.sources import RowCounter, SnapshotError

CHUNK, COMPLETED = "dataset-chunk", "snapshot-completed"
_TAIL_BYTES = 64 * 1024
_LINE_LIMIT_BYTES = 16 * 1024 * 1024
EventT = TypeVar("EventT", bound=Event)


class SnapshotFile:
    """A recorded snapshot. Raises SnapshotError when the file is none or was cut short."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            line = _last_line(path)
        except OSError as error:
            raise SnapshotError(f"{path}: cannot be read: {error.strerror}") from error
        self._completed = _decode(SnapshotCompleted, COMPLETED, line, f"{path}, last line")

    @property
    def completed(self) -> SnapshotCompleted:
        """The completion in the last line."""
        return self._completed

    def chunks(self) -> Iterator[DatasetChunk]:
        """The chunks, a line at a time, verified against the completion at the end."""
        counter, completed = RowCounter(self._completed), self._completed
        with self._path.open("rb") as file:
            for number, line in enumerate(_lines(file, self._path), start=1):
                place = f"{self._path}:{number}"
                if _record(line, place) == COMPLETED:
                    _refuse_more(file, place)
                    break
                chunk = _decode(DatasetChunk, CHUNK, line, place)
                if (chunk.snapshot_id, chunk.key, chunk.product, chunk.sequence) != (
                    completed.snapshot_id, completed.key, completed.product, number - 1,
                ):  # fmt: skip
                    raise SnapshotError(f"{place}: not chunk {number - 1} of snapshot {completed.snapshot_id}")
                counter.add(chunk)
                yield chunk
        try:
            counter.verify()
        except SnapshotError as error:
            raise SnapshotError(f"{self._path}: {error}; record the snapshot again") from error


def _lines(file: IO[bytes], path: Path) -> Iterator[bytes]:
    for number, line in enumerate(iter(lambda: file.readline(_LINE_LIMIT_BYTES), b""), start=1):
        if len(line) == _LINE_LIMIT_BYTES:
            raise _too_long(f"{path}:{number}")
        yield line


def _too_long(place: str) -> SnapshotError:
    limit = f"{_LINE_LIMIT_BYTES // 1024 // 1024} MB"
    return SnapshotError(f"{place}: the line is longer than {limit}; is this a snapshot file?")


def _refuse_more(file: IO[bytes], place: str) -> None:
    if file.read(1):
        raise SnapshotError(f"{place}: the snapshot ends here, but the file goes on; one file holds one snapshot")


def _last_line(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if not size:
            raise SnapshotError(f"{path}: the file is empty; record the snapshot again")
        tail = b""
        while len(tail) < size:
            step = min(size - len(tail), max(_TAIL_BYTES, len(tail)))
            file.seek(size - len(tail) - step)
            tail = file.read(step) + tail
            if b"\n" in tail.rstrip(b"\n") or len(tail) > _LINE_LIMIT_BYTES:
                break
    last = tail.rstrip(b"\n").rsplit(b"\n", 1)[-1]
    if len(last) > _LINE_LIMIT_BYTES:
        raise _too_long(f"{path}, last line")
    if not tail.endswith(b"\n"):
        raise SnapshotError(f"{path}: no whole snapshot: the last line is cut; record the snapshot again")
    return last


def _prefix(record: str) -> bytes:
    """How the collector begins a line, so that the line need not be parsed to know its kind."""
    return b'{"record":"' + record.encode() + b'",'


def _record(line: bytes, place: str) -> str:
    for name in (CHUNK, COMPLETED):
        if line.startswith(_prefix(name)):
            return name
    return str(_object(line, place).get("record"))


def _object(line: bytes, place: str) -> dict[str, object]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SnapshotError(f"{place}: not JSON; is this a snapshot file?") from error
    if not isinstance(content, dict):
        raise SnapshotError(f"{place}: not a record; is this a snapshot file?")
    return content


def _decode(model: type[EventT], record: str, line: bytes, place: str) -> EventT:
    if _record(line, place) != record:
        raise SnapshotError(f"{place}: expected a {record} record; the file is no snapshot, or was cut short")
    prefix = _prefix(record)
    value = b"{" + line[len(prefix) :] if line.startswith(prefix) else line
    try:
        return envelope.decode(model, value)
    except envelope.BadRecordError as error:
        raise SnapshotError(f"{place}: {error}") from error
