"""The connections file: every mistake is named with file and line, and no secret is ever shown."""

from pathlib import Path

import pytest
from plumbline_collector import connections
from plumbline_collector.connections import ConnectionsError, SecretError, SecretReference

GOOD = """\
connections:
  - tenant: contoso
    instance: sales-eu
    product: salesforce
    url: https://contoso.my.salesforce.com
    auth: {method: client_credentials, client_id: abc, client_secret: {env: SF_SECRET}}
    insights: main
    schedule: {full: 2h, changes: 90s}
    parameters: {SF-ID-45: {max_idle_days: 60}}
  - tenant: contoso
    instance: prod
    product: servicenow
    url: https://contoso.service-now.com
    auth: {method: basic, username: reader, password: {file: /run/secrets/prod}}
"""


def problems(tmp_path: Path, text: str) -> list[str]:
    """What is wrong with a file of this text, without the folder's name."""
    path = tmp_path / "connections.yaml"
    path.write_text(text)
    with pytest.raises(ConnectionsError) as caught:
        connections.load(path)
    return [line.removeprefix(f"{tmp_path}/") for line in caught.value.problems]


def test_a_good_file_gives_its_connections_with_defaults(tmp_path: Path) -> None:
    path = tmp_path / "connections.yaml"
    path.write_text(GOOD)
    first, second = connections.load(path)
    assert (first.key, first.schedule.full.total_seconds(), first.schedule.changes.total_seconds()) == (
        "contoso/sales-eu",
        7200,
        90,
    )
    assert first.parameters == {"SF-ID-45": {"max_idle_days": 60}}
    assert (second.insights, second.api_share, second.allow_http) == (None, 0.1, False)
    assert second.schedule.full.total_seconds() == 3600


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("product: salesforce", "product: workday", "connections.yaml:4: connections.0.product: "),
        ("url: https://contoso.my.salesforce.com", "url: http://contoso.my.salesforce.com", "allow_http: true"),
        ("url: https://contoso.my.salesforce.com", "url: https://host/path", "a host without a path"),
        ("instance: prod", "instance: sales-eu", "connections.yaml:11: connections.1.instance: "),
        ("instance: prod", "instance: has space", "connections.yaml:11: connections.1.instance: "),
        ("{full: 2h, changes: 90s}", "{full: 2 hours}", "connections.yaml:8: connections.0.schedule.full: "),
        ("{full: 2h, changes: 90s}", "{full: 0s}", "a duration such as 60s"),
        ("method: basic", "method: jwt_bearer", "connections.yaml:14: "),
        ("insights: main", "insight: main", "connections.yaml:7: connections.0.insight: "),
        ("insights: main", "api_share: 2", "connections.yaml:7: connections.0.api_share: "),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    found = problems(tmp_path, GOOD.replace(old, new, 1))
    assert any(expected in line for line in found), found
    assert all(line.startswith("connections.yaml:") and "tenant contoso, instance " in line for line in found) or (
        "already has an instance" in found[0]
    )


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("product: salesforce", "product: workday").replace("instance: prod", "instance: has space")
    assert len(problems(tmp_path, text)) == 2


def test_a_method_of_the_other_product_is_refused(tmp_path: Path) -> None:
    auth = "{method: basic, username: reader, password: {env: P}}"
    old = "{method: client_credentials, client_id: abc, client_secret: {env: SF_SECRET}}"
    (line,) = problems(tmp_path, GOOD.replace(old, auth))
    assert "salesforce does not know basic" in line
    assert "jwt_bearer" in line


def test_two_main_instances_of_one_product_are_refused(tmp_path: Path) -> None:
    second = GOOD.partition("  - tenant")[2].partition("  - tenant")[0].replace("sales-eu", "sales-us")
    (line,) = problems(tmp_path, f"{GOOD}  - tenant{second}")
    assert line.startswith("connections.yaml:20: connections.2.insights: ")
    assert "sales-eu" in line


@pytest.mark.parametrize("secret", ["hunter2-in-the-file", "{file: a, env: b}", "{}"])
def test_a_secret_is_a_reference_and_never_shown(tmp_path: Path, secret: str) -> None:
    found = problems(tmp_path, GOOD.replace("{env: SF_SECRET}", secret))
    assert found[0].startswith("connections.yaml:6: ")
    assert "{file: PATH}" in found[0]
    assert "hunter2" not in "".join(found)


def test_a_login_in_the_address_is_refused_and_not_shown(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD.replace("https://contoso.my", "https://ann:hunter2@contoso.my"))
    assert "by reference" in found[0]
    assert "hunter2" not in "".join(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", "is empty"), ("a: [", "not YAML"), ("connections: 5\n", "expected one key"), ("- a\n", "expected one key")],
)
def test_a_file_that_is_no_list_of_connections_says_so(tmp_path: Path, text: str, expected: str) -> None:
    (line,) = problems(tmp_path, text)
    assert expected in line


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConnectionsError, match=r"absent\.yaml: cannot be read: No such file"):
        connections.load(tmp_path / "absent.yaml")


def test_an_instance_is_chosen_by_id_or_with_its_tenant(tmp_path: Path) -> None:
    path = tmp_path / "connections.yaml"
    path.write_text(GOOD + GOOD.partition("connections:\n")[2].replace("contoso\n", "fabrikam\n"))
    loaded = connections.load(path)
    assert connections.choose(loaded, "fabrikam/prod").tenant == "fabrikam"
    with pytest.raises(ConnectionsError, match="several tenants have an instance prod"):
        connections.choose(loaded, "prod")
    with pytest.raises(ConnectionsError, match=r"no instance nope .* contoso/sales-eu"):
        connections.choose(loaded, "nope")


def test_a_secret_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    reference = SecretReference(file=file)
    with pytest.raises(SecretError, match="cannot be read"):
        reference.read()
    for value in ("first", "second"):
        file.write_text(f"{value}\n")
        assert reference.read().get_secret_value() == value
        assert value not in repr(reference.read())
    file.write_text("\n")
    with pytest.raises(SecretError, match="is empty"):
        reference.read()


def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLUMBLINE_TEST_SECRET", raising=False)
    with pytest.raises(SecretError, match="PLUMBLINE_TEST_SECRET"):
        SecretReference(env="PLUMBLINE_TEST_SECRET").read()
    monkeypatch.setenv("PLUMBLINE_TEST_SECRET", "value")
    assert SecretReference(env="PLUMBLINE_TEST_SECRET").read().get_secret_value() == "value"
