"""Generators of clients take the OpenAPI document without a warning, and what they make type-checks strictly.

`make test-client`. Node and the packages of `package-lock.json` lie in `.cache`; both are fetched once.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from plumbline_score_api.openapi import files

from tests import node

HOME = node.ROOT / ".cache" / "client"
DOCUMENT = node.ROOT / files.CURRENT
pytestmark = pytest.mark.timeout(600)


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """A program of Node's, in the folder of the packages."""
    return node.run(HOME, *command, REDOCLY_TELEMETRY="off")


def _good(done: subprocess.CompletedProcess[str]) -> str:
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "warn" not in told.lower(), told
    return told


@pytest.fixture(scope="module")
def packages() -> Path:
    """The folder of the locked packages' programs."""
    return node.install(Path(__file__).parent, HOME)


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
