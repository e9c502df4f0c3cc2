"""Simulated orgs over HTTP and services as processes, for tests on real parts."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from plumbline_contracts.kafka import KafkaSettings
from plumbline_simulators import salesforce, servicenow
from plumbline_simulators.credentials import Credentials
from plumbline_simulators.salesforce.org import Org
from plumbline_simulators.servicenow.instance import Instance

from tests.polling import until

BIN = Path(sys.executable).parent


class Simulated:
    """A simulated org that answers on loopback, in a thread."""

    def __init__(self, org: Org | Instance, credentials: Credentials | None = None) -> None:
        self.org = org
        self.product = "salesforce" if isinstance(org, Org) else "servicenow"
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        app = (
            salesforce.app(org, credentials=credentials)
            if isinstance(org, Org)
            else servicenow.app(org, credentials=credentials)
        )
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def start(self) -> None:
        self._thread.start()
        until(lambda: self._server.started, within_seconds=10, what="the simulator listens")

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)

    def fail(self, *faults: dict[str, Any]) -> None:
        """Switch faults on; none switches them off."""
        httpx.put(f"{self.url}/__simulator/faults", json=list(faults), trust_env=False).raise_for_status()

    def set(self, name: str, value: Any) -> None:
        """Change a setting."""
        url = f"{self.url}/__simulator/settings/{name}"
        httpx.put(url, json={"value": value}, trust_env=False).raise_for_status()

    @property
    def requests(self) -> dict[str, int]:
        """How often each kind of request came."""
        found: dict[str, int] = httpx.get(f"{self.url}/__simulator/requests", trust_env=False).json()
        return found

    def connection(self, instance: str, secret: Path, **changes: Any) -> dict[str, Any]:
        """An entry of a connections file."""
        auth = {
            "method": "client_credentials",
            "client_id": Credentials.client_id,
            "client_secret": {"file": str(secret)},
        }
        base = {
            "tenant": "contoso",
            "instance": instance,
            "product": self.product,
            "url": self.url,
            "auth": auth,
            "allow_http": True,
            "allow_private_network": True,
        }
        return {**base, **changes}


@contextmanager
def simulated(org: Org | Instance, credentials: Credentials | None = None) -> Iterator[Simulated]:
    """A running simulator that accepts these credentials, or its own."""
    running = Simulated(org, credentials)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def write_connections(path: Path, *entries: dict[str, Any]) -> Path:
    """A connections file."""
    path.write_text(yaml.safe_dump({"connections": list(entries)}))
    return path


def environment(kafka: KafkaSettings, **more: str) -> dict[str, str]:
    """The environment of a service."""
    return {
        **os.environ,
        "PLUMBLINE_KAFKA_BOOTSTRAP": kafka.kafka_bootstrap,
        "PLUMBLINE_TOPIC_PREFIX": kafka.topic_prefix,
        "PLUMBLINE_LOG_FORMAT": "json",
        **more,
    }


class Service:
    """A service as a process of its own."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self._command, self._env, self.log = [str(BIN / command[0]), *command[1:]], env, log
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return subprocess.Popen(self._command, env=self._env, stdout=output, stderr=subprocess.STDOUT)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start it again after it ended."""
        self.process = self._start()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def text(self) -> str:
        """What it wrote."""
        return self.log.read_text()


@contextmanager
def service(command: list[str], env: dict[str, str], log: Path) -> Iterator[Service]:
    """A running service."""
    running = Service(command, env, log)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()


async def records(kafka: KafkaSettings, topic: str) -> list[Any]:
    """Everything on a topic now, by partition and offset."""
    consumer = AIOKafkaConsumer(
        kafka.topic(topic),
        bootstrap_servers=kafka.kafka_bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        found: list[Any] = []
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found += batch
        return found
    finally:
        await consumer.stop()


async def documents(kafka: KafkaSettings, topic: str) -> list[dict[str, Any]]:
    """The values on a topic as JSON."""
    return [json.loads(record.value) for record in await records(kafka, topic)]


async def send(kafka: KafkaSettings, topic: str, *values: tuple[str, bytes]) -> None:
    """Produce (key, value) pairs."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.kafka_bootstrap, max_request_size=2 * 1024 * 1024)
    await producer.start()
    try:
        for key, value in values:
            await producer.send_and_wait(kafka.topic(topic), value, key=key.encode())
    finally:
        await producer.stop()
