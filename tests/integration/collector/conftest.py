"""What the connectors' tests share."""

from pathlib import Path

import pytest


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file with the secret that simulated orgs take."""
    path = tmp_path / "secret"
    path.write_text("simulated-orgs-only\n")
    return path
