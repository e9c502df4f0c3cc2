"""Evaluators on topics of the test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from plumbline_contracts.kafka import KafkaSettings

from tests.integration.evaluator.service import Stage


@pytest.fixture
def stage(kafka_settings: KafkaSettings, tmp_path: Path) -> Iterator[Stage]:
    """No evaluator and no snapshot yet."""
    stage = Stage(kafka_settings, tmp_path)
    yield stage
    stage.finish()
