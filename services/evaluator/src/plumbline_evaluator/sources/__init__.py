"""Where snapshots come from: a file, or an offset range of `snapshot-chunks`."""

from collections.abc import Iterator
from typing import Protocol

from plumbline_contracts.events import DatasetChunk, SnapshotCompleted


class SnapshotError(ValueError):
    """A snapshot is not whole: chunks are missing, cut or altered. The message says which and what to do."""


class SnapshotSource(Protocol):
    """One snapshot: what its completion says, and its chunks in order.

    `chunks` raises SnapshotError when what was read is not what the completion promises; nothing that was judged
    until then may be used.
    """

    @property
    def completed(self) -> SnapshotCompleted:
        """The completion."""

    def chunks(self) -> Iterator[DatasetChunk]:
        """Every chunk, one at a time; may block."""


class RowCounter:
    """Counts the rows of every dataset that were read, and holds them against the completion."""

    def __init__(self, completed: SnapshotCompleted) -> None:
        self._expected = {summary.name: (summary.chunk_count, summary.row_count) for summary in completed.datasets}
        self._seen: dict[str, tuple[int, int]] = {}

    def add(self, chunk: DatasetChunk) -> None:
        """Count one chunk."""
        chunks, rows = self._seen.get(chunk.dataset, (0, 0))
        self._seen[chunk.dataset] = (chunks + 1, rows + len(chunk.rows))

    def verify(self) -> None:
        """Raise SnapshotError when a dataset has other counts than promised."""
        for name in self._expected.keys() | self._seen.keys():
            expected, seen = self._expected.get(name, (0, 0)), self._seen.get(name, (0, 0))
            if expected != seen:
                raise SnapshotError(
                    f"dataset {name} has {seen[1]} rows in {seen[0]} chunks, "
                    f"the completion says {expected[1]} rows in {expected[0]} chunks"
                )
