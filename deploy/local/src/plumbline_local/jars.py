"""Apache Kafka's jars: exactly those of `deploy/local/jgo.lock.toml`, fetched once and verified at every start."""

import hashlib
import os
import tempfile
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

LOCK = Path(__file__).parents[2] / "jgo.lock.toml"
CACHE = Path(__file__).parents[4] / ".cache" / "m2"
REGISTRY_VARIABLE = "PLUMBLINE_MAVEN_URL"
TIMEOUT_SECONDS = 30
CONNECTIONS = 8
TOLD_EVERY = 15


class JarsError(RuntimeError):
    """Kafka's jars are missing or altered and could not be fetched; the message says which and what to do."""


@dataclass(frozen=True)
class Jar:
    """One locked jar."""

    group: str
    artifact: str
    version: str
    classifier: str
    packaging: str
    sha256: str

    def place(self, cache: Path) -> Path:
        """Where it lies in a Maven repository."""
        classifier = f"-{self.classifier}" if self.classifier else ""
        name = f"{self.artifact}-{self.version}{classifier}.{self.packaging}"
        return cache.joinpath(*self.group.split("."), self.artifact, self.version, name)

    def is_whole(self, file: Path) -> bool:
        """Whether the file is there and has the locked checksum."""
        if not file.is_file():
            return False
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest() == self.sha256


def _locked(lock: Path) -> list[Jar]:
    """The jars of a lock file of jgo. Raises KeyError for one without a checksum, OSError, ValueError."""
    with lock.open("rb") as content:
        entries = tomllib.load(content)["dependencies"]
    return [
        Jar(e["groupId"], e["artifactId"], e["version"], e.get("classifier", ""), e["packaging"], e["sha256"])
        for e in entries
    ]


def _fetch(jar: Jar, scratch: Path, cache: Path) -> None:
    """Fetch one jar into `scratch` and move it into the cache when it matches. Raises JarsError, OSError, …"""
    import jgo.maven  # seldom needed, and slow to import

    registry = os.environ.get(REGISTRY_VARIABLE)
    repositories = {"registry": registry.rstrip("/")} if registry else None
    context = jgo.maven.MavenContext(repo_cache=scratch, remote_repos=repositories, timeout=TIMEOUT_SECONDS)
    component = context.project(jar.group, jar.artifact).at_version(jar.version)
    fetched = Path(component.artifact(classifier=jar.classifier, packaging=jar.packaging).resolve())
    place = jar.place(cache)
    if not jar.is_whole(fetched):
        raise JarsError(f"the registry's {place.name} does not match its checksum in {LOCK.name}; do not use it")
    place.parent.mkdir(parents=True, exist_ok=True)
    fetched.replace(place)


def _fetch_all(lacking: list[Jar], cache: Path, tell: Callable[[str], None]) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".fetching-", dir=cache) as scratch,
        ThreadPoolExecutor(CONNECTIONS) as pool,
    ):
        started = [pool.submit(_fetch, jar, Path(scratch), cache) for jar in lacking]
        try:
            for number, future in enumerate(started):
                if number % TOLD_EVERY == 0:
                    tell(f"fetching Apache Kafka (once, about 45 MB in all): {number} of {len(lacking)} jars")
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def classpath(lock: Path = LOCK, cache: Path = CACHE, tell: Callable[[str], None] = lambda _: None) -> list[Path]:
    """The verified jars, fetching those that are missing or altered.

    The cache only ever holds whole jars that match. Raises JarsError when one cannot be had.
    """
    try:
        locked = _locked(lock)
        lacking = [jar for jar in locked if not jar.is_whole(jar.place(cache))]
        if lacking:
            _fetch_all(lacking, cache, tell)
    except JarsError:
        raise
    except (OSError, RuntimeError, ValueError, LookupError) as error:
        raise JarsError(
            f"Apache Kafka's jars could not be fetched into {cache}: {error}.\n"
            "Check that the Maven registry can be reached, then run the command again. Behind a company's network: "
            f"{REGISTRY_VARIABLE} is the address of a mirror, REQUESTS_CA_BUNDLE a file with its certificates."
        ) from error
    return [jar.place(cache) for jar in locked]
