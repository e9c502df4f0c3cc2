"""Every setting in the compose file is one that its service reads, and they are those of the local stack."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from plumbline_collector import connections
from plumbline_collector.connections import ClientCredentials
from plumbline_collector.settings import Settings as CollectorSettings
from plumbline_contracts.kafka import KafkaSettings
from plumbline_evaluator.settings import Settings as EvaluatorSettings
from plumbline_local import plan as planning
from plumbline_local.layout import Home
from plumbline_score_api.settings import Settings as ScoreApiSettings
from pydantic_settings import BaseSettings
from pymongo.uri_parser import parse_uri

from tests.deploy.compose import FILE, ROOT, document, dotenv, environment, image_name, mounts, ours, services
from tests.polling import free_port_base

Classes = list[type[BaseSettings]]

READ: dict[str, Classes] = {
    "topics": [KafkaSettings],
    "api-key": [ScoreApiSettings],
    "collector": [CollectorSettings, KafkaSettings],
    "evaluator": [EvaluatorSettings, KafkaSettings],
    "score-api-project": [ScoreApiSettings, KafkaSettings],
    "score-api-serve": [ScoreApiSettings, KafkaSettings],
    "simulator-salesforce": [],
    "simulator-servicenow": [],
}
"""Which settings each service builds."""

IN_CONTAINERS_ONLY = {
    "PLUMBLINE_LOG_LEVEL",
    "PLUMBLINE_CONTROLS",
    "PLUMBLINE_COLLECTOR_HEALTH_HOST",
    "PLUMBLINE_EVALUATOR_HEALTH_HOST",
    "PLUMBLINE_SCORE_API_HEALTH_HOST",
    "PLUMBLINE_SCORE_API_HOST",
    "PLUMBLINE_SCORE_API_PORT",
    "PLUMBLINE_SCORE_API_PUBLIC_URL",
}
"""What the local stack, on loopback and in the source tree, leaves at its default or says on the command line."""

LASTING = ("collector", "evaluator", "score-api-project", "score-api-serve")


def _names(settings: type[BaseSettings]) -> set[str]:
    prefix = settings.model_config["env_prefix"]
    fields = settings.model_fields.items()
    return {str(field.validation_alias or f"{prefix}{name.upper()}") for name, field in fields}


def _read_by(service: str) -> set[str]:
    return set[str]().union(*(_names(settings) for settings in READ[service]))


def _plumbline(names: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in names.items() if name.startswith("PLUMBLINE_")}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> planning.StackPlan:
    """The plan of a local stack that nobody starts."""
    home = Home(tmp_path_factory.mktemp("home"))
    home.prepare()
    return planning.make(home, planning.Wanted(port_base=free_port_base()))


def _local_process(local: planning.StackPlan, name: str) -> planning.ProcessPlan:
    (found,) = [process for stage in local.stages for process in stage.processes if process.name == name]
    return found


@pytest.mark.parametrize("service", ours())
def test_a_service_reads_every_variable_that_it_is_given(service: str) -> None:
    stated = _plumbline({name: str(value) for name, value in services()[service].get("environment", {}).items()})

    assert stated.keys() <= _read_by(service)


def test_the_file_names_no_setting_that_nobody_reads() -> None:
    everything = set[str]().union(*(_read_by(service) for service in READ))

    assert set(re.findall(r"PLUMBLINE_[A-Z_]+", FILE.read_text())) <= everything


@pytest.mark.parametrize("service", ours())
def test_the_values_are_valid(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in _plumbline(environment(service)).items():
        monkeypatch.setenv(name, value)

    for settings in READ[service]:
        settings()


@pytest.mark.parametrize("service", LASTING)
def test_the_settings_are_those_of_the_local_stack(service: str, local: planning.StackPlan) -> None:
    here = _plumbline(environment(service)).keys()
    there = _plumbline(_local_process(local, service).environment).keys()

    assert there & _read_by(service) <= here
    assert here - there <= IN_CONTAINERS_ONLY


@pytest.mark.parametrize("product", ["salesforce", "servicenow"])
def test_the_simulators_take_the_options_of_the_local_stack(product: str, local: planning.StackPlan) -> None:
    here = set(services()[f"simulator-{product}"]["command"])
    there = set(_local_process(local, f"simulator-{product}").command[1:])

    places = {"--host", "--port", "--state", "--client-secret-file", "--users"}
    assert {word for word in here if word.split("=")[0] not in places} == {
        word for word in there if word.split("=")[0] not in places
    }


def test_the_key_has_the_roles_of_the_local_stack() -> None:
    assert f"--roles={planning.ROLES}" in services()["api-key"]["command"]


@pytest.mark.parametrize("service", [name for name in ours() if READ[name]])
def test_addresses_lead_to_services_in_reach(service: str) -> None:
    stated = environment(service)
    found = []
    if "PLUMBLINE_KAFKA_BOOTSTRAP" in stated:
        host, _, port = stated["PLUMBLINE_KAFKA_BOOTSTRAP"].partition(":")
        assert services()[host]["environment"]["KAFKA_ADVERTISED_LISTENERS"] == f"PLAINTEXT://{host}:{port}"
        found.append(host)
    if "PLUMBLINE_MONGODB_URL" in stated:
        ((host, port_number),) = parse_uri(stated["PLUMBLINE_MONGODB_URL"])["nodelist"]
        assert port_number == 27017
        found.append(host)
    assert all(set(services()[host]["networks"]) & set(services()[service]["networks"]) for host in found)


def _health_url(service: str) -> str:
    (url,) = re.findall(r"http://[^']+", " ".join(services()[service]["healthcheck"]["test"]))
    return str(url)


@pytest.mark.parametrize("service", LASTING)
def test_the_health_check_asks_the_port_on_which_the_service_answers(service: str) -> None:
    (port,) = [value for name, value in environment(service).items() if name.endswith("_HEALTH_PORT")]

    assert _health_url(service) == f"http://127.0.0.1:{port}/readyz"


@pytest.mark.parametrize("name", ["score-api-serve", "simulator-salesforce", "simulator-servicenow"])
def test_the_published_port_is_the_one_on_which_the_service_listens(name: str) -> None:
    said = [word.removeprefix("--port=") for word in services()[name]["command"] if word.startswith("--port=")]
    (port,) = said or [environment(name)["PLUMBLINE_SCORE_API_PORT"]]

    assert [entry.rsplit(":", 1)[1] for entry in services()[name]["ports"]] == [port]


def test_the_connections_lead_to_the_simulators_with_their_credentials() -> None:
    collector = services()["collector"]
    file = ROOT / mounts(collector)["/etc/plumbline"] / Path(environment("collector")["PLUMBLINE_CONNECTIONS"]).name
    found = connections.load(file)

    assert {connection.tenant for connection in found} == {dotenv()["FIRST_TENANT"]}
    assert {connection.product for connection in found} == {"salesforce", "servicenow"}
    for connection in found:
        simulator = services()[f"simulator-{connection.product}"]
        assert urlsplit(str(connection.url)).netloc == f"simulator-{connection.product}:8080"
        assert isinstance(connection.auth, ClientCredentials)
        assert f"--client-id={connection.auth.client_id}" in simulator["command"]
        assert f"--client-secret-file={connection.auth.client_secret.file}" in simulator["command"]
        assert str(connection.auth.client_secret.file) == f"/run/secrets/{simulator['secrets'][0]}"
        assert simulator["secrets"] == collector["secrets"]


def test_the_secret_is_that_of_the_local_simulators() -> None:
    file = ROOT / document()["secrets"]["simulator"]["file"]

    assert file.read_text().strip() == planning.SIMULATOR_SECRET


def test_every_replica_has_a_name_of_its_own() -> None:
    names = [
        value
        for service in LASTING
        for name, value in environment(service).items()
        if name.endswith("_NAME") and name.startswith("PLUMBLINE_")
    ]

    assert len(set(names)) == len(LASTING)
    assert {image_name(services()[service]) for service in LASTING} == {
        "plumbline-collector",
        "plumbline-evaluator",
        "plumbline-score-api",
    }
