"""On a broker that enforces ACLs, every principal does its work with those of `contracts acls`, and nothing else."""

import asyncio
import itertools
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code
from plumbline_contracts.acls import FINDINGS, principals
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.topics import registry
from plumbline_simulators.credentials import Credentials
from plumbline_simulators.salesforce.org import Org

from tests.integration import parts
from tests.integration.security.access import joins, readable, visible, writable
from tests.integration.security.broker import ADMIN, SecuredBroker, environment
from tests.integration.security.conftest import INSTALLATION, contracts
from tests.polling import free_port, until

SERVICES = ("collector", "evaluator", "score-api-project", "score-api-serve")
TENANT_TOPICS = {f"{FINDINGS}.{tenant}" for tenant in INSTALLATION.tenants}
PRINCIPALS = [principal.name for principal in principals(INSTALLATION)]
TOPICS = {topic.name for topic in registry().topics} | TENANT_TOPICS


def _named(names: set[str]) -> set[str]:
    return {f"{INSTALLATION.prefix}{name}" for name in names}


def _expected(name: str) -> tuple[set[str], set[str]]:
    """What a principal shall read and write, from the registry."""
    if name.startswith("siem."):
        return {FINDINGS}, set()
    if name.startswith("tenant-siem."):
        return {f"{FINDINGS}.{name.removeprefix('tenant-siem.')}"}, set()
    reads = {topic.name for topic in registry().topics if name in topic.consumers}
    writes = {topic.name for topic in registry().topics if name in topic.producers}
    return reads, writes | (TENANT_TOPICS if FINDINGS in writes else set())


class Services:
    """Services as processes, each with its own login."""

    def __init__(self, folder: Path, database: str) -> None:
        self._folder, self._database, self._running = folder, database, ExitStack()

    def start(self, command: list[str], settings: KafkaSettings, variable: str, **own: str) -> str:
        """Start one; the address of its probes."""
        port, name = free_port(), f"{'-'.join(command)}-{settings.kafka_sasl_mechanism}"
        variables = {
            f"{variable}_NAME": f"{name}-{port}",
            f"{variable}_HEALTH_PORT": str(port),
            "PLUMBLINE_MONGODB_URL": self._database,
            **environment(settings),
            **own,
        }
        log = self._folder / f"{name}-{port}.log"
        self._running.enter_context(parts.service(command, parts.environment(settings, **variables), log))
        return f"http://127.0.0.1:{port}"

    def text(self) -> str:
        """What all of them wrote."""
        return "".join(path.read_text() for path in self._folder.glob("*.log"))

    def stop(self) -> None:
        """Stop them, the last first."""
        self._running.close()


@pytest.fixture
def services(tmp_path: Path, mongodb_url: str) -> Iterator[Services]:
    """No service yet, and a database."""
    services = Services(tmp_path, mongodb_url)
    yield services
    services.stop()


