"""Keeps the processes of a stack running: starts them, starts them again with back-off, stops them in reverse.

Runs as a process of its own session (`python -m plumbline_local.supervisor HOME`) and says on standard output what
happens to its processes.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from plumbline_local import processes
from plumbline_local.layout import Home
from plumbline_local.logs import bound
from plumbline_local.plan import ProcessPlan, StackPlan
from plumbline_local.ports import is_open

FIRST_BACKOFF_SECONDS = 0.5
LONGEST_BACKOFF_SECONDS = 30.0
HEALTHY_SECONDS = 30.0
TURN_SECONDS = 0.1
LOG_TURN_SECONDS = 5.0
START_ATTEMPTS = 5
PROVISIONERS = 4
TOPICS_DIFFER = 3  # `contracts topics create`: there, but not as the registry says; its log tells how


class StartError(RuntimeError):
    """A process ends again and again before it was ever up; the message names it and its log."""


def _inherited() -> dict[str, str]:
    """The caller's environment, without how to log in to another broker: the stack's own knows no logins."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PLUMBLINE_KAFKA_")}


def say(text: str) -> None:
    """One line of the supervisor's log."""
    sys.stdout.write(f"{datetime.now(UTC).isoformat(timespec='milliseconds')} {text}\n")
    sys.stdout.flush()


@dataclass
class Supervised:
    """One process under supervision."""

    plan: ProcessPlan
    home: Home
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    failures: int = 0
    next_start: float = 0.0

    @property
    def log(self) -> Path:
        return self.home.logs / f"{self.plan.name}.log"

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def turn(self) -> None:
        """Start it when it is due; notice that it ended."""
        now = time.monotonic()
        if self.is_running:
            if self.failures and now - self.started_at > HEALTHY_SECONDS:
                self.failures = 0
        elif self.process is not None:
            self._failed(f"ended with status {self.process.returncode}")
        elif now >= self.next_start:
            self._start()

    def _start(self) -> None:
        self.started_at = time.monotonic()
        try:
            with self.log.open("ab") as output:
                self.process = subprocess.Popen(
                    self.plan.command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**_inherited(), **self.plan.environment, **processes.mark(self.home.path, self.plan.name)},
                    start_new_session=True,
                    cwd=self.plan.folder,
                )
        except OSError as error:
            self._failed(f"cannot be started: {error}")

    def _failed(self, how: str) -> None:
        self.process = None
        self.failures += 1
        backoff = min(FIRST_BACKOFF_SECONDS * 2 ** (self.failures - 1), LONGEST_BACKOFF_SECONDS)
        self.next_start = time.monotonic() + backoff
        say(f"{self.plan.name} {how}; it is started again in {backoff:g} s")

    def is_up(self) -> bool:
        """Whether it has opened its port."""
        return self.is_running and is_open(self.plan.port)


class Supervisor:
    """All processes of one stack."""

    def __init__(self, home: Home, plan: StackPlan) -> None:
        self._home, self._plan = home, plan
        self._stages = [[Supervised(process, home) for process in stage.processes] for stage in plan.stages]
        self._begun: list[Supervised] = []
        self._stopping = False
        self._looked_at_logs = 0.0

    def request_stop(self, *_: object) -> None:
        """End after this turn."""
        self._stopping = True

    def run(self) -> int:
        """Start stage by stage, then keep everything running until asked to stop. The exit status.

        A process that cannot even start makes this give up: then nothing is left running.
        """
        try:
            for stage, planned in zip(self._stages, self._plan.stages, strict=True):
                self._begun += stage
                self._complete(planned.commands)
                self._wait_for(stage)
            while not self._stopping:
                self._turn()
        except StartError as error:
            say(str(error))
            return 1
        finally:
            self._stop()
        return 0

    def _wait_for(self, stage: list[Supervised]) -> None:
        waiting = list(stage)
        while waiting and not self._stopping:
            self._turn()
            for entry in waiting:
                if entry.failures >= START_ATTEMPTS:
                    raise StartError(
                        f"{entry.plan.name} ended {entry.failures} times before it was up; see {entry.log}"
                    )
            waiting = [entry for entry in waiting if not entry.is_up()]

    def _turn(self) -> None:
        for entry in self._begun:
            entry.turn()
        if time.monotonic() - self._looked_at_logs > LOG_TURN_SECONDS:
            self._looked_at_logs = time.monotonic()
            for log in self._home.logs.glob("*.log"):
                bound(log)
        time.sleep(TURN_SECONDS)

    def _complete(self, commands: list[list[str]]) -> None:
        """Run commands until each has succeeded, a few at a time; broker or database may still be starting."""
        waiting = list(commands)
        while waiting and not self._stopping:
            batch, waiting = waiting[:PROVISIONERS], waiting[PROVISIONERS:]
            waiting += self._attempt(batch)

    def _attempt(self, commands: list[list[str]]) -> list[list[str]]:
        """Run commands side by side; those that failed."""
        environment = {**_inherited(), **self._plan.environment}
        with (self._home.logs / "provisioning.log").open("ab") as output:
            running = [
                (c, subprocess.Popen(c, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL))
                for c in commands
            ]
        while any(process.poll() is None for _, process in running) and not self._stopping:
            self._turn()
        for _, process in running:
            if process.poll() is None:
                process.terminate()
        return [command for command, process in running if process.wait() not in (0, TOPICS_DIFFER)]

    def _stop(self) -> None:
        for stage in reversed(self._stages):
            own = [entry.process for entry in stage if entry.process is not None]
            processes.stop(psutil.Process(process.pid) for process in own if process.poll() is None)
            for process in own:
                process.wait()
        processes.stop(processes.of_stack(self._home.path))
        say("stopped")


def main() -> int:
    """Entry point of the supervisor's process."""
    home = Home(Path(sys.argv[1]))
    supervisor = Supervisor(home, StackPlan.model_validate_json(home.plan_file.read_text()))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.request_stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    say("starting")
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
