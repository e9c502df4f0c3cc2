"""`docker-compose.yml` as a container engine would see it, read without one."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::\?[^}]*)?\}")
ONCE = ("topics", "api-key")
IMAGES = {
    "plumbline-collector": ROOT / "services/collector/Dockerfile",
    "plumbline-evaluator": ROOT / "services/evaluator/Dockerfile",
    "plumbline-score-api": ROOT / "services/score-api/Dockerfile",
    "plumbline-simulators": ROOT / "simulators/Dockerfile",
}
"""Image name to Dockerfile."""


@cache
def dotenv() -> dict[str, str]:
    """The variables of `.env`."""
    lines = (ROOT / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _interpolated(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _interpolated(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_interpolated(entry) for entry in value]
    if isinstance(value, str):
        return VARIABLE.sub(lambda match: dotenv()[match.group(1)], value).replace("$$", "$")
    return value


@cache
def document() -> dict[str, Any]:
    """The file with its anchors merged and the variables of `.env` in place."""
    content = _interpolated(yaml.safe_load(FILE.read_text()))
    assert isinstance(content, dict)
    return content


def services() -> dict[str, Any]:
    """Name to definition."""
    found = document()["services"]
    assert isinstance(found, dict)
    return found


def ours() -> list[str]:
    """The services that run an image of this repository."""
    return [name for name, service in services().items() if image_name(service) in IMAGES]


def image_name(service: dict[str, Any]) -> str:
    """The image without its tag."""
    return str(service["image"]).rpartition(":")[0]


def environment(service: str) -> dict[str, str]:
    """What a process of the service finds: the image's variables, then the file's."""
    definition = services()[service]
    stated = {name: str(value) for name, value in definition.get("environment", {}).items()}
    dockerfile = IMAGES.get(image_name(definition))
    return (image_environment(dockerfile) if dockerfile else {}) | stated


def stages(dockerfile: Path) -> list[list[str]]:
    """The instructions of each stage, continued lines joined, comments left out."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#")]
    instructions = [line for line in re.sub(r"\s*\\\n\s*", " ", "\n".join(lines)).splitlines() if line]
    found: list[list[str]] = [[]]
    for instruction in instructions:
        if instruction.startswith("FROM "):
            found.append([])
        found[-1].append(instruction)
    return found[1:]


def image_environment(dockerfile: Path) -> dict[str, str]:
    """The variables that the last stage sets."""
    lines = [line.removeprefix("ENV ") for line in stages(dockerfile)[-1] if line.startswith("ENV ")]
    return dict(pair.split("=", 1) for line in lines for pair in line.split())


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Target to source of its volumes."""
    pairs = (entry.split(":") for entry in service.get("volumes", []))
    return {target: source for source, target, *_ in pairs}
