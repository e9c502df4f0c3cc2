"""What `plumbline` promises to the person who runs it."""

import signal
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from tests.e2e.stack import Stack, score
from tests.polling import free_port_base, until

PROCESSES = {
    "kafka", "mongodb", "collector", "evaluator", "score-api-project", "score-api-serve",
    "simulator-salesforce", "simulator-servicenow",
}  # fmt: skip
KEYS = {"api_url", "api_key_file", "kafka_bootstrap", "topic_prefix", "mongodb_url", "simulators", "processes"}


def test_status_has_what_scripts_need(stack: Stack) -> None:
    status = stack.status
    assert set(status) == KEYS
    assert {entry["name"] for entry in status["processes"]} == PROCESSES
    assert all(set(entry) == {"name", "pid", "state"} for entry in status["processes"])
    assert all(entry["state"] == "running" and entry["pid"] for entry in status["processes"])
    key_file = Path(status["api_key_file"])
    assert key_file.is_absolute()
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert status["topic_prefix"].endswith(".")
    assert status["kafka_bootstrap"].startswith("127.0.0.1:")
    assert set(status["simulators"]) == {"salesforce-demo", "servicenow-demo"}


def test_listeners_are_on_loopback_only(stack: Stack) -> None:
    pids = {process.pid for process in stack.left}
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


def test_up_on_a_running_stack_says_so_and_starts_nothing(stack: Stack) -> None:
    before = {process.pid for process in stack.left}
    again = stack.run("up")
    assert "it runs already" in again.stderr
    assert "salesforce-demo" in again.stdout
    other = stack.run("up", "--port-base", "20000", check=False)
    assert other.returncode != 0
    assert "plumbline down" in other.stderr
    assert {process.pid for process in stack.left} == before


def _points(client: httpx.Client) -> tuple[float, float]:
    found = score(client)
    return found["current"], found["max"]


def test_a_second_stack_runs_beside_and_state_survives_a_restart(stack: Stack, tmp_path: Path) -> None:
    with stack.client() as client:
        firsts = _points(client)
    second = Stack(tmp_path / "a home with spaces", free_port_base())
    try:
        second.up()
        with second.client() as client:
            before = score(client)
        with stack.client() as client:
            assert _points(client) == firsts
        second.run("simulate", "set", "salesforce-demo", "requireHttpOnly", "true")
        second.down()
        assert second.left == []
        assert {entry["state"] for entry in second.status["processes"]} == {"stopped"}
        second.up()
        with second.client() as client:
            assert score(client)["max"] == before["max"]
            assert score(client)["current"] >= before["current"]
        assert "true" in second.run("simulate", "get", "salesforce-demo", "requireHttpOnly").stdout
    finally:
        second.down()
    assert second.left == []
    with stack.client() as client:
        assert _points(client) == firsts


def test_a_taken_port_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "home", free_port_base())
    taken = stack.port_base + 7
    with socket.create_server(("127.0.0.1", taken)):
        failed = stack.run("up", "--port-base", str(stack.port_base), check=False)
    assert failed.returncode != 0
    assert f"port {taken} (evaluator health) is taken by" in failed.stderr
    assert "--port-base" in failed.stderr
    assert stack.left == []


