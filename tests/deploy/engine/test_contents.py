"""What is in an image, and what is not."""

import json
import re
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from plumbline_contracts.files import data_folder

from tests.deploy.compose import IMAGES, ROOT, dotenv
from tests.deploy.engine.conftest import Images
from tests.deploy.engine.tools import BASE, Buildah, run

every_image = pytest.mark.parametrize("image", sorted(IMAGES))
OWN = {
    "plumbline-collector": {"plumbline-contracts", "plumbline-collector"},
    "plumbline-evaluator": {"plumbline-contracts", "plumbline-evaluator"},
    "plumbline-score-api": {"plumbline-contracts", "plumbline-score-api"},
    "plumbline-simulators": {"plumbline-simulators"},
}


def _site_packages(root: Path) -> Path:
    (found,) = (root / "opt/plumbline/lib").glob("python3.*/site-packages")
    return found


def _locked_here(name: str) -> dict[str, str]:
    """Package to version, for the systems of this kind."""
    lines = re.findall(r"^([a-z].*?) \\$", (ROOT / "requirements" / f"{name}.lock").read_text(), re.MULTILINE)
    found = [Requirement(line) for line in lines]
    here = [entry for entry in found if entry.marker is None or entry.marker.evaluate()]
    return {canonicalize_name(entry.name): str(entry.specifier).removeprefix("==") for entry in here}


def _added(root: Path) -> list[Path]:
    """All that the image has beyond its base, as far as it lies in folders of ours."""
    return [path for top in ("opt", "usr/share/plumbline", "src", "wheels", "own") for path in (root / top).rglob("*")]


@every_image
def test_it_holds_the_locked_packages_and_ours_alone(image: str, images: Images) -> None:
    _, root = images[image]
    found = {canonicalize_name(d.name): d.version for d in distributions(path=[str(_site_packages(root))])}
    locked = _locked_here(image.removeprefix("plumbline-"))

    assert {name: version for name, version in found.items() if name not in OWN[image]} == locked
    assert found.keys() - locked.keys() == OWN[image]


@every_image
def test_no_compiler_no_sources_no_tests_no_history(image: str, images: Images) -> None:
    _, root = images[image]
    added = _added(root)
    names = {path.name for path in added}

    assert added
    assert not any((root / "usr/bin" / tool).exists() for tool in ("gcc", "cc", "c++", "make", "git"))
    assert not (root / "src").exists()
    assert not names & {".git", ".env", "conftest.py", "Dockerfile", "pip", "uv", "pytest"}
    assert [path for own in _site_packages(root).glob("plumbline_*") for path in own.rglob("test*")] == []
    assert [path for path in added if path.suffix == ".pyc"], "a read-only container cannot write compiled modules"


@every_image
def test_its_user_can_change_nothing_in_it(image: str, images: Images) -> None:
    _, root = images[image]
    search = ["find", str(root), "-xdev", "(", "-user", "10001", "-o", "-group", "10001", "-o", "-perm", "-0002", ")"]
    found = run(*search, "!", "-type", "l", "-printf", "/%P\n").split()

    allowed = ("/tmp", "/var/tmp", "/run/lock", "/var/lib/plumbline", "/dev/", "/proc/")
    assert [path for path in found if not path.startswith(allowed)] == []


@every_image
def test_no_secret_is_in_a_layer(image: str, images: Images, buildah: Buildah) -> None:
    _, root = images[image]
    secret = (ROOT / "deploy/compose/secrets/simulator").read_text().strip()
    inspected = buildah("inspect", "--type=image", f"localhost/{image}:test")
    constants = {"credentials.py", "cli.py"} if image == "plumbline-simulators" else set[str]()

    assert secret not in inspected
    holders = run("sh", "-c", f"grep -rlI {secret} {root}/opt {root}/var/lib/plumbline {root}/run {root}/etc || true")
    assert {Path(holder).name for holder in holders.split()} <= constants
    assert not re.search(r"(?i)(password|secret|token|api_key)=", json.dumps(json.loads(inspected)["Docker"]["config"]))


@every_image
def test_it_says_what_it_is(image: str, images: Images) -> None:
    config, _ = images[image]

    assert config["User"] == "10001:10001"
    assert config["Labels"]["org.opencontainers.image.title"] == image
    assert config["Labels"]["org.opencontainers.image.version"] == dotenv()["IMAGE_VERSION"]
    assert config["Labels"]["org.opencontainers.image.base.name"] == BASE
    assert config["Healthcheck"]["Test"][:3] == ["CMD", "python", "-c"]


@pytest.mark.parametrize("image", sorted(IMAGES.keys() - {"plumbline-simulators"}))
def test_it_holds_what_the_contracts_read(image: str, images: Images) -> None:
    _, root = images[image]
    packaged = _site_packages(root) / "plumbline_contracts" / "data"
    source = data_folder()
    files = [path.relative_to(source) for top in ("datasets", "generated") for path in (source / top).rglob("*.*")]

    assert (packaged / "topics.yaml").read_bytes() == (source / "topics.yaml").read_bytes()
    assert {path.relative_to(packaged) for path in packaged.rglob("*.*")} == {*files, Path("topics.yaml")}


@pytest.mark.parametrize("processor", ["x86_64", "aarch64"])
@pytest.mark.parametrize("lock", ["build", *(image.removeprefix("plumbline-") for image in sorted(IMAGES))])
def test_every_locked_package_has_a_wheel_for_the_published_base(lock: str, processor: str, tmp_path: Path) -> None:
    """The base has no compiler. One package alone may come as source: its extensions are optional."""
    version = re.search(r":(\d+\.\d+)", dotenv()["PYTHON_IMAGE"])
    assert version is not None
    source = ["--no-binary=faust-streaming"] if (lock, processor) == ("evaluator", "aarch64") else []
    run(
        str(ROOT / ".venv/bin/uv"),
        "pip",
        "install",
        "--dry-run",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
        *source,
        f"--python-version={version.group(1)}",
        f"--python-platform={processor}-manylinux_2_36",
        f"--target={tmp_path}",
        f"--requirement={ROOT / 'requirements' / lock}.lock",
    )
