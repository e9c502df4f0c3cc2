"""Which database a message names: where it is, never who asks it."""

import pytest
from plumbline_score_api import app as composition
from plumbline_score_api.app import DatabaseSettingsError
from plumbline_score_api.settings import Settings


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("mongodb://10.0.0.1:27018/posture", "10.0.0.1:27018/posture"),
        ("mongodb://somebody:s3cret@db-0:1,db-1:2/posture?replicaSet=rs", "db-0:1,db-1:2/posture"),
        ("mongodb://somebody:s3cret@db/posture", "db:27017/posture"),
    ],
)
def test_hosts_ports_and_name_are_told(url: str, place: str) -> None:
    assert composition.place(Settings.model_validate({"PLUMBLINE_MONGODB_URL": url})) == place


def test_without_a_setting_it_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLUMBLINE_MONGODB_URL", raising=False)
    assert composition.place(Settings()) == "127.0.0.1:27017/plumbline"


def test_a_wrong_address_is_refused_without_being_shown() -> None:
    settings = Settings.model_validate({"PLUMBLINE_MONGODB_URL": "postgres://somebody:s3cret@db/posture"})
    with pytest.raises(DatabaseSettingsError) as refused:
        composition.place(settings)
    assert "s3cret" not in str(refused.value)
