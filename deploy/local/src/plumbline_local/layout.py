"""Where a local stack lies: its folders and files."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

TOPIC_PREFIX = "plumbline."
DATABASE = "plumbline"
BIN = Path(sys.executable).parent


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
    def lock_file(self) -> Path:
        """Held by the one command that starts or stops the stack."""
        return self.path / "lock"

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
        """Create the folders, closed to others: the database holds names of people. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for folder in (self.path, self.logs, self.keys, self.secrets):
            folder.mkdir(mode=0o700, exist_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all. Raises OSError."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
