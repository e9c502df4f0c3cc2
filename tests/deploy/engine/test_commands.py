"""The commands of the images work as their user, on a read-only root, without capabilities."""

from pathlib import Path
from typing import Any

import pytest

from tests.deploy.engine.conftest import Images, container

COMMANDS = [
    ("collector", ["collector", "--help"], "Reads the security configuration"),
    ("collector", ["collector", "lint"], "2 connections are well-formed"),
    ("evaluator", ["evaluator", "controls", "lint"], "controls are well-formed"),
    ("evaluator", ["evaluator", "controls", "test"], " 0 failed"),
    ("score-api-serve", ["score-api", "--help"], "Projects control results"),
    ("topics", ["contracts", "topics", "create", "--help"], "Create the topics that are missing"),
    ("simulator-salesforce", ["plumbline-simulator", "serve", "--help"], "Serve one simulated org"),
]


@pytest.mark.parametrize(("service", "command", "expected"), COMMANDS)
def test_a_command_runs(
    service: str, command: list[str], expected: str, project: dict[str, Any], images: Images, volumes: Path
) -> None:
    done = container(service, project, images, volumes).run(*command)

    assert done.returncode == 0, done.stdout
    assert expected in done.stdout


@pytest.mark.parametrize("service", ["collector", "evaluator", "score-api-serve", "simulator-salesforce"])
def test_a_container_is_confined(service: str, project: dict[str, Any], images: Images, volumes: Path) -> None:
    script = "id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status; touch /opt/plumbline/x /etc/x"
    done = container(service, project, images, volumes).run("sh", "-c", script)

    assert done.stdout.splitlines()[0] == "10001"
    assert done.stdout.count("0000000000000000") == 2
    assert "NoNewPrivs:\t1" in done.stdout
    assert done.stdout.count("Read-only file system") == 2


def test_a_broker_that_is_away_ends_the_topic_creation_with_its_reason(
    project: dict[str, Any], images: Images, volumes: Path
) -> None:
    topics = container("topics", project, images, volumes, {"kafka:9092": "127.0.0.1:1"})
    done = topics.run(*topics.command())

    assert done.returncode == 1
    assert "topics could not be created on 127.0.0.1:1" in done.stdout
