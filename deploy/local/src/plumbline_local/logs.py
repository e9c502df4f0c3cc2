"""The log files of a stack: bounded, and read from their end."""

import contextlib
import os
import shutil
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

LIMIT_BYTES = 10 * 1024 * 1024
LOOK_SECONDS = 0.3


def bound(log: Path, limit_bytes: int = LIMIT_BYTES) -> None:
    """Keep a log that a process appends to within about twice `limit_bytes`: what is there becomes `<log>.1`.

    The process keeps its open file, so a line that it writes at this very moment may be lost. On a full disk the
    content is dropped.
    """
    with contextlib.suppress(OSError):
        if log.stat().st_size <= limit_bytes:
            return
        with contextlib.suppress(OSError):
            shutil.copyfile(log, log.with_name(log.name + ".1"))
        os.truncate(log, 0)


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines of a log; none when there is no such file."""
    try:
        with log.open(errors="replace") as lines:
            return [line.rstrip("\n") for line in deque(lines, maxlen=count)]
    except OSError:
        return []


def follow(logs: list[Path]) -> Iterator[str]:
    """What is appended to the logs from now on, endlessly, also after one was cut."""
    positions = {log: log.stat().st_size for log in logs}
    while True:
        for log, position in positions.items():
            with log.open("rb") as content:
                content.seek(position if position <= log.stat().st_size else 0)
                if added := content.read():
                    yield added.decode(errors="replace")
                positions[log] = content.tell()
        time.sleep(LOOK_SECONDS)
