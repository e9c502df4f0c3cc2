"""Who cannot log in is told why, at once, and without a secret; who lacks a right is told how it is granted."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from plumbline_contracts import lifecycle
from plumbline_contracts.kafka import KafkaSettings
from plumbline_contracts.lifecycle import StartError

from tests.certificates import Authority
from tests.integration import parts
from tests.integration.security.broker import SecuredBroker, environment

NAME = "plumbline.collector"
WAIT_SECONDS = 30.0


def _changed(settings: KafkaSettings, **changes: Any) -> KafkaSettings:
    return KafkaSettings.model_validate({**settings.model_dump(exclude_unset=True), **changes})


def _refusal(settings: KafkaSettings, timeout_seconds: float = WAIT_SECONDS) -> str:
    async def start() -> None:
        producer = AIOKafkaProducer(**lifecycle.client_options(settings))
        try:
            await lifecycle.start_clients([producer], settings, ["collection-requests"], timeout_seconds)
        finally:
            await producer.stop()

    began = time.monotonic()
    with pytest.raises(StartError) as refused:
        asyncio.run(start())
    assert time.monotonic() - began < WAIT_SECONDS / 2
    return str(refused.value)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_wrong_password_is_told_at_once(secured: SecuredBroker, tmp_path: Path, mechanism: str) -> None:
    file = tmp_path / "password"
    file.write_text("not-the-password")

    told = _refusal(_changed(secured.login(NAME, mechanism), kafka_sasl_password_file=file))

    assert f"the user {NAME}" in told
    assert "SaslAuthenticationFailed" in told
    assert "not-the-password" not in told


def test_a_token_endpoint_that_refuses_the_client_is_told_at_once(secured: SecuredBroker, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("not-the-secret")

    told = _refusal(_changed(secured.token(NAME), kafka_oauth_client_secret_file=file))

    assert f"no token from {secured.token_server.url} for the client {NAME}: HTTP 401 invalid_client" in told
    assert "not-the-secret" not in told
    assert "what was sent" not in told


def test_a_broker_with_a_certificate_of_a_foreign_authority_is_refused(secured: SecuredBroker, tmp_path: Path) -> None:
    foreign = Authority(tmp_path, "foreign authority")

    told = _refusal(_changed(secured.login(NAME), kafka_ssl_cafile=foreign.cafile))

    assert "SSLCertVerificationError" in told
    assert "issuer" in told or "self-signed" in told


def test_a_broker_whose_certificate_names_another_host_is_refused(secured: SecuredBroker) -> None:
    settings = secured.login(NAME)
    elsewhere = settings.kafka_bootstrap.replace("127.0.0.1", "localhost")

    assert "localhost" in _refusal(_changed(settings, kafka_bootstrap=elsewhere)).split("SSLCertVerificationError")[1]


def test_a_client_without_a_certificate_is_not_let_in_where_one_is_asked_for(secured: SecuredBroker) -> None:
    settings = secured.certificate(NAME)
    without = KafkaSettings.model_validate(
        settings.model_dump(exclude_unset=True, exclude={"kafka_ssl_certfile", "kafka_ssl_keyfile"})
    )

    assert "security settings" in _refusal(without, timeout_seconds=1)


def test_a_client_without_tls_is_not_let_in(secured: SecuredBroker) -> None:
    settings = KafkaSettings(kafka_bootstrap=secured.login(NAME).kafka_bootstrap)

    assert "security settings" in _refusal(settings, timeout_seconds=1)


def test_a_service_that_lacks_a_right_says_which_and_how_it_is_granted(
    secured: SecuredBroker, small_catalogue: Path, tmp_path: Path
) -> None:
    settings = secured.login("plumbline.provisioning")
    env = parts.environment(settings, **environment(settings), PLUMBLINE_CONTROLS=str(small_catalogue))
    with parts.service(["evaluator", "run"], env, tmp_path / "log") as evaluator:
        assert evaluator.process.wait(40) == 1

    assert "AuthorizationFailedError" in evaluator.text()
    assert "the user plumbline.provisioning lacks a right" in evaluator.text()
    assert "`contracts acls`" in evaluator.text()
    assert secured.passwords["plumbline.provisioning"] not in evaluator.text()
