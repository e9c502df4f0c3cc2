"""Where a local stack lies: folders, ports, processes and their environment."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

DEFAULT_PORT_BASE = 19100
TOPIC_PREFIX = "plumbline."
DATABASE = "plumbline"
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Ports:
    """Every port of a stack, from one base upward."""

    base: int

    @property
    def api(self) -> int:
        return self.base

    @property
    def kafka(self) -> int:
        return self.base + 1

    @property
    def kafka_controller(self) -> int:
        return self.base + 2

    @property
    def mongodb(self) -> int:
        return self.base + 3

    @property
    def salesforce(self) -> int:
        return self.base + 4

    @property
    def servicenow(self) -> int:
        return self.base + 5

    @property
    def collector_health(self) -> int:
        return self.base + 6

    @property
    def evaluator_health(self) -> int:
        return self.base + 7

    @property
    def project_health(self) -> int:
        return self.base + 8

    @property
    def serve_health(self) -> int:
        return self.base + 9

    def all(self, *, simulators: bool) -> dict[str, int]:
        """Name to port of everything that listens."""
        named = {
            "score-api-serve": self.api,
            "kafka": self.kafka,
            "kafka controller": self.kafka_controller,
            "mongodb": self.mongodb,
            "collector health": self.collector_health,
            "evaluator health": self.evaluator_health,
            "score-api-project health": self.project_health,
            "score-api-serve health": self.serve_health,
        }
        return named | (
            {"simulator-salesforce": self.salesforce, "simulator-servicenow": self.servicenow} if simulators else {}
        )


@dataclass(frozen=True)
class Home:
    """The folders and files of a stack."""

    path: Path

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @property
    def secrets(self) -> Path:
        return self.path / "secrets"

    @property
    def state_file(self) -> Path:
        return self.path / "state.json"

    @property
    def plan_file(self) -> Path:
        return self.path / "plan.json"

    @property
    def own_connections(self) -> Path:
        return self.path / "connections.yaml"

    def key_file(self, tenant: str) -> Path:
        """The API key of a tenant."""
        return self.keys / f"{tenant}.key"

    def prepare(self) -> None:
        """Create the folders. Raises OSError."""
        for folder in (self.path, self.logs):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (self.keys, self.secrets):
            folder.mkdir(mode=0o700, exist_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
