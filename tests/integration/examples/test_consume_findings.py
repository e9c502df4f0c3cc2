"""The example consumer in Python, on a real broker."""

import sys
from pathlib import Path

import pytest

from tests.consuming import ConsumerContract

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "consume-findings" / "python"


class TestPython(ConsumerContract):
    @pytest.fixture
    def command(self) -> list[str | Path]:
        return [sys.executable, EXAMPLE / "consume.py"]
