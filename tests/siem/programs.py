"""A program that is started, stopped and killed as often as a test likes."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_SECONDS = 30


class Program:
    """One command. Each start is a new process, which writes to `out.<n>` and `log.<n>` in `home`."""

    def __init__(self, command: Sequence[str | Path], home: Path, environment: Mapping[str, str] | None = None) -> None:
        self._command = [str(part) for part in command]
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._home = home

    def start(self) -> None:
        """Start it; it must not run."""
        assert self._process is None, f"{self._command[0]} runs already"
        self._starts += 1
        with self._file("out").open("wb") as out, self._file("log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command, stdout=out, stderr=log, env=self._environment, cwd=self._home, start_new_session=True
            )

    def stop(self) -> None:
        """SIGTERM, and wait. A program that has ended by itself, or does not end, is a failure."""
        process = self._running()
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)
        self._process = None

    def hang_up(self) -> None:
        """SIGHUP: daemons open their files anew."""
        self._running().send_signal(signal.SIGHUP)

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        process = self._running()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._process = None

    def end(self) -> None:
        """Leave nothing behind, whatever its state."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def outputs(self) -> list[bytes]:
        """What each process wrote to its standard output. A program that has ended by itself is a failure."""
        if self._process is not None:
            self._running()
        return [(self._home / f"out.{number}").read_bytes() for number in range(1, self._starts + 1)]

    def log(self) -> str:
        """What the last process wrote to its standard error."""
        return self._file("log").read_text(errors="replace")

    def _running(self) -> "subprocess.Popen[bytes]":
        assert self._process is not None, f"{self._command[0]} does not run"
        assert self._process.poll() is None, (
            f"{self._command[0]} ended with {self._process.returncode}: {self.log()[-3000:]}"
        )
        return self._process

    def _file(self, kind: str) -> Path:
        return self._home / f"{kind}.{self._starts}"