@pytest.mark.parametrize("way", ["ctrl-c", "down"])
def test_a_start_that_is_interrupted_leaves_nothing(tmp_path: Path, way: str) -> None:
    stack = Stack(tmp_path / "home", free_port_base())
    command = stack.command("up", "--port-base", str(stack.port_base))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background hands on that it is ignored
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as starting:
        until(lambda: len(stack.left) > 1, within_seconds=60, what="the first processes run")
        if way == "down":
            busy = stack.run("up", check=False)
            assert busy.returncode != 0
            assert f"(pid {starting.pid}) is at work" in busy.stderr
            assert "stopped" in stack.run("down").stdout
        else:
            starting.send_signal(signal.SIGINT)
        _, said = starting.communicate(timeout=60)
    assert starting.returncode != 0
    assert "interrupted" in said
    assert stack.left == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("connections:\n  - {tenant: a, instance: b, product: unheard}\n", ":2: "),
        ("connections: []\n", ":1: no connections"),
    ],
)
def test_a_wrong_connections_file_is_said_by_line_and_nothing_starts(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "connections.yaml"
    file.write_text(text)
    stack = Stack(tmp_path / "home", free_port_base())
    failed = stack.run("up", "--connections", str(file), check=False)
    assert failed.returncode != 0
    assert f"{file}{said}" in failed.stderr
    assert stack.left == []
    assert not stack.home.exists()


def test_a_home_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    failed = Stack(tmp_path / "home", free_port_base()).run("up", check=False)
    assert failed.returncode != 0
    assert f"{tmp_path / 'home'}: File exists" in failed.stderr
    assert "--home" in failed.stderr


def _connection(tenant: str, product: str, url: str, secret: dict[str, str]) -> dict[str, Any]:
    auth = {"method": "client_credentials", "client_id": "plumbline-simulated-client", "client_secret": secret}
    base = {"tenant": tenant, "instance": "main", "product": product, "url": url, "auth": auth}
    return {**base, "allow_http": True, "allow_private_network": True}


def test_own_instances_of_two_tenants_one_of_which_cannot_be_read(stack: Stack, tmp_path: Path) -> None:
    """Secrets beside the file and from the environment of `up`, also after a restart; wrong ones do not hang it."""
    simulators = stack.status["simulators"]
    (tmp_path / "secret").write_text("wrong")
    file = tmp_path / "connections.yaml"
    entries = [
        _connection("fabrikam", "salesforce", simulators["salesforce-demo"], {"file": "secret"}),
        _connection("contoso", "servicenow", simulators["servicenow-demo"], {"env": "A_SECRET"}),
    ]
    file.write_text(yaml.safe_dump({"connections": entries}))
    own = Stack(tmp_path / "home", free_port_base())
    try:
        printed = own.up("--connections", str(file), "--no-simulators", A_SECRET="simulated-orgs-only")
        assert "main is failed: " in printed
        status = own.status
        assert status["simulators"] == {}
        assert Path(status["api_key_file"]).name == "fabrikam.key"
        products = {}
        for tenant in ("fabrikam", "contoso"):
            with own.client(tenant) as client:
                items = client.get("/v1/instances").raise_for_status().json()["items"]
                products[tenant] = [(item["product"], item["health"]) for item in items]
        assert products == {"fabrikam": [("salesforce", "failed")], "contoso": [("servicenow", "degraded")]}
        victim = own.process("collector")
        victim.kill()
        until(lambda: own.pid("collector") not in (None, victim.pid), within_seconds=30, what="it runs again")
        assert own.process("collector").environ()["A_SECRET"] == "simulated-orgs-only"
    finally:
        own.down()


@pytest.mark.parametrize("name", ["score-api-serve", "simulator-servicenow"])
def test_a_process_that_dies_is_started_again(stack: Stack, name: str) -> None:
    before = stack.process(name)
    before.kill()
    until(lambda: stack.pid(name) not in (None, before.pid), within_seconds=30, what=f"{name} runs again")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("set", "nowhere", "requireHttpOnly", "true"), "salesforce-demo, servicenow-demo"),
        (("set", "salesforce-demo", "requireHttpOnli", "true"), "did you mean sessionSettings.requireHttpOnly"),
        (("set", "salesforce-demo", "requireHttpOnly", "perhaps"), "true or false"),
        (("set", "servicenow-demo", "plugin:com.glide.role_management", "gone"), "active"),
        (("fault", "salesforce-demo", "unheard"), "hibernation"),
        (("get", "salesforce-demo", "unheard"), "shows all"),
    ],
)
def test_a_wrong_simulation_is_said_with_what_exists(stack: Stack, arguments: tuple[str, ...], said: str) -> None:
    until(lambda: stack.pid("simulator-servicenow"), within_seconds=30, what="the simulators run")
    failed = stack.run("simulate", *arguments, check=False)
    assert failed.returncode != 0
    assert said in failed.stderr


def test_logs_are_shown_by_process(stack: Stack) -> None:
    assert "score API listens" in stack.run("logs", "score-api-serve").stdout
    unknown = stack.run("logs", "unheard", check=False)
    assert unknown.returncode != 0
    assert "score-api-project" in unknown.stderr
