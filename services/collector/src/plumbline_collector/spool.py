"""The spool: a snapshot as a file, chunks first, the completion last. The same form that `collector snapshot` writes.

One JSON object a line; `record` says `dataset-chunk` or `snapshot-completed`. Files are mode 0600 and hold personal
data: they are deleted at start-up and after publication.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from plumbline_contracts import envelope
from plumbline_contracts.events import DatasetChunk, Product, Row, SnapshotCompleted

CHUNK_BYTES = 200_000
SUFFIX = ".spool"


class SpoolError(RuntimeError):
    """The spool cannot be written; the message names the file and the cause."""


class SpoolWriter:
    """Takes rows page by page and writes chunks of about 200 KB. Context manager; `close` keeps the file."""

    def __init__(self, path: Path, *, tenant: str, instance: str, product: Product, snapshot_id: str) -> None:
        self.path = path
        self._head = {"tenant": tenant, "instance": instance, "product": product, "snapshot_id": snapshot_id}
        self._waiting: dict[str, list[Row]] = {}
        self._sizes: dict[str, int] = {}
        self._sequence = 0
        self.chunk_counts: dict[str, int] = {}
        self.row_counts: dict[str, int] = {}
        self._file: IO[bytes] = self._create()

    def _create(self) -> IO[bytes]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
            return os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        except OSError as error:
            raise SpoolError(f"{self.path} cannot be written: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, dataset: str, rows: list[Row]) -> None:
        """Keep rows of a dataset; full chunks go to the file at once."""
        self.row_counts[dataset] = self.row_counts.get(dataset, 0) + len(rows)
        for row in rows:
            self._sizes[dataset] = self._sizes.get(dataset, 0) + len(json.dumps(row))
            self._waiting.setdefault(dataset, []).append(row)
            if self._sizes[dataset] >= CHUNK_BYTES:
                self._flush(dataset)

    def _flush(self, dataset: str) -> None:
        rows = self._waiting.pop(dataset, [])
        self._sizes[dataset] = 0
        if not rows:
            return
        chunk = DatasetChunk(**self._head, publication_id="", dataset=dataset, sequence=self._sequence, rows=rows)
        self._write("dataset-chunk", envelope.encode(chunk))
        self._sequence += 1
        self.chunk_counts[dataset] = self.chunk_counts.get(dataset, 0) + 1

    def flush(self) -> None:
        """Write what waits, so that `chunk_counts` is final."""
        for dataset in list(self._waiting):
            self._flush(dataset)

    def complete(self, completed: SnapshotCompleted) -> None:
        """Write the last line."""
        self._write("snapshot-completed", envelope.encode(completed))
        self._file.flush()

    def _write(self, record: str, value: bytes) -> None:
        try:
            self._file.write(b'{"record":"' + record.encode() + b'",' + value[1:] + b"\n")
        except OSError as error:
            raise SpoolError(f"{self.path} cannot be written: {error.strerror}; is the disk full?") from error


def chunks(path: Path) -> Iterator[DatasetChunk]:
    """The chunks of a spool that was written whole, one at a time."""
    with path.open("rb") as lines:
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
