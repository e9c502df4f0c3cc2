"""What a stack will consist of, from what a person asks for."""

import stat
from pathlib import Path

import pytest
from plumbline_local.cli import places
from plumbline_local.layout import Home, write_private
from plumbline_local.plan import StackError, StackPlan, Wanted, read_instances
from plumbline_local.ports import Ports


def test_tenants_keep_the_order_of_the_file_and_may_share_an_instance_id(tmp_path: Path) -> None:
    file = tmp_path / "connections.yaml"
    file.write_text(
        "connections:\n"
        "  - {tenant: fabrikam, instance: main}\n"
        "  - {tenant: contoso, instance: main}\n"
        "  - {tenant: fabrikam, instance: other}\n"
    )
    found = read_instances(file)
    assert list(found) == ["fabrikam", "contoso"]
    assert found == {"fabrikam": ["main", "other"], "contoso": ["main"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("connections: []\n", "no connections"),
        ("connections: 3\n", "expected `connections`"),
        ("- tenant\n", "expected `connections`"),
        ("connections:\n  - {tenant: a\n", "connections.yaml:"),
    ],
)
def test_a_file_that_names_no_instance_is_refused_by_name_and_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "connections.yaml"
    file.write_text(text)
    with pytest.raises(StackError, match=said) as refused:
        read_instances(file)
    assert f"{file}:" in str(refused.value)


def test_simulators_stand_in_only_for_instances_of_ones_own(tmp_path: Path) -> None:
    assert Wanted(port_base=2000).starts_simulators
    assert not Wanted(port_base=2000, connections=tmp_path / "c.yaml").starts_simulators
    assert not Wanted(port_base=2000, has_simulators=False).starts_simulators


def test_every_port_is_within_twenty_of_the_base_and_used_once() -> None:
    ports = list(Ports(2000).named(simulators=True).values())
    assert len(set(ports)) == len(ports) == 10
    assert all(2000 <= port < 2020 for port in ports)


def test_the_home_is_closed_to_others(tmp_path: Path) -> None:
    home = Home(tmp_path / "some" / "home")
    home.prepare()
    for folder in (home.path, home.keys, home.secrets, home.logs):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    secret = home.secrets / "secret"
    secret.write_text("old and readable")
    secret.chmod(0o644)
    write_private(secret, "new")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert secret.read_text() == "new"


def _plan(home: Home, *tenants: str) -> StackPlan:
    instances = {tenant: ["main"] for tenant in tenants}
    wanted = Wanted(port_base=2000, connections=home.path / "c.yaml")
    return StackPlan(wanted=wanted, connections=home.path / "c.yaml", instances=instances, stages=[], environment={})


def test_the_key_of_every_tenant_is_told(tmp_path: Path) -> None:
    home = Home(tmp_path)
    told = "\n".join(places(home, _plan(home, "fabrikam", "contoso")))
    for tenant in ("fabrikam", "contoso"):
        assert f"key of {tenant}: {home.key_file(tenant)}" in told
    assert f"key: {home.key_file('contoso')}" in "\n".join(places(home, _plan(home, "contoso")))
