"""A MongoDB-wire database on the WiredTiger engine, on loopback, with every commit on disk before it is acknowledged.

secantusdb is GPL-2.0: it runs as a process of its own, in development and tests only.
"""

import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from plumbline_local.ports import is_open

STARTUP_SECONDS = 30.0


class MongoStartError(RuntimeError):
    """The database did not start; the message ends with what its log says."""


def prepare(home: Path, port: int) -> list[str]:
    """The command that runs the database with its files below `home`."""
    home.mkdir(parents=True, exist_ok=True)
    config = home / "secantusd.toml"
    config.touch()
    return [
        str(Path(sys.executable).parent / "secantusd-py"),
        f"--config={config}",
        "--host=127.0.0.1",
        f"--port={port}",
        f"--storage-path={home / 'data'}",
        "--log-level=WARNING",
        "--cache-size=256M",
        "--sync-on-commit",
        "--standalone",
    ]


@dataclass
class MongoServer:
    """A running database that this process started. `url` has no database name."""

    process: subprocess.Popen[bytes]
    url: str
    home: Path

    def stop(self) -> None:
        """Stop cleanly; kill after 20 s."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """kill -9, as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def start(home: Path, port: int) -> MongoServer:
    """Start a database and wait until it answers. Raises MongoStartError with the log's end otherwise."""
    command = prepare(home, port)
    log = home / "mongodb.log"
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if is_open(port):
            return MongoServer(process, f"mongodb://127.0.0.1:{port}", home)
        time.sleep(0.05)
    process.kill()
    raise MongoStartError(f"the database did not open port {port}: {log.read_text()[-2000:]}")
