"""The connections file: every mistake with file, line and what to write instead."""

import os
import stat
from pathlib import Path

import pytest
from plumbline_collector import connections
from plumbline_collector.connections import ConnectionsError, SecretError, SecretReference
from plumbline_collector.registry import ConnectionRegistry
from plumbline_contracts.events import Product

GOOD = """\
connections:
  - tenant: contoso
    instance: sales-eu
    product: salesforce
    url: https://contoso.my.salesforce.com
    auth: {method: client_credentials, client_id: id, client_secret: {env: SALES_SECRET}}
    schedule: {full: 2h, changes: 30s}
    parameters: {SF-ID-45: {max_idle_days: 60}}
"""
SECOND = """\
  - tenant: contoso
    instance: itsm
    product: servicenow
    url: https://contoso.service-now.com
    auth: {method: basic, username: reader, password: {file: /run/secrets/itsm}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "connections.yaml"
    path.write_text(GOOD + SECOND)
    return path


def test_a_good_file_is_read(file: Path) -> None:
    first, second = connections.load(file)
    assert (first.key, first.schedule.full.total_seconds(), first.api_share) == ("contoso/sales-eu", 7200, 0.1)
    assert (second.schedule.full.total_seconds(), second.allow_http) == (3600, False)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("product: salesforce", "product: workday", 4, "'salesforce' or 'servicenow'"),
        ("https://contoso.my", "http://contoso.my", 2, "allow_http: true"),
        ("https://contoso.my.salesforce.com", "https://contoso.my.salesforce.com/x", 2, "without a path"),
        ("client_secret: {env: SALES_SECRET}", "client_secret: hunter2", 6, "given by reference"),
        ("method: basic", "method: client_credentials", 13, "client_id"),
        ("full: 2h", "full: often", 7, "expected a duration such as 60s"),
        ("instance: itsm", "instance: sales-eu", 10, "already has an instance sales-eu"),
        ("instance: itsm", "instance: it/sm", 10, "String should match pattern"),
        ("tenant: contoso", "tenant: contoso\n    colour: red", 3, "Extra inputs"),
        ("product: servicenow", "product: salesforce", 9, "salesforce does not know basic"),
    ],
)
def test_a_mistake_names_file_line_and_remedy(file: Path, old: str, new: str, line: int, message: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(ConnectionsError, match=message) as caught:
        connections.load(file)
    assert f"{file}:{line}:" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "a: [", "- 1", "connections: 3", "connection: []"])
def test_a_file_of_another_kind_is_refused(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(ConnectionsError, match=r"connections\.yaml:1"):
        connections.load(file)


def test_an_instance_is_chosen_by_id_or_with_its_tenant(file: Path) -> None:
    loaded = connections.load(file)
    assert connections.choose(loaded, "itsm").key == connections.choose(loaded, "contoso/itsm").key
    with pytest.raises(ConnectionsError, match="it has contoso/sales-eu, contoso/itsm"):
        connections.choose(loaded, "hr")
    twins = [*loaded, loaded[0].model_copy(update={"tenant": "fabrikam"})]
    with pytest.raises(ConnectionsError, match="name it TENANT/ID"):
        connections.choose(twins, "sales-eu")


def test_secrets_are_read_when_used_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret"
    reference = SecretReference(file=path)
    with pytest.raises(SecretError, match=str(path)):
        reference.read()
    path.write_text("one\n")
    assert reference.read().get_secret_value() == "one"
    path.write_text("two")
    assert reference.read().get_secret_value() == "two"
    assert "two" not in repr(reference.read())
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(SecretError, match="NOT_SET"):
        SecretReference(env="NOT_SET").read()


def _touch(file: Path, text: str) -> None:
    file.write_text(text)
    os.utime(file, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns + 1_000_000))


def test_a_changed_file_is_reloaded_and_a_bad_one_keeps_the_former(file: Path) -> None:
    registry = ConnectionRegistry(file)
    registry.start()
    assert not registry.reload()
    _touch(file, GOOD)
    assert registry.reload()
    assert set(registry.current) == {"contoso/sales-eu"}
    _touch(file, GOOD.replace("salesforce\n", "workday\n"))
    assert not registry.reload()
    assert set(registry.current) == {"contoso/sales-eu"}


@pytest.mark.parametrize("content", ["", "a: [", None])
def test_a_missing_or_empty_file_pauses_all_instances(file: Path, content: str | None) -> None:
    registry = ConnectionRegistry(file)
    registry.start()
    if content is None:
        file.unlink()
    else:
        _touch(file, content)
    assert registry.reload()
    assert registry.current == {}
    _touch(file, GOOD)
    assert registry.reload()
    assert set(registry.current) == {"contoso/sales-eu"}


def test_the_mode_of_a_spool_is_private(tmp_path: Path) -> None:
    from plumbline_collector.spool import SpoolWriter

    with SpoolWriter(
        tmp_path / "x.spool", tenant="t", instance="i", product=Product.SALESFORCE, snapshot_id="s"
    ) as spool:
        spool.add("users", [{"id": "1"}])
    assert stat.S_IMODE((tmp_path / "x.spool").stat().st_mode) == 0o600


def test_a_relative_secret_file_lies_beside_the_connections_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "sales").write_text("hunter2\n")
    file = tmp_path / "connections.yaml"
    file.write_text(
        "connections: [{tenant: t, instance: i, product: salesforce, url: 'https://t.my.salesforce.com', auth: "
        "{method: client_credentials, client_id: x, client_secret: {file: secrets/sales}}}]"
    )
    monkeypatch.chdir(tmp_path / "elsewhere")
    (connection,) = connections.load(file)
    assert isinstance(connection.auth, connections.ClientCredentials)
    assert connection.auth.client_secret.read().get_secret_value() == "hunter2"


@pytest.mark.parametrize(("written", "meant"), [("on", "on"), ("off", "off"), ("'off'", "off"), ("main", "main")])
def test_insights_may_stand_bare(tmp_path: Path, written: str, meant: str) -> None:
    file = tmp_path / "connections.yaml"
    file.write_text(GOOD.rstrip() + f"\n    insights: {written}\n")
    assert connections.load(file)[0].insights == meant


CONTROLS = {"SF-ID-45": {"params": {"max_idle_days": {"type": "int", "minimum": 7, "maximum": 3650}}}}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("{SF-ID-45: {max_idle_days: 60}}", None),
        ("{SF-ID-45: {max_idle_days: -1}}", "SF-ID-45.max_idle_days: -1 is below the minimum of 7"),
        ("{SF-ID-45: {zzz: 3}}", "SF-ID-45.zzz: SF-ID-45 has no such parameter; it has max_idle_days"),
        ("{NOPE: {x: 1}}", "NOPE: the catalogue has no such control"),
    ],
)
def test_parameters_are_held_against_the_catalogue(tmp_path: Path, parameters: str, expected: str | None) -> None:
    file = tmp_path / "connections.yaml"
    file.write_text(GOOD.replace("{SF-ID-45: {max_idle_days: 60}}", parameters))
    problems = connections.parameter_problems(file, CONTROLS)
    line = next(n for n, text in enumerate(GOOD.splitlines(), start=1) if "parameters" in text)
    if expected is None:
        assert problems == []
    else:
        (problem,) = problems
        assert problem.startswith(f"{file}:{line}: connections.0.parameters.")
        assert problem.endswith(expected)
