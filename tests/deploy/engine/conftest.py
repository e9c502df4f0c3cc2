"""The compose project and the images, built once per run."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.deploy.compose import IMAGES, image_name
from tests.deploy.engine.container import Container
from tests.deploy.engine.tools import Buildah, compose_config

BUILD_SECONDS = 1800

Images: TypeAlias = "dict[str, tuple[dict[str, Any], Path]]"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test of a run waits for the images."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(BUILD_SECONDS))


@pytest.fixture(scope="session")
def project() -> dict[str, Any]:
    """The project as docker compose resolves it; a secret's file stands beside its name."""
    resolved = compose_config()
    for service in resolved["services"].values():
        for secret in service.get("secrets", []):
            secret["file"] = resolved["secrets"][secret["source"]]["file"]
    return resolved


@pytest.fixture(scope="session")
def buildah() -> Iterator[Buildah]:
    """A store that holds the local base. Containers end, and their mounts with them, when the run does."""
    tool = Buildah()
    tool("rm", "--all")  # of a run that was killed
    tool.build_base()
    yield tool
    tool("rm", "--all")


@pytest.fixture(scope="session")
def images(buildah: Buildah) -> Images:
    """Image name to its configuration and the folder with its files."""
    with ThreadPoolExecutor(2) as pool:
        names = dict(zip(IMAGES, pool.map(buildah.build, IMAGES), strict=True))
    containers = {image: buildah("from", "--pull-never", name).strip() for image, name in names.items()}
    return {
        image: (buildah.config(name), Path(buildah("mount", containers[image]).strip()))
        for image, name in names.items()
    }


@pytest.fixture(scope="session")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the named volumes lie. The users of the containers may enter."""
    folder = tmp_path_factory.mktemp("volumes")
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(0o755)
    return folder


def container(
    name: str, project: dict[str, Any], images: Images, volumes: Path, replaced: dict[str, str] | None = None
) -> Container:
    """A service of the project, ready to run."""
    service = project["services"][name]
    config, root = images[image_name(service)]
    return Container(service, config, root, volumes, replaced or {})
