"""docs/reference/metrics.md lists exactly the metrics that the services expose."""

import importlib
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

PAGE = Path(__file__).parents[3] / "docs/reference/metrics.md"
SERVICES = {"collector": "Collector", "evaluator": "Evaluator", "score_api": "Score API"}


def _exposed(service: str) -> list[str]:
    """The lines of a service's table."""
    importlib.import_module(f"plumbline_{service}.app")
    found = {each for each in REGISTRY._collector_to_names if isinstance(each, MetricWrapperBase)}
    named = sorted((metric for metric in found if metric._name.startswith(f"plumbline_{service}_")), key=_name)
    return [_line(metric) for metric in named]


def _name(metric: MetricWrapperBase) -> str:
    return f"{metric._name}_total" if metric._type == "counter" else str(metric._name)


def _line(metric: MetricWrapperBase) -> str:
    labels = ", ".join(f"`{label}`" for label in metric._labelnames)
    return f"| `{_name(metric)}` | {metric._type} | {labels} | {metric._documentation} |"


@pytest.mark.parametrize("service", SERVICES)
def test_the_page_lists_what_a_service_exposes(service: str) -> None:
    section = PAGE.read_text().split(f"## {SERVICES[service]}\n")[1].split("\n## ")[0]
    listed = [line for line in section.splitlines() if line.startswith("| `")]
    assert listed == _exposed(service), "\n".join(_exposed(service))
