"""The real tools: buildah builds the images, docker compose reads the file. What is missing is an error."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy.compose import IMAGES, ROOT

CACHE = ROOT / ".cache"
COMPOSE = CACHE / "bin" / "docker-compose-5.0.2"
BASE = "localhost/plumbline-test-base:12"
PACKAGES = ("ca-certificates", "python3", "python3-venv", "python-is-python3")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
BASE_FILE = """\
FROM scratch
ADD base.tar /
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY pip.conf /etc/pip.conf
"""


class MissingToolError(RuntimeError):
    """A tool is not there; the message has the command that installs it."""


def _need(name: str, how: str) -> str:
    if found := shutil.which(name):
        return found
    raise MissingToolError(f"{name} is not installed; {how}")


def run(*command: str, **options: Any) -> str:
    """Standard output of a command; AssertionError with all that it said when it fails."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{(done.stdout + done.stderr)[-4000:]}"
    return done.stdout


def compose_config(*, profiles: str = "simulators") -> dict[str, Any]:
    """The project as docker compose resolves it. Raises MissingToolError."""
    if not COMPOSE.is_file():
        raise MissingToolError(f"{COMPOSE} is missing; `make test-deploy` builds it with Go")
    environment = {"PATH": os.environ["PATH"], "COMPOSE_PROFILES": profiles}
    resolved = json.loads(run(str(COMPOSE), "config", "--format=json", cwd=ROOT, env=environment))
    assert isinstance(resolved, dict)
    return resolved


def _pip_settings() -> str:
    """A company's base brings its mirror and its certificates; so does this one, from this machine."""
    lines = ["[global]", f"cert = {CERTIFICATES}"]
    lines += [f"index-url = {url}" for url in [os.environ.get("PIP_INDEX_URL")] if url]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Buildah:
    """Builds images into a store below `.cache`, without a daemon. Needs root."""

    store: Path = CACHE / "containers"

    def __post_init__(self) -> None:
        for name in ("buildah", "mmdebstrap"):
            _need(name, "run: apt-get install --no-install-recommends buildah mmdebstrap")
        if os.geteuid() != 0:
            raise MissingToolError("images are built and run here by root alone; run: sudo make test-deploy")

    def __call__(self, *arguments: str) -> str:
        return run("buildah", f"--root={self.store}", f"--runroot={self.store}-run", *arguments, cwd=ROOT)

    def has(self, image: str) -> bool:
        """Whether the store holds the image."""
        return image in self("images", "--format={{.Name}}:{{.Tag}}").split()

    def build_base(self) -> None:
        """A Debian 12 with Python in place of the published base; made once."""
        if self.has(BASE):
            return
        context = CACHE / "base"
        context.mkdir(parents=True, exist_ok=True)
        tar = context / "base.tar"
        run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}", "bookworm", str(tar))
        (context / "Dockerfile").write_text(BASE_FILE)
        (context / CERTIFICATES.name).write_bytes(CERTIFICATES.read_bytes())
        (context / "pip.conf").write_text(_pip_settings())
        self("bud", "--isolation=chroot", "--format=docker", "--pull-never", f"--tag={BASE}", str(context))
        shutil.rmtree(context)

    def build(self, image: str) -> str:
        """Build an image of this repository as compose would, on the local base; its name in the store."""
        name = f"localhost/{image}:test"
        self(
            "bud",
            "--isolation=chroot",
            "--format=docker",
            "--pull-never",
            "--layers",
            f"--build-arg=PYTHON_IMAGE={BASE}",
            f"--file={IMAGES[image]}",
            f"--tag={name}",
            str(ROOT),
        )
        return name

    def config(self, image: str) -> dict[str, Any]:
        """What the image says of itself: user, entry point, variables, labels, health check."""
        inspected = json.loads(self("inspect", "--type=image", image))
        config = inspected["Docker"]["config"]
        assert isinstance(config, dict)
        return config
