"""A snapshot file: one JSON object a line, the chunks first, the completion last.

Written by `collector snapshot`; each line has `record`: `dataset-chunk` or `snapshot-completed`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

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
        counter = RowCounter(self._completed)
        with self._path.open("rb") as lines:
            for number, line in enumerate(iter(lambda: lines.readline(_LINE_LIMIT_BYTES), b""), start=1):
                place = f"{self._path}:{number}"
                if _record(line, place) == COMPLETED:
                    break
                chunk = _decode(DatasetChunk, CHUNK, line, place)
                if chunk.snapshot_id != self._completed.snapshot_id or chunk.sequence != number - 1:
                    raise SnapshotError(f"{place}: not chunk {number - 1} of snapshot {self._completed.snapshot_id}")
                counter.add(chunk)
                yield chunk
        try:
            counter.verify()
        except SnapshotError as error:
            raise SnapshotError(f"{self._path}: {error}; record the snapshot again") from error


def _last_line(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        tail = b""
        while len(tail) < size:
            step = min(size - len(tail), max(_TAIL_BYTES, len(tail)))
            file.seek(size - len(tail) - step)
            tail = file.read(step) + tail
            if b"\n" in tail.rstrip(b"\n"):
                break
    if not tail.endswith(b"\n"):
        raise SnapshotError(f"{path}: no whole snapshot: the last line is cut; record the snapshot again")
    return tail.rstrip(b"\n").rsplit(b"\n", 1)[-1]


def _object(line: bytes, place: str) -> dict[str, object]:
    try:
        content = json.loads(line)
    except ValueError as error:
        raise SnapshotError(f"{place}: not JSON; is this a snapshot file?") from error
    if not isinstance(content, dict):
        raise SnapshotError(f"{place}: not a record; is this a snapshot file?")
    return content


def _record(line: bytes, place: str) -> str:
    for name in (CHUNK, COMPLETED):
        if line.startswith(b'{"record":"' + name.encode() + b'"'):
            return name
    return str(_object(line, place).get("record"))


def _decode(model: type[EventT], record: str, line: bytes, place: str) -> EventT:
    content = _object(line, place)
    if content.pop("record", None) != record:
        raise SnapshotError(f"{place}: expected a {record} record; the file is no snapshot, or was cut short")
    try:
        return envelope.decode(model, json.dumps(content).encode())
    except envelope.BadRecordError as error:
        raise SnapshotError(f"{place}: {error}") from error
