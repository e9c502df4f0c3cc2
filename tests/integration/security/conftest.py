"""One secured broker with topics and rights, granted as an operator would."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from plumbline_contracts.acls import Installation

from tests.integration.parts import BIN
from tests.integration.parts import environment as service_environment
from tests.integration.security.broker import ADMIN, SecuredBroker, environment, logins

CONTROLS = Path(__file__).parents[3] / "controls"
INSTALLATION = Installation(prefix="plumbline.", siems=("splunk", "splunk.eu"), tenants=("contoso", "contoso.eu"))


@pytest.fixture(scope="package")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    """The broker, with the rights of `contracts acls` and the topics of `contracts topics create`."""
    broker = SecuredBroker(tmp_path_factory.mktemp("secured"), INSTALLATION, logins(INSTALLATION))
    with broker.running():
        siems = [f"--siem={name}" for name in INSTALLATION.siems]
        granted = contracts(broker, ADMIN, "acls", "--apply", *siems)
        assert granted.returncode == 0, granted.stderr
        created = contracts(broker, "plumbline.provisioning", "topics", "create", "--replication-factor=1")
        assert created.returncode == 0, created.stderr
        yield broker


@pytest.fixture
def small_catalogue(tmp_path: Path) -> Path:
    """A catalogue of one control, with which an evaluator starts in a moment."""
    folder = tmp_path / "controls"
    (folder / "salesforce").mkdir(parents=True)
    for name in ("catalogue.yaml", "salesforce/SF-AP-01.yaml"):
        shutil.copy(CONTROLS / name, folder / name)
    shutil.copytree(CONTROLS / "frameworks", folder / "frameworks")
    return folder


def contracts(broker: SecuredBroker, login: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command `contracts` with this login."""
    settings = broker.login(login)
    tenants = {"PLUMBLINE_SCORE_API_FINDINGS_TENANT_TOPICS": ",".join(broker.installation.tenants)}
    env = service_environment(settings, **environment(settings), **tenants)
    command = [str(Path(BIN) / "contracts"), *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
