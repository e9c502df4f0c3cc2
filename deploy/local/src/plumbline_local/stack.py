"""Starting, stopping and asking a stack."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import httpx
import psutil

from plumbline_local import plan as planning
from plumbline_local import processes
from plumbline_local.jars import JarsError
from plumbline_local.kafka import KafkaStartError
from plumbline_local.layout import BIN, Home, write_private
from plumbline_local.logs import last_lines
from plumbline_local.plan import StackError, StackPlan, Wanted
from plumbline_local.ports import DEFAULT_PORT_BASE, PortsTakenError

READY_SECONDS = 120.0
EVALUATED_SECONDS = 120.0
UP_ENDS_SECONDS = 90.0
LAST_LINES = 3
Tell = Callable[[str], None]


class BusyError(StackError):
    """Another command is starting or stopping this stack."""

    def __init__(self, home: Path, command: str, pid: int | None) -> None:
        self.command, self.pid = command, pid
        super().__init__(
            f"`plumbline {command}` (pid {pid}) is at work on the stack in {home}; wait for it, or stop it"
        )


class Stack:
    """One stack in one home."""

    def __init__(self, path: Path) -> None:
        self.home = Home(path.resolve())

    @property
    def running(self) -> dict[str, psutil.Process]:
        """The processes that run now, by name, without the supervisor."""
        found = processes.by_name(self.home.path)
        return {name: process for name, process in found.items() if name != processes.SUPERVISOR}

    @property
    def supervisor(self) -> psutil.Process | None:
        """The process that starts what dies; None when there is none."""
        return processes.by_name(self.home.path).get(processes.SUPERVISOR)

    @property
    def plan(self) -> StackPlan | None:
        """The plan of the last start; None when there was none or its file is damaged."""
        try:
            return StackPlan.model_validate_json(self.home.plan_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def up(
        self, connections: Path | None, port_base: int | None, *, simulators: bool, users: int | None, tell: Tell
    ) -> StackPlan:
        """Start the stack, or find it running, and wait until every instance was evaluated or has said why not.

        Raises StackError; then nothing runs that did not run before.
        """
        if connections is not None:
            connections = connections.absolute()
            _validate(connections)
        with self._alone("up"):
            supervisor, running = self.supervisor, self.plan
            if supervisor is not None and running is not None:
                _refuse_other(running, connections, port_base)
                tell("it runs already")
                self._wait(running, supervisor, tell)
                return running
            if processes.stop_stack(self.home.path):
                tell("stopped what an earlier start had left")
            wanted = Wanted(
                port_base=port_base or DEFAULT_PORT_BASE,
                connections=connections,
                has_simulators=simulators,
                users=users or planning.DEFAULT_USERS,
            )
            return self._start(wanted, tell)

    def _start(self, wanted: Wanted, tell: Tell) -> StackPlan:
        tell("preparing Apache Kafka")
        with self._failures_said():
            wanted.ports.refuse_taken(simulators=wanted.starts_simulators)
            made = planning.make(self.home, wanted, tell)
            write_private(self.home.plan_file, made.model_dump_json())
        try:
            with self._failures_said():
                supervisor = self._launch()
            self._wait(made, supervisor, tell)
        except BaseException:
            with _undisturbed():
                processes.stop_stack(self.home.path)
            raise
        return made

    def _launch(self) -> psutil.Process:
        with (self.home.logs / "supervisor.log").open("ab") as output:
            return psutil.Popen(
                [sys.executable, "-m", "plumbline_local.supervisor", str(self.home.path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.home.path,
                env={**os.environ, **processes.mark(self.home.path, processes.SUPERVISOR)},
            )

    def _wait(self, made: StackPlan, supervisor: psutil.Process, tell: Tell) -> None:
        """An instance that takes long to read does not make the start fail: its first collection goes on."""
        tell("starting broker, database and services")
        if not self._until(lambda: self._is_ready(made), READY_SECONDS, supervisor):
            raise StackError(f"the stack is not ready within {READY_SECONDS:.0f} s.\n{self._last_words()}")
        tell("waiting for the first evaluation of every instance")
        self._until(lambda: not self.unread(made), EVALUATED_SECONDS, supervisor)

    def _until(self, condition: Callable[[], bool], seconds: float, supervisor: psutil.Process) -> bool:
        """Whether the condition came true in time. Raises StackError when the supervisor has gone."""
        deadline = time.monotonic() + seconds
        while not condition():
            if not processes.is_alive(supervisor):
                raise StackError(f"the stack was stopped or gave up while it started.\n{self._last_words()}")
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def _is_ready(self, made: StackPlan) -> bool:
        if any(not self.home.key_file(tenant).is_file() for tenant in made.tenants):
            return False
        try:
            return httpx.get(f"{made.api_url}/readyz", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def unread(self, made: StackPlan) -> list[str]:
        """The instances, as `tenant/instance`, that were never evaluated and whose collection has not failed yet."""
        missing = []
        for tenant, instances in made.instances.items():
            known = {item["instance"]: item for item in self._instances(made, tenant)}
            for instance in instances:
                item = known.get(instance)
                if item is None or not (item["evaluated_at"] or item["health"] == "failed"):
                    missing.append(f"{tenant}/{instance}")
        return missing

    def _instances(self, made: StackPlan, tenant: str) -> list[dict[str, Any]]:
        try:
            items: list[dict[str, Any]] = self.ask(made, "/v1/instances", tenant)["items"]
        except StackError:  # the API may be starting again; `_until` has the deadline
            return []
        return items

    def _last_words(self) -> str:
        logs = [self.home.logs / f"{name}.log" for name in ("supervisor", "provisioning")]
        logs += [log for log in sorted(self.home.logs.glob("*.log")) if log not in logs]
        found = [(log, [line[:300] for line in last_lines(log, LAST_LINES)]) for log in logs]
        return "\n".join("\n  ".join([f"{log}:", *lines]) for log, lines in found if lines)

    def ask(self, made: StackPlan, path: str, tenant: str, **query: Any) -> Any:  # noqa: ANN401 - JSON
        """GET from the stack's API. Raises StackError."""
        try:
            key = self.home.key_file(tenant).read_text(encoding="utf-8").strip()
            headers = {"Authorization": f"Bearer {key}"}
            answer = httpx.get(made.api_url + path, params=query, headers=headers, timeout=10, trust_env=False)
            return answer.raise_for_status().json()
        except (httpx.HTTPError, OSError) as error:
            raise StackError(f"the score API does not answer at {made.api_url}{path}: {error}") from error

    def down(self) -> bool:
        """Stop everything that runs, also a start under way and what a killed supervisor left; whether anything ran.

        Raises StackError when another command holds the stack for too long.
        """
        if not self.home.lock_file.is_file():
            return processes.stop_stack(self.home.path)
        interrupted, deadline = False, time.monotonic() + UP_ENDS_SECONDS
        while True:
            try:
                with self._alone("down"):
                    return processes.stop_stack(self.home.path) or interrupted
            except BusyError as error:
                if time.monotonic() > deadline:
                    raise
                if error.command == "up" and not interrupted:
                    interrupted = processes.terminate_holder(error.pid, self.home.lock_file)
            time.sleep(0.1)

    @contextlib.contextmanager
    def _alone(self, command: str) -> Iterator[None]:
        """Hold the stack for one command. Raises BusyError, and StackError when the home cannot be written."""
        with self._failures_said():
            self.home.prepare()
            lock = self.home.lock_file.open("a+", encoding="utf-8")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise self._busy(lock) from error
            with self._failures_said():
                _note(lock, f"{command} {os.getpid()}")
            yield

    @contextlib.contextmanager
    def _failures_said(self) -> Iterator[None]:
        """What cannot be prepared, as a StackError that says where and why."""
        try:
            yield
        except (JarsError, KafkaStartError, PortsTakenError) as error:
            raise StackError(str(error)) from error
        except OSError as error:
            place = error.filename or self.home.path
            raise StackError(
                f"{place}: {error.strerror or error}. The stack keeps its state in {self.home.path}: "
                "make that a folder that can be written, or choose another with --home"
            ) from error

    def _busy(self, lock: IO[str]) -> BusyError:
        lock.seek(0)
        command, _, pid = lock.read().partition(" ")
        return BusyError(self.home.path, command or "up", int(pid) if pid.isdigit() else None)


def _note(lock: IO[str], text: str) -> None:
    lock.seek(0)
    lock.truncate()
    lock.write(text)
    lock.flush()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Let no second Ctrl-C interrupt the cleaning up after the first."""
    former = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _validate(connections: Path) -> None:
    """Raises StackError with file and line when the collector would refuse the file."""
    planning.read_instances(connections)
    command = [str(BIN / "collector"), "lint", f"--connections={connections}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StackError(done.stderr.strip())


def _refuse_other(running: StackPlan, connections: Path | None, port_base: int | None) -> None:
    """Raises StackError when what runs is not what is asked for."""
    other = connections is not None and connections != running.connections
    if other or (port_base is not None and port_base != running.wanted.port_base):
        raise StackError(
            f"it runs already, from port {running.wanted.port_base} on the connections in {running.connections}; "
            "to start it otherwise, stop it first with `plumbline down`"
        )
