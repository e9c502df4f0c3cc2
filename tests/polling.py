"""Waiting for a condition with a deadline, and ports that are free."""

import os
import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PORTS_OF_A_WORKER = 500


def until(condition: Callable[[], T | None], *, within_seconds: float, what: str) -> T:
    """The first truthy answer of `condition`; fails with `what` when the deadline passes."""
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"not within {within_seconds} s: {what}")


def free_port() -> int:
    """A loopback TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_port_base(count: int = 20) -> int:
    """The first of `count` consecutive loopback ports that nobody listens on now, in this test process's own range."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 27000 + worker * PORTS_OF_A_WORKER
    for base in range(first, first + PORTS_OF_A_WORKER, count):
        if all(_is_free(port) for port in range(base, base + count)):
            return base
    raise AssertionError(f"no {count} consecutive free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
