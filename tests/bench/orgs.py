"""Simulated orgs of any size as processes, and the connections to them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from plumbline_contracts.events import Product
from plumbline_simulators.credentials import Credentials

from tests.bench.processes import BIN, Usage, run
from tests.polling import free_port, until

GRANTS = 3
"""Permission set assignments, or roles, of each user."""


@dataclass(frozen=True)
class Orgs:
    """One org of each product, of one size, and the file that connects them. An instance is named as its product."""

    users: int
    connections: Path
    urls: dict[Product, str]

    def calls(self, product: Product) -> int:
        """Requests to the API of an org so far, token requests included."""
        counted: dict[str, int] = httpx.get(f"{self.urls[product]}/__simulator/requests", trust_env=False).json()
        return sum(counted.values())

    def snapshot(self, product: Product, out: Path) -> Usage:
        """Record a snapshot with `collector snapshot`."""
        command = ["collector", "snapshot", f"--connections={self.connections}", f"--instance={product}"]
        return run([*command, f"--out={out}"], scratch=self.connections.parent)


@contextmanager
def simulated(users: int, folder: Path) -> Iterator[Orgs]:
    """Both products with so many users, until the block ends."""
    folder.mkdir(parents=True)
    secret = folder / "secret"
    secret.write_text(Credentials.client_secret)
    secret.chmod(0o600)
    with ExitStack() as running:
        urls = {product: running.enter_context(_simulator(product, users)) for product in Product}
        entries = [_connection(product, url, secret) for product, url in urls.items()]
        connections = folder / "connections.json"
        connections.write_text(json.dumps({"connections": entries}))
        yield Orgs(users, connections, urls)


@contextmanager
def _simulator(product: Product, users: int) -> Iterator[str]:
    port = free_port()
    granted = f"--assignments={GRANTS}" if product is Product.SALESFORCE else f"--roles={GRANTS * users}"
    command = [str(BIN / "plumbline-simulator"), "serve", f"--product={product}", f"--port={port}"]
    command += [f"--users={users}", granted]
    process = subprocess.Popen(command, stdout=sys.stderr)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _answers(url), within_seconds=30, what=f"the {product} simulator answers")
        yield url
    finally:
        process.terminate()
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/__simulator/requests", trust_env=False).is_success
    except httpx.TransportError:
        return False


def _connection(product: Product, url: str, secret: Path) -> dict[str, object]:
    return {
        "tenant": "contoso",
        "instance": str(product),
        "product": str(product),
        "url": url,
        "auth": {
            "method": "client_credentials",
            "client_id": Credentials.client_id,
            "client_secret": {"file": str(secret)},
        },
        "schedule": {"full": "24h", "changes": "1h"},
        "api_share": 1.0,
        "allow_http": True,
        "allow_private_network": True,
    }
