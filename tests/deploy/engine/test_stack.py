"""The whole compose project from its images, on a real broker and database: commands, settings, secrets, volumes."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from plumbline_local.kafka import KafkaBroker

from tests.deploy.engine.conftest import Images, container
from tests.deploy.engine.container import Container
from tests.polling import free_port, until

SIMULATORS = ("simulator-salesforce", "simulator-servicenow")
LASTING = (*SIMULATORS, "collector", "evaluator", "score-api-project", "score-api-serve")
SETTING = "sessionSettings.enableClickjackNonsetupSFDC"


class Project:
    """Runs the services of the compose file, each on loopback ports of its own."""

    def __init__(
        self, project: dict[str, Any], images: Images, volumes: Path, stores: dict[str, str], logs: Path
    ) -> None:
        self._project, self._images, self._volumes, self._logs = project, images, volumes, logs
        self.ports = {name: free_port() for name in LASTING}
        self._health = {name: free_port() for name in LASTING}
        simulators = {f"{name}:8080": f"127.0.0.1:{self.ports[name]}" for name in SIMULATORS}
        self._stores = stores
        self._connections = self._written_connections(simulators)
        self.processes: dict[str, subprocess.Popen[str]] = {}

    def _written_connections(self, simulators: dict[str, str]) -> Path:
        """The project's folder of connections, with the addresses of this run."""
        (volume,) = [v for v in self._project["services"]["collector"]["volumes"] if v["type"] == "bind"]
        text = (Path(volume["source"]) / "connections.yaml").read_text()
        for old, new in simulators.items():
            text = text.replace(old, new)
        folder = self._volumes / "connections"
        folder.mkdir()
        (folder / "connections.yaml").write_text(text)
        return folder

    def container(self, name: str) -> Container:
        """A service with its addresses replaced."""
        made = container(name, self._project, self._images, self._volumes)
        service, replaced = dict(made.service), dict(self._stores)
        if name in LASTING:
            health, port = str(self._health[name]), str(self.ports[name])
            replaced |= {"8080": port, "127.0.0.1:9100": f"127.0.0.1:{health}", "127.0.0.1:9101": f"127.0.0.1:{health}"}
            replaced["127.0.0.1:9102"] = f"127.0.0.1:{health}"
            listens = {f"PLUMBLINE_{n}_HEALTH_PORT": health for n in ("COLLECTOR", "EVALUATOR", "SCORE_API")}
            service["environment"] = {**(service.get("environment") or {}), **listens, "PLUMBLINE_SCORE_API_PORT": port}
        service["volumes"] = [
            {**v, "source": str(self._connections)} if v["type"] == "bind" else v for v in service.get("volumes", [])
        ]
        return Container(service, made.image, made.root, made.volumes, replaced)

    def once(self, name: str) -> str:
        """Run a service that ends; what it said."""
        there = self.container(name)
        done = there.run(*there.command())
        assert done.returncode == 0, done.stdout
        return done.stdout

    def start(self, name: str) -> None:
        """Start a service that stays."""
        there = self.container(name)
        with (self._logs / f"{name}.log").open("w") as log:
            self.processes[name] = there.popen(there.command(), log.fileno())

    def wait_until_healthy(self, name: str) -> None:
        """Until the service's own health check passes."""
        there = self.container(name)

        def is_healthy() -> bool:
            assert self.processes[name].poll() is None, (self._logs / f"{name}.log").read_text()[-3000:]
            return there.run(*there.health_command()).returncode == 0

        until(is_healthy, within_seconds=60, what=f"{name} is healthy")

    def stop(self) -> dict[str, int]:
        """Stop everything as an engine would; the exit statuses."""
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        return {name: process.wait(timeout=40) for name, process in self.processes.items()}


@pytest.fixture
def running(
    project: dict[str, Any], images: Images, volumes: Path, kafka: KafkaBroker, mongodb_url: str, tmp_path: Path
) -> Iterator[Project]:
    """The project, healthy, in the order of `depends_on`."""
    stores = {"kafka:9092": kafka.bootstrap, "mongodb://mongodb:27017/plumbline": mongodb_url}
    made = Project(project, images, volumes, stores, tmp_path)
    try:
        made.once("topics")
        made.once("api-key")
        for names in (SIMULATORS, LASTING[2:]):
            for name in names:
                made.start(name)
            for name in names:
                made.wait_until_healthy(name)
        yield made
    finally:
        made.stop()


def _client(running: Project) -> httpx.Client:
    reader = running.container("api-key")
    key = reader.run("cat", "/var/lib/plumbline/keys/first.key").stdout.strip()
    base = f"http://127.0.0.1:{running.ports['score-api-serve']}"
    return httpx.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}, trust_env=False)


def test_the_project_scores_both_products_and_notices_a_change(running: Project) -> None:
    with _client(running) as client:

        def scores() -> dict[str, float] | None:
            answer = client.get("/v1/secure-score")
            products = answer.json()["products"] if answer.status_code == 200 else []
            found = {product["product"]: product["current"] for product in products if product["evaluated_at"]}
            return found if found.keys() == {"salesforce", "servicenow"} else None

        before = until(scores, within_seconds=60, what="both products have a score")
        control_plane = f"http://127.0.0.1:{running.ports['simulator-salesforce']}/__simulator/settings/{SETTING}"
        httpx.put(control_plane, json={"value": True}, trust_env=False).raise_for_status()

        def higher() -> bool:
            now = scores()
            return now is not None and now["salesforce"] > before["salesforce"]

        until(higher, within_seconds=60, what="the changed setting raises the score")

    assert "0 topics created" in running.once("topics"), "what is there stays"
    assert "holds a valid key" in running.once("api-key")
    assert httpx.get(f"{client.base_url}/v1/secure-score", trust_env=False).status_code == 401
    statuses = running.stop()
    assert {name: statuses[name] for name in LASTING[2:]} == dict.fromkeys(LASTING[2:], 0), "SIGTERM stops it cleanly"
