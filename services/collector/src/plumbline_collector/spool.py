"""The spool: a snapshot as a file, chunks first, the completion last. The same form that `collector snapshot` writes.

One JSON object a line; `record` says `dataset-chunk` or `snapshot-completed`. Files are mode 0600 and hold personal
data: they are deleted at start-up and after publication.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import orjson
from plumbline_contracts import envelope
from plumbline_contracts.events import DatasetChunk, DatasetState, Product, Row, SnapshotCompleted

from plumbline_collector.errors import ReadError

CHUNK_BYTES = 200_000
LARGEST_ROW_BYTES = 700_000
BATCH_ROWS = 50
"""A batch of rows is small against a chunk."""
SUFFIX = ".spool"


class SpoolError(RuntimeError):
    """The spool cannot be written or read; the message names the file and the cause."""


@dataclass(slots=True)
class _Chunk:
    """Rows of one dataset that are not in the file yet: JSON, some rows with commas between them to each piece."""

    rows: list[bytes] = field(default_factory=list)
    size_bytes: int = 0


class SpoolWriter:
    """Takes rows page by page and writes chunks of about 200 KB. Context manager; leaving it keeps the file.

    Raises SpoolError whenever the file cannot be written.
    """

    def __init__(self, path: Path, *, tenant: str, instance: str, product: Product, snapshot_id: str) -> None:
        self.path = path
        head = {"tenant": tenant, "instance": instance, "product": product, "snapshot_id": snapshot_id}
        self._head = {**head, "publication_id": ""}
        self._waiting: dict[str, _Chunk] = {}
        self._sequence = 0
        self.chunk_counts: dict[str, int] = {}
        self.row_counts: dict[str, int] = {}
        self._file: IO[bytes] = self._create()

    def _create(self) -> IO[bytes]:
        with self._writing():
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.unlink(missing_ok=True)
            return os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            with self._writing():
                self._file.close()
        else:
            with contextlib.suppress(OSError):
                self._file.close()

    def add(self, dataset: str, rows: list[Row]) -> None:
        """Keep rows of a dataset; full chunks go to the file at once. Raises ReadError for a row too large to send."""
        for start in range(0, len(rows), BATCH_ROWS):
            self._add_batch(dataset, rows[start : start + BATCH_ROWS])

    def _add_batch(self, dataset: str, rows: list[Row]) -> None:
        """Rows that are written in one go, for a call of the JSON writer costs more than a row."""
        written = _json(rows)[1:-1]
        if len(rows) > 1 and len(written) > CHUNK_BYTES:
            for row in rows:
                self._add_batch(dataset, [row])
            return
        if len(written) > LARGEST_ROW_BYTES:
            message = f"a row of {dataset} has {len(written)} bytes; at most {LARGEST_ROW_BYTES} can be published"
            raise ReadError(DatasetState.ERROR, "row_too_large", message)
        self._keep(dataset, written, len(rows))

    def _keep(self, dataset: str, written: bytes, count: int) -> None:
        if dataset in self._waiting and self._waiting[dataset].size_bytes + len(written) > CHUNK_BYTES:
            self._flush(dataset)
        chunk = self._waiting.setdefault(dataset, _Chunk())
        chunk.rows.append(written)
        chunk.size_bytes += len(written)
        self.row_counts[dataset] = self.row_counts.get(dataset, 0) + count

    def _flush(self, dataset: str) -> None:
        # The rows are written already; a chunk's model would read and write each of them again.
        rows = self._waiting.pop(dataset).rows
        head = _json({**self._head, "dataset": dataset, "sequence": self._sequence})
        self._write("dataset-chunk", head[:-1] + b',"rows":[' + b",".join(rows) + b"]}")
        self._sequence += 1
        self.chunk_counts[dataset] = self.chunk_counts.get(dataset, 0) + 1

    def flush(self) -> None:
        """Write what waits, so that `chunk_counts` is final."""
        for dataset in list(self._waiting):
            self._flush(dataset)

    def complete(self, completed: SnapshotCompleted) -> None:
        """Write the last line."""
        self._write("snapshot-completed", envelope.encode(completed))

    def _write(self, record: str, value: bytes) -> None:
        with self._writing():
            self._file.write(b'{"record":"' + record.encode() + b'",' + value[1:] + b"\n")

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            message = f"{self.path} cannot be written: {error.strerror or error}"
            raise SpoolError(f"{message}; is the disk full, or the folder another user's?") from error


def _json(value: Row | list[Row]) -> bytes:
    """Compact JSON in UTF-8. Raises ValueError for a number that JSON does not know."""
    try:
        written = orjson.dumps(value)
    except orjson.JSONEncodeError:
        return _strict_json(value)
    # orjson writes a number that JSON does not know as null, and rows hardly ever hold one.
    return _strict_json(value) if b"null" in written else written


def _strict_json(value: Row | list[Row]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def chunks(path: Path) -> Iterator[DatasetChunk]:
    """The chunks of a spool that was written whole, one at a time. Raises SpoolError when the file is not there."""
    try:
        lines = path.open("rb")
    except OSError as error:
        raise SpoolError(f"{path} cannot be read: {error.strerror}") from error
    with lines:
        for line in lines:
            content = json.loads(line)
            if content.pop("record") != "dataset-chunk":
                return
            yield DatasetChunk.model_validate(content)


def delete_leftovers(folder: Path) -> int:
    """Delete the spools that an interrupted process left; how many there were."""
    leftovers = list(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    for path in leftovers:
        path.unlink(missing_ok=True)
    return len(leftovers)
