"""What a stack consists of: the processes, what each needs, and when it is up. `up` writes it to `plan.json`."""

import json
from collections.abc import Callable
from pathlib import Path

from plumbline_contracts.documents import DocumentError, read_document
from pydantic import BaseModel, ConfigDict

from plumbline_local import kafka, mongodb
from plumbline_local.layout import BIN, DATABASE, TOPIC_PREFIX, Home, write_private
from plumbline_local.ports import Ports

DEFAULT_USERS = 60
OWN_TENANT = "demo"
ROLES = "SecureScore.Read,SecureScore.ReadWrite,Instances.Manage,Keys.Manage"
SIMULATOR_SECRET = "simulated-orgs-only"  # noqa: S105 - opens a simulator on loopback
SIMULATOR_CLIENT = "plumbline-simulated-client"

_OWN_CONNECTIONS = """\
# The two simulated orgs of this stack.
connections:
  - tenant: demo
    instance: salesforce-demo
    product: salesforce
    url: http://127.0.0.1:{salesforce}
    auth: {{method: client_credentials, client_id: {client}, client_secret: {{file: {secret}}}}}
    schedule: {{full: 1h, changes: 10s}}
    allow_http: true
    allow_private_network: true
  - tenant: demo
    instance: servicenow-demo
    product: servicenow
    url: http://127.0.0.1:{servicenow}
    auth: {{method: client_credentials, client_id: {client}, client_secret: {{file: {secret}}}}}
    schedule: {{full: 1h, changes: 10s}}
    allow_http: true
    allow_private_network: true
"""


_NO_CONNECTIONS = """\
# This stack was started without instances. Give it your own file: `plumbline up --connections FILE`.
connections: []
"""


class StackError(RuntimeError):
    """The stack cannot be started or used; the message says why and what to do."""


class Wanted(BaseModel):
    """What a person asks `up` for."""

    model_config = ConfigDict(frozen=True)

    port_base: int
    connections: Path | None = None
    has_simulators: bool = True
    users: int = DEFAULT_USERS

    @property
    def ports(self) -> Ports:
        return Ports(self.port_base)

    @property
    def starts_simulators(self) -> bool:
        """The simulated orgs stand in for instances of one's own."""
        return self.has_simulators and self.connections is None


class ProcessPlan(BaseModel):
    """One process: its command, and the TCP port that it opens when it is up."""

    model_config = ConfigDict(frozen=True)

    name: str
    command: list[str]
    environment: dict[str, str] = {}
    folder: Path
    port: int


class StagePlan(BaseModel):
    """What starts together. A stage has started when its commands have succeeded and its processes are up."""

    model_config = ConfigDict(frozen=True)

    processes: list[ProcessPlan] = []
    commands: list[list[str]] = []


class StackPlan(BaseModel):
    """A whole stack, whose stages start one after the other. `environment` is that of the commands."""

    model_config = ConfigDict(frozen=True)

    wanted: Wanted
    connections: Path
    instances: dict[str, list[str]]
    stages: list[StagePlan]
    environment: dict[str, str]

    @property
    def ports(self) -> Ports:
        return self.wanted.ports

    @property
    def tenants(self) -> list[str]:
        """In the order of the connections file."""
        return list(self.instances)

    @property
    def process_names(self) -> list[str]:
        return [process.name for stage in self.stages for process in stage.processes]

    @property
    def kafka_bootstrap(self) -> str:
        return f"127.0.0.1:{self.ports.kafka}"

    @property
    def mongodb_url(self) -> str:
        return f"mongodb://127.0.0.1:{self.ports.mongodb}/{DATABASE}"

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.api}"

    @property
    def simulators(self) -> dict[str, str]:
        """Instance to URL of the simulators."""
        if not self.wanted.starts_simulators:
            return {}
        return {
            "salesforce-demo": f"http://127.0.0.1:{self.ports.salesforce}",
            "servicenow-demo": f"http://127.0.0.1:{self.ports.servicenow}",
        }


def read_instances(path: Path) -> dict[str, list[str]]:
    """Tenant to instances, in the order of the file, which the collector validates. Raises StackError."""
    try:
        content = read_document(path).content
    except DocumentError as error:
        raise StackError(str(error)) from error
    entries = content.get("connections") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(
        isinstance(e, dict) and "tenant" in e and "instance" in e for e in entries
    ):
        raise StackError(f"{path}:1: expected `connections`, a list with tenant and instance in every entry")
    if not entries:
        raise StackError(f"{path}:1: no connections; add one, or run `plumbline up` without --connections for a demo")
    instances: dict[str, list[str]] = {}
    for entry in entries:
        instances.setdefault(str(entry["tenant"]), []).append(str(entry["instance"]))
    return instances