def _is_ready(probes: str) -> bool:
    try:
        return httpx.get(f"{probes}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def _key(database: str, folder: Path) -> str:
    file = folder / "key"
    command = [str(parts.BIN / "score-api"), "keys", "create", "--tenant=contoso", "--name=t", f"--out={file}"]
    env = {"PLUMBLINE_MONGODB_URL": database, "PATH": ""}
    subprocess.run([*command, "--roles=SecureScore.Read,Instances.Manage"], env=env, check=True, capture_output=True)
    return file.read_text().strip()


def test_four_services_with_their_own_logins_make_a_score(
    secured: SecuredBroker, services: Services, mongodb_url: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(Credentials.client_secret)
    port, score_api = free_port(), "PLUMBLINE_SCORE_API"
    with parts.simulated(Org(users=20)) as org:
        file = parts.write_connections(tmp_path / "connections.yaml", org.connection("sales-eu", secret))
        own = {"PLUMBLINE_CONNECTIONS": str(file), "PLUMBLINE_COLLECTOR_SPOOL_DIR": str(tmp_path / "spool")}
        services.start(["collector", "run"], secured.login("plumbline.collector"), "PLUMBLINE_COLLECTOR", **own)
        evaluator = secured.login("plumbline.evaluator", "SCRAM-SHA-256")
        services.start(["evaluator", "run"], evaluator, "PLUMBLINE_EVALUATOR")
        tenants = {f"{score_api}_FINDINGS_TENANT_TOPICS": ",".join(INSTALLATION.tenants)}
        services.start(
            ["score-api", "project"], secured.certificate("plumbline.score-api-project"), score_api, **tenants
        )
        serve = secured.login("plumbline.score-api-serve", "PLAIN")
        services.start(["score-api", "serve"], serve, score_api, **{f"{score_api}_PORT": str(port)})
        headers = {"Authorization": f"Bearer {_key(mongodb_url, tmp_path)}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False) as client:
            score = until(lambda: _score(client), within_seconds=60, what="a score")
            until(
                lambda: client.post("/v1/instances/sales-eu/scan").status_code == 202,
                within_seconds=20,
                what="the API may ask for a collection",
            )
    services.stop()

    assert score["max"] > 100
    assert not [secret for secret in secured.passwords.values() if secret in services.text()]
    assert "AuthorizationFailed" not in services.text()


def _score(client: httpx.Client) -> Any:
    try:
        answer = client.get("/v1/secure-score")
    except httpx.TransportError:
        return None
    return answer.json() if answer.status_code == 200 and answer.json()["max"] else None


def test_the_evaluators_stream_library_logs_in_with_scram_and_with_a_certificate_too(
    secured: SecuredBroker, services: Services, small_catalogue: Path
) -> None:
    name = "plumbline.evaluator"
    logins = [secured.login(name), secured.certificate(name)]
    few = {"PLUMBLINE_CONTROLS": str(small_catalogue)}
    started = [services.start(["evaluator", "run"], login, "PLUMBLINE_EVALUATOR", **few) for login in logins]

    until(lambda: all(map(_is_ready, started)), within_seconds=40, what="all evaluators are ready")


# --- what nobody may do


@pytest.fixture(scope="module")
def records(secured: SecuredBroker) -> set[str]:
    """All topics, with a record in each."""
    return asyncio.run(writable(secured.login(ADMIN), _named(TOPICS)))


@pytest.fixture(scope="module")
def access(secured: SecuredBroker, records: set[str]) -> dict[str, tuple[set[str], set[str]]]:
    """What each principal can read and write of all topics, tried side by side."""

    async def tried() -> list[tuple[set[str], set[str]]]:
        mechanisms = itertools.cycle(["SCRAM-SHA-256", "SCRAM-SHA-512"])
        logins = [secured.login(f"{INSTALLATION.prefix}{name}", next(mechanisms)) for name in PRINCIPALS]
        reading = asyncio.gather(*(readable(login, records) for login in logins))
        writing = asyncio.gather(*(writable(login, records) for login in logins))
        return list(zip(await reading, await writing, strict=True))

    return dict(zip(PRINCIPALS, asyncio.run(tried()), strict=True))


@pytest.mark.parametrize("name", PRINCIPALS)
def test_a_principal_reads_and_writes_what_the_registry_says_and_nothing_else(
    access: dict[str, tuple[set[str], set[str]]], records: set[str], name: str
) -> None:
    reads, writes = _expected(name)

    assert records == _named(TOPICS)
    assert access[name] == (_named(reads), _named(writes))


@pytest.mark.parametrize(
    ("name", "topic", "own"),
    [
        ("siem.splunk", FINDINGS, "siem/splunk/index-1"),
        ("tenant-siem.contoso", f"{FINDINGS}.contoso", "tenant-siem/contoso/index-1"),
    ],
)
def test_a_siem_joins_groups_of_its_own_alone(
    secured: SecuredBroker, records: set[str], name: str, topic: str, own: str
) -> None:
    settings, physical = secured.login(f"{INSTALLATION.prefix}{name}"), f"{INSTALLATION.prefix}{topic}"
    foreign = ["evaluator", "siem/splunk.eu/x", "siem/splunk", "tenant-siem/contoso.eu/x", "tenant-siem/contoso", "any"]

    assert physical in records
    assert asyncio.run(joins(settings, physical, f"{INSTALLATION.prefix}{own}"))
    assert not [group for group in foreign if asyncio.run(joins(settings, physical, f"{INSTALLATION.prefix}{group}"))]


def test_a_tenants_siem_is_told_of_its_own_topic_alone(secured: SecuredBroker) -> None:
    settings = secured.login("plumbline.tenant-siem.contoso")

    assert asyncio.run(visible(settings)) == {"plumbline.compliance-findings.contoso"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_neither_creates_nor_deletes_topics_nor_grants_rights(secured: SecuredBroker, name: str) -> None:
    login = f"{INSTALLATION.prefix}{name}"
    topic = f"{INSTALLATION.prefix}collection-requests"

    async def refused() -> list[str]:
        admin = AIOKafkaAdminClient(**secured.login(login).client_options())
        await admin.start()
        try:
            created = await admin.create_topics([NewTopic(f"{topic}.more", 1, 1)])
            deleted = await admin.delete_topics([topic])
            return [for_code(code).__name__ for _, code, *_ in (*created.topic_errors, *deleted.topic_error_codes)]
        finally:
            await admin.close()

    assert set(asyncio.run(refused())) == {"TopicAuthorizationFailedError"}
    done = contracts(secured, login, "acls", "--apply")
    assert done.returncode == 1
    assert f"the user {login}" in done.stderr
    assert "use one of an administrator" in done.stderr


# --- the commands


def test_granting_again_changes_nothing_and_more_rights_than_needed_are_told(secured: SecuredBroker) -> None:
    siems = [f"--siem={name}" for name in INSTALLATION.siems]
    again = contracts(secured, ADMIN, "acls", "--apply", *siems)
    fewer = contracts(secured, ADMIN, "acls", "--apply", "--tenant=contoso")

    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith("0 rights granted")
    assert fewer.returncode == 3
    assert "plumbline.score-api-project may Write the topic plumbline.compliance-findings.contoso.eu" in fewer.stderr


def test_the_provisioning_says_that_all_topics_are_as_the_registry_says(secured: SecuredBroker) -> None:
    done = contracts(secured, "plumbline.provisioning", "topics", "create", "--replication-factor=1")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("0 topics created")
    assert _named(TOPICS) <= asyncio.run(visible(secured.login(ADMIN)))
