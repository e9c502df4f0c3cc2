"""The Dockerfiles: locked packages, one base, no privileges, and locks that are current. Nothing is built here."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.deploy.compose import IMAGES, ROOT, dotenv, stages

every_image = pytest.mark.parametrize("image", sorted(IMAGES))
PACKAGES = {
    "plumbline-collector": ["contracts", "services/collector"],
    "plumbline-evaluator": ["contracts", "services/evaluator"],
    "plumbline-score-api": ["contracts", "services/score-api"],
    "plumbline-simulators": ["simulators"],
}
"""Image to the packages of this repository that it holds."""


def _instructions(image: str, kind: str, stage: int) -> list[str]:
    return [line.removeprefix(f"{kind} ") for line in stages(IMAGES[image])[stage] if line.startswith(f"{kind} ")]


@every_image
def test_the_base_is_one_argument_with_the_version_of_compose(image: str) -> None:
    text = IMAGES[image].read_text()

    assert f"ARG PYTHON_IMAGE={dotenv()['PYTHON_IMAGE']}\n" in text
    assert re.findall(r"^FROM (.*)$", text, re.MULTILINE) == [
        "${PYTHON_IMAGE} AS build",
        "${PYTHON_IMAGE} AS runtime",
    ]
    assert "# syntax" not in text, "a builder would fetch a front end that nobody pinned"


@every_image
def test_it_runs_as_the_user_of_compose(image: str) -> None:
    assert _instructions(image, "USER", -1) == ["10001:10001"]


@every_image
def test_packages_come_from_the_locks_alone(image: str) -> None:
    lock = f"requirements/{image.removeprefix('plumbline-')}.lock"
    commands = [
        c for run in _instructions(image, "RUN", 0) for c in run.split(" && ") if re.search(r"pip .*wheel|install", c)
    ]

    third_party = [command for command in commands if "-r " in command]
    assert [re.findall(r"-r (\S+)", command) for command in third_party] == [["requirements/build.lock"], [lock]]
    assert all("--require-hashes" in command for command in third_party)
    assert all("--no-index" in command for command in commands if command not in third_party)


@every_image
def test_nothing_is_installed_and_no_builder_remains_in_the_runtime_stage(image: str) -> None:
    run = " ".join(_instructions(image, "RUN", -1))

    assert not re.search(r"\b(pip|apt|apt-get|curl|wget|gcc)\b", run)
    copied = _instructions(image, "COPY", -1)
    assert set(copied) <= {"--from=build /opt/plumbline /opt/plumbline", "controls /usr/share/plumbline/controls"}


@every_image
def test_it_is_labelled_and_watched(image: str) -> None:
    (labels,) = _instructions(image, "LABEL", -1)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert set(re.findall(r"org\.opencontainers\.image\.([a-z.]+)=", labels)) == {
        "title", "description", "version", "licenses", "base.name",
    }  # fmt: skip
    assert f'title="{image}"' in labels
    assert _instructions(image, "ARG", -1) == ["PYTHON_IMAGE", f"VERSION={version}"]
    assert dotenv()["IMAGE_VERSION"] == version
    assert len(_instructions(image, "HEALTHCHECK", -1)) == 1


def _locked(name: str) -> dict[str, tuple[str, bool]]:
    """Package to its version and whether every system takes it."""
    text = (ROOT / "requirements" / f"{name}.lock").read_text()
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)( ;)?", text, re.MULTILINE)
    assert text.count("--hash=sha256:") >= len(found)
    return {canonicalize_name(package): (version, not marker) for package, version, marker in found}


def _required(folder: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    found = [Requirement(text) for text in project["dependencies"]]
    ours = [requirement for requirement in found if requirement.name == "plumbline-contracts"]
    extras = _extras("contracts")
    more = [Requirement(text) for each in ours for extra in each.extras for text in extras[extra]]
    return [*(each for each in found if not each.name.startswith("plumbline-")), *more]


def _extras(folder: str) -> dict[str, list[str]]:
    project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    found: dict[str, list[str]] = project["optional-dependencies"]
    return found


@every_image
def test_the_lock_satisfies_every_dependency(image: str) -> None:
    locked = _locked(image.removeprefix("plumbline-"))

    for folder in PACKAGES[image]:
        for requirement in _required(folder):
            name = canonicalize_name(requirement.name)
            assert name in locked, f"{folder} needs {name}: run `make lock`"
            assert requirement.specifier.contains(locked[name][0]), f"{folder} needs {requirement}: run `make lock`"


def _imported(folder: str) -> set[str]:
    """The packages of others that the sources import, as the registry names them."""
    providers = packages_distributions()
    found = set[str]()
    for file in (ROOT / folder / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [str(node.module)]
            tops = {module.partition(".")[0] for module in modules} - sys.stdlib_module_names
            found |= {canonicalize_name(providers[top][0]) for top in tops if not top.startswith("plumbline_")}
    return found


@every_image
def test_what_the_sources_import_is_declared(image: str) -> None:
    """One environment holds every package in development; an image holds those that are declared."""
    for folder in PACKAGES[image]:
        project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
        optional = [text for extra in project.get("optional-dependencies", {}).values() for text in extra]
        declared = {canonicalize_name(Requirement(text).name) for text in [*project["dependencies"], *optional]}
        assert _imported(folder) - declared == set(), f"{folder}: declare it, then run `make lock`"


def _closure(requirements: list[Requirement]) -> Iterator[str]:
    """Every package that the requirements bring on some system, by what the installed ones say of themselves."""
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        yield key[0]
        for text in _requires(key[0]):
            further = Requirement(text)
            extras = [e for e in ("", *requirement.extras) if _may_apply(further, e)]
            waiting += [further] if extras else []


def _requires(name: str) -> list[str]:
    try:
        return distribution(name).requires or []
    except ModuleNotFoundError:  # of another system
        return []


def _may_apply(requirement: Requirement, extra: str) -> bool:
    """Whether a requirement applies with this extra, on whatever system."""
    wanted = re.findall(r"extra == [\"']([^\"']+)[\"']", str(requirement.marker or ""))
    return not wanted or canonicalize_name(extra) in map(canonicalize_name, wanted)


@every_image
def test_the_lock_holds_nothing_that_the_image_does_not_need(image: str) -> None:
    needed = set(_closure([r for folder in PACKAGES[image] for r in _required(folder)]))

    assert _locked(image.removeprefix("plumbline-")).keys() - needed == set()


@every_image
def test_the_image_ships_the_versions_that_the_tests_run(image: str) -> None:
    tested, shipped = _locked("dev"), _locked(image.removeprefix("plumbline-"))

    assert {name: entry[0] for name, entry in shipped.items()} == {name: tested[name][0] for name in shipped}


@every_image
def test_the_lock_is_whole(image: str) -> None:
    """With `--require-hashes` a package that the lock lacks ends the build."""
    locked = _locked(image.removeprefix("plumbline-"))

    for name in [name for name, (_, everywhere) in locked.items() if everywhere]:
        for requirement in map(Requirement, distribution(name).requires or []):
            if requirement.marker is None:
                assert canonicalize_name(requirement.name) in locked, f"{name} needs {requirement}"


def test_the_tools_that_build_the_wheels_are_locked() -> None:
    wanted = [
        Requirement(line).name
        for line in (ROOT / "requirements" / "build.in").read_text().splitlines()
        if not line.startswith("#")
    ]

    assert set(wanted) <= _locked("build").keys()
    for folder in {folder for folders in PACKAGES.values() for folder in folders}:
        system = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["build-system"]
        assert set(system["requires"]) <= set(wanted)


def test_the_builder_sees_only_what_the_images_need() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    copied = {Path(c.split()[0]).parts[0] for i in IMAGES for s in (0, -1) for c in _instructions(i, "COPY", s)}

    assert rules[0] == "*"
    assert {rule[1:] for rule in rules if rule.startswith("!")} == {c for c in copied if not c.startswith("--from")}
    assert {"**/.*", "**/*.key", "**/*.pem"} <= set(rules)
