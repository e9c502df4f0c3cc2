"""Apache Kafka's jars: exactly those of `deploy/local/jgo.lock.toml`, fetched once and verified at every start."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jgo.env
import jgo.maven

LOCK = Path(__file__).parents[2] / "jgo.lock.toml"
CACHE = Path(__file__).parents[4] / ".cache" / "m2"


class JarsError(RuntimeError):
    """Kafka's jars are missing or altered and could not be fetched; the message says which and what to do."""


def _remove_altered(locked: jgo.env.LockFile, cache: Path) -> None:
    for dependency in locked.dependencies:
        folder = cache.joinpath(*dependency.groupId.split("."), dependency.artifactId, dependency.version)
        for jar in folder.glob("*.jar"):
            jar.unlink()


def _fetch(locked: jgo.env.LockFile, cache: Path) -> list[Path]:
    context = jgo.maven.MavenContext(repo_cache=cache, timeout=60)

    def resolve(dependency: jgo.env.LockedDependency) -> Path:
        component = context.project(dependency.groupId, dependency.artifactId).at_version(dependency.version)
        artifact = component.artifact(classifier=dependency.classifier or "", packaging=dependency.packaging)
        return Path(artifact.resolve())

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(resolve, locked.dependencies))


def classpath(lock: Path = LOCK, cache: Path = CACHE) -> list[Path]:
    """The verified jars, fetching those that are missing and, once, those that were altered.

    Raises JarsError when a jar cannot be had or does not match its checksum.
    """
    locked = jgo.env.LockFile.load(lock)
    try:
        jars = _fetch(locked, cache)
        if altered := locked.verify_checksums(cache):
            _remove_altered(locked, cache)
            jars = _fetch(locked, cache)
            altered = locked.verify_checksums(cache)
    except (OSError, RuntimeError, ValueError) as error:
        raise JarsError(
            f"Kafka's jars could not be fetched into {cache}: {error}. "
            "Check that the Maven registry is reachable, then run the command again."
        ) from error
    if altered:
        raise JarsError(
            f"Kafka's jars do not match their checksums: {'; '.join(altered)}. Delete {cache} and try again."
        )
    return jars
