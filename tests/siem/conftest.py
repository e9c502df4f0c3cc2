"""A feed of each test's own, and the packages of Node."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from plumbline_contracts.kafka import KafkaSettings

from tests.siem import tools
from tests.siem.real_consumers import CONSUMERS, Consumer, Feed
from tests.siem.sending import TOPIC

NPM = tools.NODE.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
PACKAGES = Path(__file__).parent / "node"


@pytest.fixture(scope="session")
def node_packages() -> Path:
    """The folder with the locked packages and our scripts."""
    home = tools.NODE_PACKAGES
    home.mkdir(parents=True, exist_ok=True)
    lock, installed = PACKAGES / "package-lock.json", home / "installed.json"
    if not installed.is_file() or installed.read_bytes() != lock.read_bytes():
        installed.unlink(missing_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PACKAGES / name, home)
        command = [tools.made(tools.NODE), NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(list(map(str, command)), cwd=home, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        shutil.copy(lock, installed)
    for script in PACKAGES.glob("*.mjs"):
        shutil.copy(script, home)
    return home


@pytest.fixture
def feed(kafka_settings: KafkaSettings, tmp_path: Path) -> Feed:
    """The topic of findings as it is provisioned, and a group that has read nothing."""
    home = tmp_path / "consumer"
    home.mkdir()
    return Feed(kafka_settings.kafka_bootstrap, kafka_settings.topic(TOPIC), kafka_settings.group("siem"), home)


@pytest.fixture(params=CONSUMERS)
def consumer(request: pytest.FixtureRequest, feed: Feed, node_packages: Path) -> Iterator[Consumer]:
    """Each of the consumers, not yet started."""
    made = CONSUMERS[request.param](feed)
    yield made
    made.close()
