"""Commands and services as child processes, with what they used."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from plumbline_contracts.kafka import KafkaSettings

BIN = Path(sys.executable).parent
_MEASURED = Path(__file__).with_name("measured.py")
_STOP_SECONDS = 60


@dataclass(frozen=True)
class Usage:
    """What a process used from its start to its end."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


class MeasuredProcess:
    """A command of this installation under `measured.py`. `usage` is there once it has ended."""

    def __init__(self, command: list[str], scratch: Path, environment: Mapping[str, str] | None = None) -> None:
        self._command = command
        handle, name = tempfile.mkstemp(suffix=".json", dir=scratch)
        os.close(handle)
        self._report = Path(name)
        self.log = self._report.with_suffix(".log")
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_MEASURED), name, str(BIN / command[0]), *command[1:]],
                env={**os.environ, **(environment or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait(self) -> Usage:
        """Wait for the end. Raises RuntimeError, with what the process said, when it failed."""
        if self._process.wait():
            raise RuntimeError(f"{' '.join(self._command)} failed:\n{self.log.read_text()[-3000:]}")
        return Usage(**json.loads(self._report.read_text()))

    def require_running(self) -> None:
        """Raises RuntimeError, with what the process said, when it has ended."""
        if self._process.poll() is not None:
            raise RuntimeError(f"{' '.join(self._command)} ended:\n{self.log.read_text()[-3000:]}")

    def resident_mb(self) -> float:
        """What the command holds in memory now."""
        (command,) = psutil.Process(self._process.pid).children()
        return float(command.memory_info().rss) / 1e6

    def stop(self) -> Usage:
        """SIGTERM, and what it used."""
        self._process.terminate()
        return self.wait()

    def end(self) -> None:
        """Make sure that it is gone."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(_STOP_SECONDS)


def run(command: list[str], *, scratch: Path) -> Usage:
    """Run a command of this installation to its end."""
    return MeasuredProcess(command, scratch).wait()


@contextmanager
def service(command: list[str], kafka: KafkaSettings, scratch: Path, **environment: str) -> Iterator[MeasuredProcess]:
    """A running service, stopped at the latest when the block ends."""
    shared = {
        "PLUMBLINE_KAFKA_BOOTSTRAP": kafka.kafka_bootstrap,
        "PLUMBLINE_TOPIC_PREFIX": kafka.topic_prefix,
        "PLUMBLINE_LOG_FORMAT": "json",
    }
    process = MeasuredProcess(command, scratch, {**shared, **environment})
    try:
        yield process
    finally:
        process.end()
