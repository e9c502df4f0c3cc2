"""One stack with both simulated orgs for the end-to-end tests."""

from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.stack import Stack
from tests.polling import free_port_base

USERS = 3000  # enough that reading, judging and projecting an instance can be interrupted in the middle


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack, shared by the tests; each leaves it running."""
    running = Stack(tmp_path_factory.mktemp("stack"), free_port_base())
    running.up(f"--users={USERS}")
    yield running
    running.down()


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    """A client of the stack's score API."""
    with stack.client() as opened:
        yield opened
