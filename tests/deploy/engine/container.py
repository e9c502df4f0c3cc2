"""Runs a service of the compose file from its image, as hardened as the file says, without an engine.

A mount name space gives it the read-only root, the tmpfs and the volumes; it runs as its user, without capabilities,
and cannot gain any. The network is this machine's: the addresses of the file are replaced by loopback ones.
"""

import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENTER = ("unshare", "--mount", "--ipc")
DEVICES = ("null", "zero", "urandom", "random")


@dataclass(frozen=True)
class Container:
    """One service: its definition as compose resolves it, the image's configuration, and the image's files."""

    service: dict[str, Any]
    image: dict[str, Any]
    root: Path
    volumes: Path
    replaced: dict[str, str] = field(default_factory=dict)

    def command(self) -> list[str]:
        """Entry point and arguments, the file's before the image's."""
        entry = self.service.get("entrypoint") or self.image.get("Entrypoint") or []
        arguments = (
            self.service.get("command") or ([] if self.service.get("entrypoint") else self.image.get("Cmd")) or []
        )
        return [self._replace(word) for word in (*entry, *arguments)]

    def health_command(self) -> list[str]:
        """The health check of the file, else of the image."""
        test = (self.service.get("healthcheck") or {}).get("test") or self.image["Healthcheck"]["Test"]
        return [self._replace(word) for word in test[1:]]

    def popen(self, command: list[str], output: int | Any = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start a command inside; the process is the command's own."""
        script = "\n".join(["set -e", *self._mounts(), self._entry(command)])
        return subprocess.Popen(
            [*ENTER, "sh", "-c", script], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, text=True
        )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end; standard error stands in its output."""
        process = self.popen(list(command))
        output, _ = process.communicate(timeout=120)
        return subprocess.CompletedProcess(command, process.returncode, output)

    def _replace(self, text: str) -> str:
        text = text.replace("$$", "$")  # as compose writes a dollar sign
        for old, new in self.replaced.items():
            text = text.replace(old, new)
        return text

    def _environment(self) -> dict[str, str]:
        image = dict(pair.split("=", 1) for pair in self.image["Env"])
        stated = self.service.get("environment") or {}
        return {name: self._replace(str(value)) for name, value in {**image, **stated}.items()}

    def _entry(self, command: list[str]) -> str:
        user, group = (self.service.get("user") or self.image["User"]).split(":")
        flags = [f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        if self.service.get("cap_drop") == ["ALL"]:
            flags += ["--bounding-set=-all", "--inh-caps=-all"]
        if "no-new-privileges:true" in self.service.get("security_opt", []):
            flags.append("--no-new-privs")
        variables = [f"{name}={value}" for name, value in self._environment().items()]
        inner = ["setpriv", *flags, "env", "-i", f"--chdir={self.image['WorkingDir']}", *variables, *command]
        return "exec " + shlex.join(["chroot", str(self.root), *inner])

    def _mounts(self) -> list[str]:
        root = shlex.quote(str(self.root))
        lines = ["mount --make-rprivate /", f"mount --bind {root} {root}", f"mount -t proc proc {root}/proc"]
        lines += [f"touch {root}/dev/{name}; mount --bind /dev/{name} {root}/dev/{name}" for name in DEVICES]
        for entry in self.service.get("tmpfs", []):
            target, _, options = entry.partition(":")
            lines.append(f"mkdir -p {root}{target}; mount -t tmpfs -o nosuid,nodev,{options} tmpfs {root}{target}")
        lines += [self._volume(volume) for volume in self.service.get("volumes", [])]
        lines += [
            self._bind(secret["file"], f"/run/secrets/{Path(secret['target']).name}", read_only=True)
            for secret in self.service.get("secrets", [])
        ]
        if self.service.get("read_only"):
            lines.append(f"mount -o remount,bind,ro {root}")
        return lines

    def _volume(self, volume: dict[str, Any]) -> str:
        target = volume["target"]
        if volume["type"] == "bind":
            return self._bind(volume["source"], target, read_only=bool(volume.get("read_only")))
        source = self.volumes / volume["source"]
        if not source.exists():  # an engine gives a new volume the owner and mode of the folder that it covers
            source.mkdir(parents=True)
            there = (self.root / target.lstrip("/")).stat()
            source.chmod(there.st_mode & 0o7777)
            subprocess.run(["chown", f"{there.st_uid}:{there.st_gid}", str(source)], check=True)
        return self._bind(str(source), target, read_only=bool(volume.get("read_only")))

    def _bind(self, source: str, target: str, *, read_only: bool) -> str:
        place = shlex.quote(f"{self.root}{target}")
        make = f"mkdir -p {place}" if Path(source).is_dir() else f"mkdir -p $(dirname {place}); touch {place}"
        remount = f"; mount -o remount,bind,ro {place}" if read_only else ""
        return f"{make}; mount --bind {shlex.quote(source)} {place}{remount}"
