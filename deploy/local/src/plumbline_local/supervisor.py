"""Keeps the processes of a stack running: starts them, starts them again with back-off, stops them in reverse.

Runs as a process of its own session (`python -m plumbline_local.supervisor HOME`). What it does stands in
`state.json`, written whole each time.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydantic import BaseModel

from plumbline_local.layout import Home
from plumbline_local.plan import ProcessPlan, StackPlan

FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
HEALTHY_SECONDS = 30.0
TURN_SECONDS = 0.1
STOP_SECONDS = 25.0


class ProcessState(BaseModel):
    """One process as `state.json` says it. `created` identifies the process behind the pid."""

    name: str
    pid: int | None
    created: float | None
    state: str
    restarts: int


class StackState(BaseModel):
    """The supervisor and its processes."""

    supervisor: ProcessState
    processes: list[ProcessState]


@dataclass
class Supervised:
    """One process under supervision."""

    plan: ProcessPlan
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restarts: int = 0
    failures: int = 0
    next_start: float = 0.0

    def start(self) -> None:
        """Start it; output goes to its log file."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.plan.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.plan.environment},
                start_new_session=True,
            )
        self.started_at = time.monotonic()

    def turn(self) -> bool:
        """Start it again if it died and its time has come; whether something changed."""
        now = time.monotonic()
        if self.process is not None and self.process.poll() is None:
            if self.failures and now - self.started_at > HEALTHY_SECONDS:
                self.failures = 0
            return False
        if self.process is not None:
            self.process = None
            self.failures += 1
            backoff = min(FIRST_BACKOFF_SECONDS * 2 ** (self.failures - 1), LONGEST_BACKOFF_SECONDS)
            self.next_start = now + backoff
            return True
        if now >= self.next_start:
            self.restarts += 1
            self.start()
            return True
        return False

    def state(self) -> ProcessState:
        """For `state.json`."""
        pid = self.process.pid if self.process is not None else None
        return ProcessState(
            name=self.plan.name,
            pid=pid,
            created=created_at(pid),
            state="running" if pid is not None else "backoff",
            restarts=self.restarts,
        )


def created_at(pid: int | None) -> float | None:
    """When the process behind a pid began; None when there is none."""
    if pid is None:
        return None
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None


class Supervisor:
    """All processes of one stack."""

    def __init__(self, home: Home, plan: StackPlan) -> None:
        self._home = home
        self._stages = [[Supervised(p, home.logs / f"{p.name}.log") for p in stage] for stage in plan.stages]
        self._running: list[Supervised] = []
        self._stopping = False

    def request_stop(self, *_: object) -> None:
        """End after this turn."""
        self._stopping = True

    def run(self, topics: list[str], key_commands: list[list[str]], environment: dict[str, str]) -> int:
        """Start stage by stage, then keep everything running until asked to stop."""
        try:
            for number, stage in enumerate(self._stages):
                for entry in stage:
                    entry.start()
                    self._running.append(entry)
                self._save()
                self._wait_for(stage if number == 0 else [])
                if number == 0 and not self._stopping:
                    self._provision([topics, *key_commands], environment)
            while not self._stopping:
                self._turn()
                time.sleep(TURN_SECONDS)
        finally:
            self._stop()
        return 0

    def _wait_for(self, stage: list[Supervised]) -> None:

        for entry in stage:
            while not self._stopping and entry.plan.port is not None:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", entry.plan.port)) == 0:
                        break
                self._turn()
                time.sleep(0.05)

    def _turn(self) -> None:
        changed = [entry.turn() for entry in self._running]
        if any(changed):
            self._save()

    def _provision(self, commands: list[list[str]], environment: dict[str, str]) -> None:
        """Create topics and keys, side by side; tried again while the broker or the database is still starting."""
        log = self._home.logs / "provisioning.log"
        waiting = commands
        while waiting and not self._stopping:
            with log.open("ab") as output:
                started = [
                    (c, subprocess.Popen(c, env={**os.environ, **environment}, stdout=output, stderr=output))
                    for c in waiting
                ]
                waiting = [command for command, process in started if process.wait() not in (0, 3)]
            if waiting:
                time.sleep(0.5)

    def _save(self) -> None:
        me = os.getpid()
        state = StackState(
            supervisor=ProcessState(name="supervisor", pid=me, created=created_at(me), state="running", restarts=0),
            processes=[entry.state() for entry in self._running],
        )
        draft = self._home.state_file.with_suffix(".new")
        draft.write_text(state.model_dump_json())
        draft.replace(self._home.state_file)

    def _stop(self) -> None:
        for entry in reversed(self._running):
            if entry.process is not None:
                stop_process(entry.process.pid, created_at(entry.process.pid))
        for entry in self._running:
            if entry.process is not None:
                entry.process.wait()
        with contextlib.suppress(FileNotFoundError):
            self._home.state_file.unlink()


def stop_process(pid: int | None, created: float | None) -> None:
    """Stop a process if it still is the one that was recorded: SIGTERM, then SIGKILL after 25 s. Its group goes too."""
    if pid is None or created is None or created_at(pid) != created:
        return
    process = psutil.Process(pid)
    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
        process.terminate()
        psutil.wait_procs([process], timeout=STOP_SECONDS)
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            process.kill()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def read_state(home: Home) -> StackState | None:
    """What `state.json` says; None when nothing runs."""
    try:
        return StackState.model_validate_json(home.state_file.read_text())
    except (FileNotFoundError, ValueError):
        return None


def main() -> int:
    """Entry point of the supervisor's process."""
    home = Home(Path(sys.argv[1]))
    document = json.loads(home.plan_file.read_text())
    supervisor = Supervisor(home, StackPlan.model_validate(document["plan"]))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.request_stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return supervisor.run(document["topics"], document["keys"], document["environment"])


if __name__ == "__main__":
    sys.exit(main())
