"""The registry, the dataset schemas and the log form hold what services rely on."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog
from plumbline_contracts import logs
from plumbline_contracts.datasets import datasets
from plumbline_contracts.events import EVENT_TYPES, Product
from plumbline_contracts.finding import FINDING_EVENT
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.topics import dead_letter_name, physical_name, registry
from pydantic import ValidationError


def test_every_event_has_exactly_one_topic() -> None:
    assert sorted(t.event for t in registry().topics if t.event) == sorted([*EVENT_TYPES, FINDING_EVENT])


def test_dead_letter_topics_follow_their_source() -> None:
    source, letters = registry()["control-results"], registry()[dead_letter_name("control-results")]
    assert letters.partitions == source.partitions
    assert letters.producers == source.consumers
    assert letters.broker_config()["retention.ms"] == str(7 * 24 * 3_600_000)


def test_an_unknown_topic_names_those_that_exist() -> None:
    with pytest.raises(KeyError, match="config-snapshots"):
        physical_name("snapshots")


@pytest.mark.parametrize("product", list(Product))
def test_dataset_schemas_say_permission_and_remedy(product: Product) -> None:
    for schema in datasets(product).values():
        assert schema.permission
        assert schema.remedy
        assert schema.fields


def test_a_row_is_held_against_its_schema() -> None:
    users = datasets(Product.SALESFORCE)["users"]
    assert users.violations({"id": "005", "idle_days": 3, "mfa_methods": ["totp"], "is_frozen": None}) == []
    assert users.violations({"idle_days": True}) == ["idle_days: expected int, got bool"]
    assert users.violations({"colour": "red"}) == ["colour: not a field of users"]


def test_sasl_needs_credentials() -> None:
    with pytest.raises(ValidationError, match="PLUMBLINE_KAFKA_SASL_USERNAME"):
        KafkaSettings(kafka_security_protocol="SASL_SSL")


@pytest.fixture(params=["json", "console"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def log_lines(form: Literal["json", "console"]) -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.configure("collector", form=form, level="info")
    stream = io.StringIO()
    handler = root.handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.mark.parametrize("form", ["json"])
def test_log_lines_are_json_and_hold_no_secret(log_lines: io.StringIO) -> None:
    structlog.get_logger("x").info("token renewed", tenant="contoso", access_token="abc", client_secret="def")
    line = json.loads(log_lines.getvalue())
    assert line["event"] == "token renewed"
    assert (line["tenant"], line["service"], line["level"]) == ("contoso", "collector", "info")
    assert "abc" not in log_lines.getvalue()
    assert "def" not in log_lines.getvalue()


def test_a_traceback_shows_no_local_variable(log_lines: io.StringIO) -> None:
    def login(password: str) -> None:
        raise ValueError(f"refused after {len(password)} letters")

    try:
        login("".join(["hunter", "2"]))
    except ValueError:
        structlog.get_logger("x").exception("login failed")
    assert "refused after 7 letters" in log_lines.getvalue()
    assert "login" in log_lines.getvalue()
    assert "hunter2" not in log_lines.getvalue()
