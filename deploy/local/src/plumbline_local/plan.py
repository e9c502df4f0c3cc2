"""What a stack consists of: the processes, what each needs, and when it is ready. Written to `plan.json` by `up`."""

import json
from pathlib import Path

from plumbline_contracts.documents import DocumentError, read_document
from pydantic import BaseModel, ConfigDict

from plumbline_local import kafka, mongodb
from plumbline_local.layout import BIN, DATABASE, TOPIC_PREFIX, Home, Ports, write_private

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


class StackError(RuntimeError):
    """The stack cannot be started or used; the message says why and what to do."""


class ProcessPlan(BaseModel):
    """One process: its command, and the TCP port that it opens when it is up."""

    model_config = ConfigDict(frozen=True)

    name: str
    command: list[str]
    environment: dict[str, str] = {}
    port: int | None = None


class StackPlan(BaseModel):
    """A whole stack, in the order of its start. Each inner list starts together, after the one before it is up."""

    model_config = ConfigDict(frozen=True)

    port_base: int
    has_simulators: bool
    connections: Path
    tenants: list[str]
    instances: dict[str, str]
    stages: list[list[ProcessPlan]]

    @property
    def ports(self) -> Ports:
        return Ports(self.port_base)

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
        if not self.has_simulators:
            return {}
        return {
            "salesforce-demo": f"http://127.0.0.1:{self.ports.salesforce}",
            "servicenow-demo": f"http://127.0.0.1:{self.ports.servicenow}",
        }


def _entries(path: Path) -> list[dict[str, str]]:
    """Tenant and instance of every connection, as far as the file says them; the collector validates the rest."""
    try:
        content = read_document(path).content
    except DocumentError as error:
        raise StackError(str(error)) from error
    entries = content.get("connections") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(
        isinstance(e, dict) and "tenant" in e and "instance" in e for e in entries
    ):
        raise StackError(f"{path}:1: expected `connections`, a list with tenant and instance in every entry")
    return [{"tenant": str(e["tenant"]), "instance": str(e["instance"])} for e in entries]


def own_connections(home: Home, ports: Ports) -> Path:
    """The connections file of the simulated orgs, written anew."""
    secret = (home.secrets / "simulator").absolute()
    write_private(secret, SIMULATOR_SECRET + "\n")
    text = _OWN_CONNECTIONS.format(
        salesforce=ports.salesforce,
        servicenow=ports.servicenow,
        client=SIMULATOR_CLIENT,
        secret=json.dumps(str(secret)),
    )
    write_private(home.own_connections, text)
    return home.own_connections


def make(home: Home, port_base: int, connections: Path | None, *, simulators: bool) -> StackPlan:
    """The plan of a stack. Writes configuration below `home`; starts nothing. Raises StackError."""
    ports = Ports(port_base)
    has_simulators = simulators and connections is None
    file = connections.absolute() if connections else own_connections(home, ports).absolute()
    entries = _entries(file)
    data = [
        ProcessPlan(
            name="kafka",
            command=kafka.prepare(home.path / "kafka", ports.kafka, ports.kafka_controller),
            port=ports.kafka,
        ),
        ProcessPlan(name="mongodb", command=mongodb.prepare(home.path / "mongodb", ports.mongodb), port=ports.mongodb),
    ]
    if has_simulators:
        data += [_simulator(home, "salesforce", ports.salesforce), _simulator(home, "servicenow", ports.servicenow)]
    return StackPlan(
        port_base=port_base,
        has_simulators=has_simulators,
        connections=file,
        tenants=list(dict.fromkeys(entry["tenant"] for entry in entries)),
        instances={entry["instance"]: entry["tenant"] for entry in entries},
        stages=[data, _services(home, ports, file)],
    )


def _simulator(home: Home, product: str, port: int) -> ProcessPlan:
    command = [
        str(BIN / "plumbline-simulator"),
        "serve",
        f"--product={product}",
        "--seed=weak",
        f"--port={port}",
        f"--state={home.path.absolute() / 'simulators' / product}.json",
        f"--client-id={SIMULATOR_CLIENT}",
        f"--client-secret-file={(home.secrets / 'simulator').absolute()}",
    ]
    return ProcessPlan(name=f"simulator-{product}", command=command, port=port)


def _services(home: Home, ports: Ports, connections: Path) -> list[ProcessPlan]:
    shared = {
        "PLUMBLINE_KAFKA_BOOTSTRAP": f"127.0.0.1:{ports.kafka}",
        "PLUMBLINE_TOPIC_PREFIX": TOPIC_PREFIX,
        "PLUMBLINE_MONGODB_URL": f"mongodb://127.0.0.1:{ports.mongodb}/{DATABASE}",
        "PLUMBLINE_CONNECTIONS": str(connections),
        "PLUMBLINE_LOG_FORMAT": "json",
    }

    def service(name: str, command: list[str], port: int, prefix: str, **own: str) -> ProcessPlan:
        environment = shared | {f"{prefix}_NAME": name, f"{prefix}_HEALTH_PORT": str(port), **own}
        return ProcessPlan(name=name, command=[str(BIN / command[0]), *command[1:]], environment=environment, port=port)

    spool = {"PLUMBLINE_COLLECTOR_SPOOL_DIR": str(home.path.absolute() / "spool")}
    api = "PLUMBLINE_SCORE_API"
    listen = ["score-api", "serve", "--host=127.0.0.1", f"--port={ports.api}"]
    return [
        service("collector", ["collector", "run"], ports.collector_health, "PLUMBLINE_COLLECTOR", **spool),
        service("evaluator", ["evaluator", "run"], ports.evaluator_health, "PLUMBLINE_EVALUATOR"),
        service("score-api-project", ["score-api", "project"], ports.project_health, api),
        service("score-api-serve", listen, ports.serve_health, api),
    ]
