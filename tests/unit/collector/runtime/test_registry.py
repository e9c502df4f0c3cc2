"""The connections in force: reloaded on change, paused by a broken file, kept when only an entry is wrong."""

import os
from itertools import count
from pathlib import Path

import pytest
from plumbline_collector.connections import ConnectionsError
from plumbline_collector.registry import ConnectionRegistry

ENTRY = """\
  - tenant: contoso
    instance: {name}
    product: servicenow
    url: https://contoso.service-now.com
    auth: {{method: basic, username: reader, password: {{env: P}}}}
"""
_STAMPS = count(1_700_000_000)


def write(path: Path, text: str) -> None:
    """A new version of the file, with a time of its own however fast the test is."""
    path.write_text(text)
    stamp = next(_STAMPS)
    os.utime(path, (stamp, stamp))


def listing(*names: str) -> str:
    """A file with these instances."""
    return "connections:\n" + "".join(ENTRY.format(name=name) for name in names)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with one instance."""
    path = tmp_path / "connections.yaml"
    write(path, listing("a"))
    return path


@pytest.fixture
def registry(path: Path) -> ConnectionRegistry:
    """A registry that has read the file."""
    registry = ConnectionRegistry(path)
    registry.start()
    return registry


def test_a_change_of_the_file_is_taken(registry: ConnectionRegistry, path: Path) -> None:
    assert not registry.reload()
    write(path, listing("a", "b"))
    assert registry.reload()
    assert set(registry.current) == {"contoso/a", "contoso/b"}
    assert not registry.reload()


@pytest.mark.parametrize("text", ["", "connections: [", "# nothing\n"])
def test_a_file_that_is_empty_or_broken_pauses_all_until_it_is_mended(
    registry: ConnectionRegistry, path: Path, text: str
) -> None:
    write(path, text)
    assert registry.reload()
    assert registry.current == {}
    write(path, listing("a"))
    assert registry.reload()
    assert set(registry.current) == {"contoso/a"}


def test_a_missing_file_pauses_all(registry: ConnectionRegistry, path: Path) -> None:
    path.unlink()
    assert registry.reload()
    assert registry.current == {}
    assert not registry.reload()


def test_a_mistake_in_an_entry_keeps_the_former_connections(registry: ConnectionRegistry, path: Path) -> None:
    write(path, listing("a", "b", "b"))
    assert not registry.reload()
    assert set(registry.current) == {"contoso/a"}


def test_an_instance_that_is_new_to_us_makes_us_look_at_once(registry: ConnectionRegistry, path: Path) -> None:
    assert not registry.knows("contoso/b")
    write(path, listing("b"))
    assert registry.knows("contoso/b")
    assert not registry.knows("contoso/a")


def test_the_first_reading_must_succeed(tmp_path: Path) -> None:
    with pytest.raises(ConnectionsError, match="cannot be read"):
        ConnectionRegistry(tmp_path / "absent.yaml").start()
