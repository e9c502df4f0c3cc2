"""From a changed setting to a score that moved, on a whole running stack."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from plumbline_contracts.events import Product
from plumbline_local.layout import Home

from tests.bench.figures import Figure, Section
from tests.bench.processes import run
from tests.e2e.stack import Stack
from tests.polling import free_port_base

REPETITIONS = 5
LIMIT_SECONDS = 5.0
GIVE_UP_SECONDS = 60.0
POLL_SECONDS = 0.02

SETTINGS = {
    Product.SALESFORCE: ("salesforce-demo", "passwordPolicies.minimumPasswordLength", ("5", "12")),
    Product.SERVICENOW: ("servicenow-demo", "glide.soap.strict_security", ("false", "true")),
}
"""Instance, setting, and two values with different scores."""

ABOUT = """\
On a stack of its own (`plumbline up`, 60 users in each simulated org): a setting changes in the simulated org,
a scan is requested with `POST /v1/instances/{id}/scan`, and the clock stops when `GET /v1/secure-score` answers
with another score for that product: collector, evaluator, projector and API, over Kafka and the database. The
reference is the same work by the two offline commands one after the other on the same org, `collector snapshot`
and `evaluator evaluate`, with what starting them costs."""


def measure(scratch: Path) -> Section:
    """Start a stack, change settings, stop it."""
    stack = Stack(scratch / "stack", free_port_base())
    stack.up()
    try:
        with stack.client() as client:
            simulators = stack.status["simulators"]
            figures = [_product(stack, client, simulators, product, scratch) for product in SETTINGS]
    finally:
        stack.down()
    return Section("From a changed setting to the new score", ABOUT, figures)


def _product(stack: Stack, client: httpx.Client, simulators: dict[str, str], product: Product, scratch: Path) -> Figure:
    instance, setting, values = SETTINGS[product]
    evaluated_at = _score(client, product)["evaluated_at"]
    _change_and_scan(client, simulators[instance], instance, setting, values[0])
    _until(lambda: _score(client, product)["evaluated_at"] != evaluated_at)
    ours, theirs = [], []
    for number in range(REPETITIONS):
        before = _score(client, product)["current"]
        began = time.perf_counter()
        _change_and_scan(client, simulators[instance], instance, setting, values[(number + 1) % 2])
        _until(partial(_has_moved, client, product, before))
        ours.append(time.perf_counter() - began)
        theirs.append(_offline(stack, instance, scratch))
    return Figure(f"seconds to the new score, {product}", "s", ours, theirs, "offline commands", LIMIT_SECONDS)


def _change_and_scan(client: httpx.Client, simulator: str, instance: str, setting: str, value: str) -> None:
    url = f"{simulator}/__simulator/settings/{setting}"
    httpx.put(url, json={"value": value}, trust_env=False).raise_for_status()
    client.post(f"/v1/instances/{instance}/scan").raise_for_status()


def _score(client: httpx.Client, product: Product) -> dict[str, Any]:
    products = client.get("/v1/secure-score").raise_for_status().json()["products"]
    found: dict[str, Any] = next(each for each in products if each["product"] == product)
    return found


def _has_moved(client: httpx.Client, product: Product, before: float) -> bool:
    return bool(_score(client, product)["current"] != before)


def _until(condition: Callable[[], bool]) -> None:
    """Ask often: what waits here is measured."""
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the score did not move within {GIVE_UP_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


def _offline(stack: Stack, instance: str, scratch: Path) -> float:
    file = scratch / "latency.snapshot"
    connections = Home(stack.home).own_connections
    command = ["collector", "snapshot", f"--connections={connections}", f"--instance={instance}", f"--out={file}"]
    snapshot = run(command, scratch=scratch)
    return snapshot.seconds + run(["evaluator", "evaluate", f"--snapshot={file}"], scratch=scratch).seconds
