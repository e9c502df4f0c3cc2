"""Kafka's jars come from a registry once, match their checksums, and repair themselves."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from plumbline_local.jars import REGISTRY_VARIABLE, JarsError, classpath

CONTENT = {"first": b"first jar" * 1000, "second": b"second jar" * 1000}
HEAD = '[metadata]\njgo_version = "2.0.0"\n\n[environment]\nname = "kafka"\n\n[java]\nversion = "auto"\n'


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A lock of two jars."""
    entries = [
        f'\n[[dependencies]]\ngroupId = "org.example"\nartifactId = "{name}"\nversion = "1.0"\npackaging = "jar"\n'
        f'sha256 = "{hashlib.sha256(content).hexdigest()}"\njar_type = 3\n'
        for name, content in CONTENT.items()
    ]
    file = tmp_path / "jgo.lock.toml"
    file.write_text(HEAD + "".join(entries))
    return file


def _jar(root: Path, name: str) -> Path:
    return root / "org" / "example" / name / "1.0" / f"{name}-1.0.jar"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a Maven registry on loopback."""
    root = tmp_path / "registry"
    for name, content in CONTENT.items():
        _jar(root, name).parent.mkdir(parents=True)
        _jar(root, name).write_bytes(content)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv(REGISTRY_VARIABLE, f"http://127.0.0.1:{server.server_port}/")
    yield root
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.usefixtures("registry")
def test_a_mirror_gives_the_jars_once(lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    told: list[str] = []
    jars = classpath(lock, cache, told.append)
    assert [jar.read_bytes() for jar in jars] == list(CONTENT.values())
    assert "once, about 45 MB" in told[0]
    monkeypatch.setenv(REGISTRY_VARIABLE, "http://127.0.0.1:9")
    told.clear()
    assert classpath(lock, cache, told.append) == jars
    assert told == []
    assert [entry.name for entry in cache.iterdir()] == ["org"]


@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize("damage", [b"", b"cut", CONTENT["first"] + b"altered"])
def test_a_damaged_jar_is_fetched_again_and_the_others_are_not(lock: Path, tmp_path: Path, damage: bytes) -> None:
    cache = tmp_path / "cache"
    first, second = classpath(lock, cache)
    kept = second.stat().st_ino
    first.write_bytes(damage)
    assert [jar.read_bytes() for jar in classpath(lock, cache)] == list(CONTENT.values())
    assert second.stat().st_ino == kept


def test_a_jar_that_the_registry_altered_never_reaches_the_cache(lock: Path, registry: Path, tmp_path: Path) -> None:
    _jar(registry, "second").write_bytes(b"not what was locked")
    cache = tmp_path / "cache"
    with pytest.raises(JarsError, match=r"second-1\.0\.jar does not match its checksum"):
        classpath(lock, cache)
    assert not _jar(cache, "second").exists()
    _jar(registry, "second").write_bytes(CONTENT["second"])
    assert len(classpath(lock, cache)) == 2


def test_a_registry_that_does_not_answer_is_said_with_what_to_do(
    lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(REGISTRY_VARIABLE, "http://127.0.0.1:9")
    with pytest.raises(JarsError, match="Maven registry") as refused:
        classpath(lock, tmp_path / "cache")
    assert REGISTRY_VARIABLE in str(refused.value)
    assert "REQUESTS_CA_BUNDLE" in str(refused.value)
