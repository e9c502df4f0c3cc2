"""What `plumbline` promises to the person who runs it."""

import os
import signal
import socket
import stat
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.stack import Stack, score
from tests.polling import free_port_base, until

PROCESSES = {
    "kafka", "mongodb", "collector", "evaluator", "score-api-project", "score-api-serve",
    "simulator-salesforce", "simulator-servicenow",
}  # fmt: skip


def test_status_has_what_scripts_need(stack: Stack) -> None:
    status = stack.status
    assert {entry["name"] for entry in status["processes"]} == PROCESSES
    assert all(entry["state"] == "running" and entry["pid"] for entry in status["processes"])
    key_file = Path(status["api_key_file"])
    assert key_file.is_absolute()
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert status["topic_prefix"].endswith(".")
    assert status["kafka_bootstrap"].startswith("127.0.0.1:")


def test_listeners_are_on_loopback_only(stack: Stack) -> None:
    pids = {entry["pid"] for entry in stack.status["processes"]}
    connections = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.pid in pids]
    assert connections
    assert {connection.laddr.ip for connection in connections if connection.laddr} <= {
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
    }


def test_without_a_key_only_health_answers(stack: Stack) -> None:
    url = stack.status["api_url"]
    with httpx.Client(base_url=url, trust_env=False) as anonymous:
        assert anonymous.get("/healthz").status_code == 200
        for path in ("/v1/secure-score", "/v1/instances", "/v1/recommendations", "/v1/products", "/openapi.json"):
            assert anonymous.get(path).status_code == 401, path


def test_a_second_stack_runs_beside_and_state_survives_a_restart(stack: Stack, tmp_path: Path) -> None:
    second = Stack(tmp_path / "a home with spaces", free_port_base())
    second.up()
    try:
        with second.client() as client:
            before = score(client)
        with stack.client() as client:
            assert score(client)["max"] == before["max"]
        second.down()
        assert not _alive(second)
        second.up()
        with second.client() as client:
            assert score(client)["current"] == before["current"]
    finally:
        pids = [entry["pid"] for entry in second.status["processes"] if entry["pid"]]
        second.down()
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []


def _alive(stack: Stack) -> list[int]:
    return [entry["pid"] for entry in stack.status["processes"] if entry["pid"] and psutil.pid_exists(entry["pid"])]


def test_a_taken_port_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    base = free_port_base()
    stack = Stack(tmp_path / "home", base)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base))
        taken.listen()
        failed = stack.run("up", "--port-base", str(base), check=False)
    assert failed.returncode != 0
    assert str(base) in failed.stdout + failed.stderr
    assert not [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(tmp_path) in " ".join(process.info["cmdline"] or [])
    ]


@pytest.mark.parametrize("name", ["score-api-serve", "simulator-servicenow"])
def test_a_process_that_dies_is_started_again(stack: Stack, name: str) -> None:
    before = stack.process(name)
    os.kill(before.pid, signal.SIGKILL)

    def running_again() -> bool:
        entry = next(entry for entry in stack.status["processes"] if entry["name"] == name)
        return bool(entry["state"] == "running" and entry["pid"] != before.pid)

    until(running_again, within_seconds=30, what=f"{name} runs again")
