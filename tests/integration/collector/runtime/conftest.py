"""Two simulated orgs for all tests of this folder, and a fleet of collectors per test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from plumbline_contracts.kafka import KafkaSettings

from tests.integration.collector.runtime.service import Fleet, Org, simulated


@pytest.fixture(scope="session")
def _salesforce() -> Iterator[Org]:
    with simulated(users=60) as org:
        yield org


@pytest.fixture(scope="session")
def _servicenow() -> Iterator[Org]:
    with simulated("servicenow", users=60) as org:
        yield org


@pytest.fixture
def salesforce(_salesforce: Org) -> Iterator[Org]:
    """A Salesforce org that works."""
    yield _salesforce
    _salesforce.fault()


@pytest.fixture
def servicenow(_servicenow: Org) -> Iterator[Org]:
    """A ServiceNow instance that works."""
    yield _servicenow
    _servicenow.fault()


@pytest.fixture
def fleet(kafka_settings: KafkaSettings, tmp_path: Path) -> Iterator[Fleet]:
    """No collector yet, on topics of this test's own."""
    fleet = Fleet(kafka_settings, tmp_path, tmp_path / "connections.yaml")
    yield fleet
    fleet.finish()
