"""docker compose accepts the file and reads it as the other tests do."""

from typing import Any

import pytest

from tests.deploy import compose
from tests.deploy.engine.tools import compose_config


def _words(value: Any) -> dict[str, str]:
    return {name: str(entry) for name, entry in (value or {}).items()}


@pytest.mark.parametrize("name", sorted(compose.services()))
def test_compose_reads_the_file_as_the_tests_do(name: str, project: dict[str, Any]) -> None:
    ours, theirs = compose.services()[name], project["services"][name]

    assert theirs["image"] == ours["image"]
    assert (theirs.get("command") or []) == [word.replace("$", "$$") for word in ours.get("command", [])]
    assert _words(theirs.get("environment")) == _words(ours.get("environment"))
    assert theirs["tmpfs"] == ours["tmpfs"]
    assert set(theirs["networks"]) == set(ours["networks"])
    assert theirs["read_only"] is True
    assert [f"{p['host_ip']}:{p['published']}:{p['target']}" for p in theirs.get("ports", [])] == ours.get("ports", [])
    assert theirs.get("depends_on", {}).keys() == ours.get("depends_on", {}).keys()


def test_without_the_profile_there_are_no_simulators() -> None:
    resolved = compose_config(profiles="")

    assert resolved["services"].keys() == {n for n in compose.services() if not n.startswith("simulator-")}


def test_only_the_broker_and_the_database_come_from_elsewhere(project: dict[str, Any]) -> None:
    built = {service["image"] for service in project["services"].values() if "build" in service}
    pulled = {name for name, service in project["services"].items() if service["image"] not in built}

    assert pulled == {"kafka", "mongodb"}
