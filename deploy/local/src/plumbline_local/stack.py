"""Starting, stopping and asking a stack."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from plumbline_local import plan as planning
from plumbline_local.jars import JarsError
from plumbline_local.kafka import KafkaStartError
from plumbline_local.layout import BIN, TOPIC_PREFIX, Home
from plumbline_local.plan import StackError, StackPlan
from plumbline_local.supervisor import StackState, created_at, read_state, stop_process

READY_SECONDS = 120.0
EVALUATED_SECONDS = 120.0
ROLES = "SecureScore.Read,SecureScore.ReadWrite,Instances.Manage,Keys.Manage"
Tell = Callable[[str], None]


class Stack:
    """One stack in one home."""

    def __init__(self, path: Path) -> None:
        self.home = Home(path.absolute())

    @property
    def state(self) -> StackState | None:
        """The recorded state, if its supervisor still runs."""
        state = read_state(self.home)
        if state is None or created_at(state.supervisor.pid) != state.supervisor.created:
            return None
        return state

    @property
    def plan(self) -> StackPlan | None:
        """The plan of the last start."""
        try:
            return StackPlan.model_validate(json.loads(self.home.plan_file.read_text())["plan"])
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def up(self, port_base: int, connections: Path | None, *, simulators: bool, tell: Tell) -> StackPlan:
        """Start the stack and wait until every instance has its first evaluation.

        Raises StackError; then nothing runs that did not run before.
        """
        running = self.plan
        if self.state is not None and running is not None:
            tell("already running")
            return running
        self.down()
        try:
            self.home.prepare()
            tell("preparing Apache Kafka (the first time it is fetched, about 45 MB)")
            made = planning.make(self.home, port_base, connections, simulators=simulators)
        except (JarsError, KafkaStartError) as error:
            raise StackError(str(error)) from error
        except OSError as error:
            raise StackError(f"{error.filename}: {error.strerror}") from error
        self._validate_connections(made)
        refuse_taken_ports(made)
        self._launch(made)
        try:
            self._wait(made, tell)
        except BaseException:
            self.down()
            raise
        return made

    def _validate_connections(self, made: StackPlan) -> None:
        command = [str(BIN / "collector"), "lint", f"--connections={made.connections}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StackError(done.stderr.strip())

    def _launch(self, made: StackPlan) -> None:
        keys = [
            [str(BIN / "score-api"), "keys", "create", f"--tenant={tenant}", "--name=local", f"--roles={ROLES}",
             f"--out={self.home.key_file(tenant)}"]
            for tenant in made.tenants
        ]  # fmt: skip
        topics = [str(BIN / "contracts"), "topics", "create", "--replication-factor=1"]
        environment = {
            "PLUMBLINE_KAFKA_BOOTSTRAP": made.kafka_bootstrap,
            "PLUMBLINE_TOPIC_PREFIX": TOPIC_PREFIX,
            "PLUMBLINE_MONGODB_URL": made.mongodb_url,
        }
        document = {"plan": made.model_dump(mode="json"), "topics": topics, "keys": keys, "environment": environment}
        self.home.plan_file.write_text(json.dumps(document))
        with (self.home.logs / "supervisor.log").open("ab") as output:
            subprocess.Popen(
                [sys.executable, "-m", "plumbline_local.supervisor", str(self.home.path)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.home.path,
            )

    def _wait(self, made: StackPlan, tell: Tell) -> None:
        tell("starting broker, database and services")
        self._until(lambda: self._is_ready(made), READY_SECONDS, "the score API is not ready")
        tell("waiting for the first evaluation of every instance")
        self._until(lambda: self._is_settled(made), EVALUATED_SECONDS, "not every instance was read")

    def _until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise StackError(f"{what} within {seconds:.0f} s.\n{self._last_words()}")
            time.sleep(0.1)

    def _is_ready(self, made: StackPlan) -> bool:
        if any(not self.home.key_file(tenant).is_file() for tenant in made.tenants):
            return False
        try:
            return httpx.get(f"{made.api_url}/readyz", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def _is_settled(self, made: StackPlan) -> bool:
        """Every instance has been evaluated, or its collection has failed and says so."""
        settled = set()
        for tenant in made.tenants:
            for instance in self.ask(made, "/v1/instances", tenant)["items"]:
                if instance["evaluated_at"] or instance["health"] == "failed":
                    settled.add(instance["instance"])
        return settled >= set(made.instances)

    def _last_words(self) -> str:
        words = []
        for log in sorted(self.home.logs.glob("*.log")):
            lines = log.read_text(errors="replace").strip().splitlines()
            if lines:
                words.append(f"{log}: {lines[-1][:300]}")
        return "\n".join(words)

    def ask(self, made: StackPlan, path: str, tenant: str | None = None, **query: Any) -> Any:  # noqa: ANN401 - JSON
        """GET from the stack's API. Raises StackError."""
        key = self.home.key_file(tenant or made.tenants[0]).read_text().strip()
        headers = {"Authorization": f"Bearer {key}"}
        try:
            answer = httpx.get(made.api_url + path, params=query, headers=headers, timeout=10, trust_env=False)
            return answer.raise_for_status().json()
        except httpx.HTTPError as error:
            raise StackError(f"the score API does not answer at {made.api_url}{path}: {error}") from error

    def down(self) -> bool:
        """Stop everything that runs, also what a killed supervisor left; whether there was something."""
        state = read_state(self.home)
        if state is None:
            return False
        stop_process(state.supervisor.pid, state.supervisor.created)
        for process in reversed(state.processes):
            stop_process(process.pid, process.created)
        self.home.state_file.unlink(missing_ok=True)
        return True


def refuse_taken_ports(made: StackPlan) -> None:
    """Raises StackError that names every port somebody else listens on, and who."""
    taken = []
    for name, port in made.ports.all(simulators=made.has_simulators).items():
        if holder := _holder(port):
            taken.append(f"port {port} ({name}) is taken by {holder}")
    if taken:
        raise StackError("; ".join(taken) + ". Stop it, or choose other ports with --port-base N.")


def _holder(port: int) -> str | None:
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            if connection.pid is None:
                return "another user's process"
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                return "a process that just ended"
    return None