def _own_connections(home: Home, wanted: Wanted) -> dict[str, list[str]]:
    """Write the connections file of a stack without instances of one's own."""
    if not wanted.starts_simulators:
        write_private(home.own_connections, _NO_CONNECTIONS)
        return {OWN_TENANT: []}
    secret = home.secrets / "simulator"
    write_private(secret, SIMULATOR_SECRET + "\n")
    text = _OWN_CONNECTIONS.format(
        salesforce=wanted.ports.salesforce,
        servicenow=wanted.ports.servicenow,
        client=SIMULATOR_CLIENT,
        secret=json.dumps(str(secret)),
    )
    write_private(home.own_connections, text)
    return {OWN_TENANT: ["salesforce-demo", "servicenow-demo"]}


def make(home: Home, wanted: Wanted, tell: Callable[[str], None] = lambda _: None) -> StackPlan:
    """The plan of a stack. Writes configuration below `home`, and tells what it must fetch; starts nothing.

    Raises StackError, jars.JarsError, kafka.KafkaStartError, OSError.
    """
    if wanted.connections is None:
        file, instances = home.own_connections, _own_connections(home, wanted)
    else:
        file, instances = wanted.connections, read_instances(wanted.connections)
    environment = _shared_environment(wanted.ports)
    return StackPlan(
        wanted=wanted,
        connections=file,
        instances=instances,
        stages=[
            StagePlan(processes=_stores(home, wanted, tell)),
            StagePlan(commands=[[str(BIN / "contracts"), "topics", "create", "--replication-factor=1"]]),
            StagePlan(
                processes=_services(home, wanted.ports, file, environment),
                commands=[_key_command(home, tenant) for tenant in instances],
            ),
        ],
        environment=environment,
    )


def _shared_environment(ports: Ports) -> dict[str, str]:
    return {
        "PLUMBLINE_KAFKA_BOOTSTRAP": f"127.0.0.1:{ports.kafka}",
        "PLUMBLINE_TOPIC_PREFIX": TOPIC_PREFIX,
        "PLUMBLINE_MONGODB_URL": f"mongodb://127.0.0.1:{ports.mongodb}/{DATABASE}",
        "PLUMBLINE_LOG_FORMAT": "json",
    }


def _key_command(home: Home, tenant: str) -> list[str]:
    create = [str(BIN / "score-api"), "keys", "create", "--name=local", f"--roles={ROLES}"]
    return [*create, f"--tenant={tenant}", f"--out={home.key_file(tenant)}"]


def _stores(home: Home, wanted: Wanted, tell: Callable[[str], None]) -> list[ProcessPlan]:
    ports = wanted.ports
    broker = kafka.prepare(home.path / "kafka", ports.kafka, ports.kafka_controller, tell)
    database = mongodb.prepare(home.path / "mongodb", ports.mongodb)
    stores = [
        ProcessPlan(name="kafka", command=broker, port=ports.kafka, folder=home.path),
        ProcessPlan(name="mongodb", command=database, port=ports.mongodb, folder=home.path),
    ]
    if wanted.starts_simulators:
        stores.append(_simulator(home, "salesforce", ports.salesforce, wanted.users))
        stores.append(_simulator(home, "servicenow", ports.servicenow, wanted.users))
    return stores


def _simulator(home: Home, product: str, port: int, users: int) -> ProcessPlan:
    command = [
        str(BIN / "plumbline-simulator"),
        "serve",
        f"--product={product}",
        "--seed=weak",
        f"--users={users}",
        f"--port={port}",
        f"--state={home.path / 'simulators' / product}.json",
        f"--client-id={SIMULATOR_CLIENT}",
        f"--client-secret-file={home.secrets / 'simulator'}",
    ]
    return ProcessPlan(name=f"simulator-{product}", command=command, port=port, folder=home.path)


def _services(home: Home, ports: Ports, connections: Path, shared: dict[str, str]) -> list[ProcessPlan]:
    def service(name: str, command: list[str], port: int, prefix: str, **own: str) -> ProcessPlan:
        named = {f"{prefix}_NAME": name, f"{prefix}_HEALTH_PORT": str(port)}
        return ProcessPlan(
            name=name,
            command=[str(BIN / command[0]), *command[1:]],
            environment=shared | named | own,
            folder=home.path,
            port=port,
        )

    read = {"PLUMBLINE_CONNECTIONS": str(connections), "PLUMBLINE_COLLECTOR_SPOOL_DIR": str(home.path / "spool")}
    collector = service("collector", ["collector", "run"], ports.collector_health, "PLUMBLINE_COLLECTOR", **read)
    api = "PLUMBLINE_SCORE_API"
    listen = ["score-api", "serve", "--host=127.0.0.1", f"--port={ports.api}"]
    return [
        # a secret file that is given by a relative path lies beside the connections file
        collector.model_copy(update={"folder": connections.parent}),
        service("evaluator", ["evaluator", "run"], ports.evaluator_health, "PLUMBLINE_EVALUATOR"),
        service("score-api-project", ["score-api", "project"], ports.project_health, api),
        service("score-api-serve", listen, ports.serve_health, api),
    ]
