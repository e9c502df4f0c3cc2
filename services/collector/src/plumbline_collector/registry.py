"""The connections in force, reloaded when their file changes."""

from pathlib import Path

import structlog
from plumbline_contracts.documents import DocumentError, read_document

from plumbline_collector import connections
from plumbline_collector.connections import Connection, ConnectionsError

log = structlog.get_logger(__name__)


class ConnectionRegistry:
    """What the file says. A file that is missing, empty or no YAML pauses all instances; one with mistakes in an entry
    leaves the former connections in force. Either is said in the log, once per version of the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._current: dict[str, Connection] = {}

    def start(self) -> None:
        """Read the file for the first time. Raises ConnectionsError."""
        self._stamp = self._stat()
        self._current = {connection.key: connection for connection in connections.load(self._path)}

    @property
    def current(self) -> dict[str, Connection]:
        """`tenant/instance` to connection."""
        return self._current

    def knows(self, key: str) -> bool:
        """Whether there is a connection; a key that is new to us may stand in a file that just changed."""
        if key not in self._current:
            self.reload()
        return key in self._current

    def reload(self) -> bool:
        """Read the file again if it changed; whether the connections in force are others now."""
        stamp = self._stat()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        before = self._current
        try:
            read_document(self._path)
        except DocumentError as error:
            log.error("connections paused", problem=str(error), instances=len(before))
            self._current = {}
            return bool(before)
        try:
            self._current = {connection.key: connection for connection in connections.load(self._path)}
        except ConnectionsError as error:
            log.error("connections file refused, the former stays in force", problems=error.problems)
            return False
        log.info("connections reloaded", instances=len(self._current))
        return self._current != before

    def _stat(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size
