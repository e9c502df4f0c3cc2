"""The example consumers in Go and TypeScript, on a real broker. `make test-siem` brings Node; Go must be there."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import node
from tests.consuming import ConsumerContract

EXAMPLES = node.ROOT / "docs" / "examples" / "consume-findings"
CACHE = node.ROOT / ".cache" / "examples"
pytestmark = pytest.mark.timeout(600)


def _go(*command: str | Path) -> str:
    """Go's tool on the example, with its downloads below `.cache`. AssertionError with its words when it fails."""
    program = shutil.which("go")
    assert program, "go 1.24 or newer is not installed; it builds the example in Go (see go.dev/doc/install)"
    go = CACHE / "go"
    variables = {"GOMODCACHE": str(go / "mod"), "GOCACHE": str(go / "build"), "GOFLAGS": "-modcacherw -mod=readonly"}
    env = {**os.environ, **variables, "CGO_ENABLED": "0"}
    done = subprocess.run(
        [program, *map(str, command)], cwd=EXAMPLES / "go", env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def built() -> Path:
    """The program in Go, with the modules that go.sum says."""
    program = CACHE / "consume-findings"
    _go("build", "-trimpath", "-o", program, ".")
    return program


@pytest.fixture(scope="module")
def home() -> Path:
    """A folder with the program in TypeScript and the locked packages."""
    home = CACHE / "typescript"
    node.install(EXAMPLES / "typescript", home)
    return home


class TestGo(ConsumerContract):
    @pytest.fixture
    def command(self, built: Path) -> list[str | Path]:
        return [built]

    def test_the_compiler_has_nothing_to_say(self) -> None:
        assert _go("vet", "./...") == ""


class TestTypeScript(ConsumerContract):
    @pytest.fixture
    def command(self, home: Path) -> list[str | Path]:
        return [node.node(), home / "consume.ts"]

    def test_the_types_hold(self, home: Path) -> None:
        done = node.run(home, node.node(), home / "node_modules" / "typescript" / "bin" / "tsc")
        assert done.returncode == 0, done.stdout
