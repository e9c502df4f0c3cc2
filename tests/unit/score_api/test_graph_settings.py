"""The settings of the Graph routes."""

from uuid import UUID

import pytest
from plumbline_score_api.settings import Settings
from pydantic import ValidationError

GUID = "8f9e8b1c-6d5a-4c3b-9a2f-1e0d7c6b5a49"
PREFIX = "PLUMBLINE_SCORE_API_"


def test_they_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (Settings().azure_tenants, Settings().public_url) == ({}, None)
    monkeypatch.setenv(f"{PREFIX}AZURE_TENANTS", f'{{"contoso": "{GUID}"}}')
    monkeypatch.setenv(f"{PREFIX}PUBLIC_URL", "https://plumbline.contoso.example/posture")
    settings = Settings()
    assert settings.azure_tenants == {"contoso": UUID(GUID)}
    assert settings.public_url == "https://plumbline.contoso.example/posture"


@pytest.mark.parametrize(
    "wrong",
    [
        {"azure_tenants": {"contoso": "no guid"}}, {"azure_tenants": {"con toso": GUID}}, {"azure_tenants": [GUID]},
        {"public_url": "plumbline.example"}, {"public_url": "https://"}, {"public_url": "https://x?y"},
        {"public_url": "https://user@host"}, {"public_url": "javascript:alert(1)"}, {"public_url": "https://a b"},
        {"public_url": "https://a\nSet-Cookie: x"},
    ],
    ids=str,
)  # fmt: skip
def test_what_stops_the_start(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)
