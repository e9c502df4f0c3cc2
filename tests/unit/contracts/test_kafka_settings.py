"""Security settings of the broker: what is refused, with the setting to change, and no secret is shown."""

import json
import ssl
from pathlib import Path
from typing import Any

import pytest
from plumbline_contracts import lifecycle
from plumbline_contracts.kafka import KafkaSettings, SecurityFileError
from plumbline_contracts.lifecycle import StartError
from pydantic import ValidationError

from tests.certificates import Authority

GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "secure-kafka.md"
SECRET = "hunter2-hunter2"
USER = {"sasl_username": "ann", "sasl_password": SECRET}
CLIENT = {
    "oauth_token_endpoint": "https://id.contoso.example/token",
    "oauth_client_id": "collector",
    "oauth_client_secret": SECRET,
}
SASL, TLS = {"security_protocol": "SASL_SSL"}, {"security_protocol": "SSL"}
OAUTH = {**SASL, "sasl_mechanism": "OAUTHBEARER"}


def _settings(stated: dict[str, Any]) -> KafkaSettings:
    return KafkaSettings.model_validate({f"kafka_{name}": value for name, value in stated.items()})


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A certificate authority."""
    return Authority(tmp_path)


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        (SASL, "SCRAM-SHA-512 needs PLUMBLINE_KAFKA_SASL_USERNAME or PLUMBLINE_KAFKA_SASL_USERNAME_FILE and PLUMBL"),
        ({**SASL, "sasl_username": "ann"}, "needs PLUMBLINE_KAFKA_SASL_PASSWORD or PLUMBLINE_KAFKA_SASL_PASSWORD_FILE"),
        ({**SASL, "sasl_username": "", "sasl_password": SECRET}, "needs PLUMBLINE_KAFKA_SASL_USERNAME"),
        (OAUTH, "needs PLUMBLINE_KAFKA_OAUTH_TOKEN_ENDPOINT and PLUMBLINE_KAFKA_OAUTH_CLIENT_ID and PLUMBLINE_KAFKA_O"),
        ({**TLS, "ssl_keyfile": "/k"}, "PLUMBLINE_KAFKA_SSL_KEYFILE needs PLUMBLINE_KAFKA_SSL_CERTFILE"),
        ({**SASL, **USER, "sasl_password_file": "/p"}, "PLUMBLINE_KAFKA_SASL_PASSWORD and PLUMBLINE_KAFKA_SASL_PASS"),
        (USER, "would be ignored: set PLUMBLINE_KAFKA_SECURITY_PROTOCOL=SASL_SSL"),
        ({**TLS, **USER}, "would be ignored: set PLUMBLINE_KAFKA_SECURITY_PROTOCOL=SASL_SSL"),
        (CLIENT, "would be ignored: set PLUMBLINE_KAFKA_SECURITY_PROTOCOL=SASL_SSL"),
        ({**OAUTH, **CLIENT, **USER}, "PLUMBLINE_KAFKA_SASL_PASSWORD would be ignored with PLUMBLINE_KAFKA_SASL_"),
        ({**SASL, **USER, **CLIENT}, "would be ignored: set PLUMBLINE_KAFKA_SASL_MECHANISM=OAUTHBEARER"),
        ({"ssl_cafile": "/ca"}, "KAFKA_SSL_CAFILE would be ignored: set PLUMBLINE_KAFKA_SECURITY_PROTOCOL=SSL"),
        (
            {**USER, "security_protocol": "SASL_PLAINTEXT", "ssl_cafile": "/ca"},
            "would be ignored: set PLUMBLINE_KAFKA_SECURITY_PROTOCOL=SASL_SSL",
        ),
        (
            {**USER, "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN"},
            "PLUMBLINE_KAFKA_SASL_MECHANISM=PLAIN would show its secret to the network: set",
        ),
        (
            {**CLIENT, "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "OAUTHBEARER"},
            "PLUMBLINE_KAFKA_SASL_MECHANISM=OAUTHBEARER would show its secret to the network: set",
        ),
        ({**OAUTH, **CLIENT, "oauth_token_endpoint": "http://id.contoso.example/token"}, "should match pattern"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused_with_the_setting_to_change(stated: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as refused:
        _settings(stated)

    assert told in str(refused.value)
    assert SECRET not in f"{refused.value} {refused.value!r}"


@pytest.mark.parametrize(
    ("stated", "options"),
    [
        ({}, {"security_protocol": "PLAINTEXT"}),
        (TLS, {"security_protocol": "SSL"}),
        (
            {**SASL, **USER},
            {"sasl_mechanism": "SCRAM-SHA-512", "sasl_plain_username": "ann", "sasl_plain_password": SECRET},
        ),
        ({**SASL, **USER, "sasl_mechanism": "PLAIN"}, {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}),
        (
            {**USER, "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-256"},
            {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-256"},
        ),
        ({**OAUTH, **CLIENT}, {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}),
    ],
)
def test_settings_become_options_of_any_client(stated: dict[str, Any], options: dict[str, Any]) -> None:
    made = _settings(stated).client_options()

    assert options.items() <= made.items()
    assert (made["ssl_context"] is not None) == made["security_protocol"].endswith("SSL")
    assert ("sasl_oauth_token_provider" in made) == (made.get("sasl_mechanism") == "OAUTHBEARER")


def test_user_and_password_come_from_files_too(tmp_path: Path) -> None:
    user, password = tmp_path / "user", tmp_path / "password"
    user.write_text("ann\n")
    password.write_text(f"{SECRET}\r\n")

    made = _settings({**SASL, "sasl_username_file": user, "sasl_password_file": password}).client_options()

    assert (made["sasl_plain_username"], made["sasl_plain_password"]) == ("ann", SECRET)


@pytest.mark.parametrize("stated", [{**SASL, **USER}, {**OAUTH, **CLIENT}])
def test_no_form_of_the_settings_shows_a_secret(stated: dict[str, Any]) -> None:
    settings = _settings(stated)

    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()} {settings.login}"
    assert SECRET not in shown


def test_certificate_and_host_name_of_the_broker_are_always_verified(authority: Authority) -> None:
    certificate, key = authority.issue("collector")
    stated = {**TLS, "ssl_cafile": authority.cafile, "ssl_certfile": certificate, "ssl_keyfile": key}

    context = _settings(stated).client_options()["ssl_context"]

    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert [dict(part[0] for part in each["subject"])["commonName"] for each in context.get_ca_certs()] == [
        "test authority"
    ]


def _wrong_files(authority: Authority, folder: Path) -> dict[str, tuple[dict[str, Any], str]]:
    certificate, _ = authority.issue("collector")
    _, other_key = authority.issue("evaluator")
    _, encrypted = authority.issue("encrypted", passphrase=b"passphrase")
    text = folder / "text"
    text.write_text("no certificate")
    (folder / "empty").touch()
    pair = {**TLS, "ssl_certfile": certificate}
    return {
        "no authorities": ({**TLS, "ssl_cafile": text}, "PLUMBLINE_KAFKA_SSL_CAFILE="),
        "missing authorities": ({**TLS, "ssl_cafile": folder / "x"}, "cannot be read: No such file"),
        "missing key": ({**pair, "ssl_keyfile": folder / "x"}, "PLUMBLINE_KAFKA_SSL_KEYFILE="),
        "another's key": ({**pair, "ssl_keyfile": other_key}, "its own private key"),
        "no key": ({**pair, "ssl_keyfile": text}, "its own private key"),
        "encrypted key": ({**pair, "ssl_keyfile": encrypted}, "the private key is encrypted"),
        "certificate alone": ({**TLS, "ssl_certfile": certificate}, "PLUMBLINE_KAFKA_SSL_CERTFILE="),
        "empty password": ({**SASL, "sasl_username": "a", "sasl_password_file": folder / "empty"}, "is empty"),
        "missing secret": (
            {**OAUTH, **CLIENT, "oauth_client_secret": None, "oauth_client_secret_file": folder / "x"},
            "PLUMBLINE_KAFKA_OAUTH_CLIENT_SECRET_FILE=",
        ),
        "no authorities of the token endpoint": (
            {**OAUTH, **CLIENT, "oauth_cafile": text}, "PLUMBLINE_KAFKA_OAUTH_CAFILE=",
        ),
        "binary password": ({**SASL, "sasl_username": "a", "sasl_password_file": _binary(folder)}, "it is no text"),
    }  # fmt: skip


def _binary(folder: Path) -> Path:
    path = folder / "binary"
    path.write_bytes(b"\xff\xfe")
    return path


def test_a_file_that_cannot_be_used_is_told_with_its_setting(authority: Authority, tmp_path: Path) -> None:
    for what, (stated, told) in _wrong_files(authority, tmp_path).items():
        settings = _settings(stated)
        with pytest.raises(SecurityFileError, match=r"PLUMBLINE_KAFKA_") as refused:
            settings.client_options()
        assert told in str(refused.value), what
        with pytest.raises(StartError, match=r"PLUMBLINE_KAFKA_"):
            lifecycle.client_options(settings)


def test_the_guide_explains_every_setting() -> None:
    guide = GUIDE.read_text()

    assert not [name for name in KafkaSettings.model_fields if f"`PLUMBLINE_{name.upper()}`" not in guide]
    assert "`PLUMBLINE_SCORE_API_FINDINGS_TENANT_TOPICS`" in guide


def test_the_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    stated = {**OAUTH, **CLIENT, "oauth_scope": "kafka"}
    for name, value in stated.items():
        monkeypatch.setenv(f"PLUMBLINE_KAFKA_{name.upper()}", value)

    assert KafkaSettings() == _settings(stated)
    assert "collector" in KafkaSettings().login
    assert json.loads(KafkaSettings().model_dump_json())["kafka_oauth_scope"] == "kafka"
