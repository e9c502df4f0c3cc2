"""The compose file keeps what a platform team would ask of it. Nothing runs here."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

import pytest
from plumbline_contracts.topics import registry

from tests.deploy.compose import (
    FILE,
    ONCE,
    ROOT,
    VARIABLE,
    document,
    dotenv,
    image_name,
    mounts,
    ours,
    services,
)

every_service = pytest.mark.parametrize("name", sorted(services()))
PUBLISHED = {"score-api-serve", "simulator-salesforce", "simulator-servicenow"}


@every_service
def test_a_service_is_hardened(name: str) -> None:
    service = services()[name]

    user, _, group = service["user"].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices", "userns_mode"} & service.keys()
    assert not any("docker.sock" in volume for volume in service.get("volumes", []))


@every_service
def test_a_service_has_limits(name: str) -> None:
    service = services()[name]

    assert {"memory", "cpus", "pids"} <= service["deploy"]["resources"]["limits"].keys()
    assert all("size=" in mount for mount in service["tmpfs"]), "a tmpfs without a size takes half the host's memory"
    assert service["logging"]["options"].keys() >= {"max-size", "max-file"}


@every_service
def test_a_service_is_watched_and_restarted(name: str) -> None:
    service = services()[name]

    if name in ONCE:
        assert service["healthcheck"] == {"disable": True}
        assert re.fullmatch(r"on-failure:\d+", service["restart"]), "a wrong setting must end with an error"
    else:
        assert service["healthcheck"].keys() >= {"test", "interval", "timeout", "retries", "start_period"}
        assert service["restart"] == "unless-stopped"


def _needs() -> Iterator[tuple[str, str, str]]:
    for name, service in services().items():
        for needed, how in service.get("depends_on", {}).items():
            yield name, needed, how["condition"]


def test_a_service_waits_until_what_it_needs_works() -> None:
    wrong = [
        (name, needed)
        for name, needed, condition in _needs()
        if condition != ("service_completed_successfully" if needed in ONCE else "service_healthy")
    ]

    assert wrong == []


def test_every_client_waits_for_its_broker_and_its_database() -> None:
    needed = {(name, other) for name, other, _ in _needs()}

    for name in ours():
        environment = services()[name].get("environment", {})
        if "PLUMBLINE_KAFKA_BOOTSTRAP" in environment:
            assert (name, "kafka" if name in ONCE else "topics") in needed
        if "PLUMBLINE_MONGODB_URL" in environment:
            assert (name, "mongodb" if name in ONCE else "api-key") in needed


def test_only_the_api_and_the_simulators_are_published_and_on_loopback_alone() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}

    assert published.keys() == PUBLISHED
    for ports in published.values():
        for port in ports:
            address = port.rsplit(":", 2)[0]
            assert ipaddress.ip_address(address.strip("[]")).is_loopback, port


def _networks(name: str) -> set[str]:
    return set(services()[name]["networks"])


def test_broker_and_database_have_no_way_out() -> None:
    for store in ("kafka", "mongodb"):
        assert [document()["networks"][network] for network in _networks(store)] == [{"internal": True}]


def test_broker_and_database_are_reached_by_those_that_use_them_alone() -> None:
    for store, variable in (("kafka", "PLUMBLINE_KAFKA_BOOTSTRAP"), ("mongodb", "PLUMBLINE_MONGODB_URL")):
        reach = {name for name in services() if _networks(name) & _networks(store)}
        use = {name for name, service in services().items() if variable in service.get("environment", {})}
        assert reach == use | {store}


def test_the_simulators_control_plane_is_reached_by_the_collector_alone() -> None:
    simulators = {name for name in services() if name.startswith("simulator-")}
    reach = {name for name in services() if any(_networks(name) & _networks(other) for other in simulators)}

    assert reach == simulators | {"collector"}


def test_the_key_is_mounted_by_no_service_that_stays() -> None:
    assert [name for name, service in services().items() if "keys" in mounts(service).values()] == ["api-key"]


def test_state_lies_in_named_volumes() -> None:
    kafka, mongodb = services()["kafka"], services()["mongodb"]

    assert mounts(kafka)[kafka["environment"]["KAFKA_LOG_DIRS"]] == "kafka"
    assert mounts(mongodb)["/data/db"] == "mongodb"
    named = {source for service in services().values() for source in mounts(service).values() if source[0] != "."}
    assert named == document()["volumes"].keys()


def test_the_connections_folder_is_mounted_whole() -> None:
    """A file that is mounted by itself stays the old one when an editor replaces it."""
    source = ROOT / mounts(services()["collector"])["/etc/plumbline"]

    assert (source / "connections.yaml").is_file()


def test_images_are_named_by_a_full_version() -> None:
    images = {service["image"] for service in services().values()} | {dotenv()["PYTHON_IMAGE"]}

    assert [image for image in images if not re.search(r":\d+\.\d+\.\d+(-[a-z-]+)?$", image)] == []


def _owner(image: str) -> str:
    (owner,) = [name for name, service in services().items() if service["image"] == image and "build" in service]
    return owner


def _all_needed(name: str) -> set[str]:
    direct = set(services()[name].get("depends_on", {}))
    return direct.union(*(_all_needed(needed) for needed in direct))


@pytest.mark.parametrize("name", ours())
def test_an_image_is_built_once_and_never_pulled(name: str) -> None:
    service = services()[name]
    owner = _owner(service["image"])

    if name == owner:
        assert service["build"]["args"]["PYTHON_IMAGE"] == dotenv()["PYTHON_IMAGE"]
    else:
        assert service["pull_policy"] == "never"
        assert owner in _all_needed(name) or name.startswith("simulator-")


def test_secrets_are_files() -> None:
    """Compose refuses to put any other secret into a container whose root is read-only."""
    secrets = document()["secrets"]

    assert all(secret.keys() == {"file"} for secret in secrets.values())
    assert all((ROOT / secret["file"]).is_file() for secret in secrets.values())
    assert {name for service in services().values() for name in service.get("secrets", [])} == secrets.keys()


def test_every_variable_of_the_file_has_a_value_and_every_value_a_use() -> None:
    used = {match.group(1) for match in VARIABLE.finditer(FILE.read_text())}

    assert used | {"COMPOSE_PROFILES"} == dotenv().keys()


def test_the_simulators_can_be_left_out() -> None:
    profiled = {name for name, service in services().items() if service.get("profiles") == ["simulators"]}
    depends: dict[str, Any] = services()["collector"]["depends_on"]

    assert profiled == {"simulator-salesforce", "simulator-servicenow"}
    assert dotenv()["COMPOSE_PROFILES"] == "simulators"
    assert all(depends[name]["required"] is False for name in profiled)


def test_topics_come_from_the_registry_alone() -> None:
    topics = services()["topics"]
    named = [topic.name for topic in registry().topics if re.search(rf"\b{re.escape(topic.name)}\b", FILE.read_text())]

    assert topics["entrypoint"] == ["sh", "-c"]
    assert topics["command"][0].startswith("contracts topics create --replication-factor 1")
    assert image_name(topics) == "plumbline-collector"
    assert services()["kafka"]["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert named == []
