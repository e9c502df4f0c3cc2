"""The catalogue in force. A folder that changes is loaded anew; what cannot be used leaves the last good one."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from prometheus_client import Gauge

from plumbline_evaluator.catalogue.loading import Catalogue, CatalogueError, load, nothing_in

log = structlog.get_logger(__name__)

PROBLEMS = Gauge("plumbline_evaluator_catalogue_problems", "Problems of the catalogue's folders as they are now")
CONTROLS = Gauge("plumbline_evaluator_catalogue_controls", "Controls in force", ["product"])

WATCH_SECONDS = 10.0
SHOWN_PROBLEMS = 20

Publish = Callable[[Catalogue, Catalogue], Awaitable[None]]
"""Publishes the definitions of the first catalogue that the second has not; returns when they are acknowledged."""


class Catalogues:
    """Loads the catalogue from its folders. Raises CatalogueError when the first one cannot be used."""

    def __init__(self, folder: Path, custom: Path | None) -> None:
        self._folders = [folder] if custom is None else [folder, custom]
        self._seen = _fingerprint(self._folders)
        self.current = load(*self._folders)
        self.problems: list[str] = []
        self._remark: str | None = None
        self._show()

    @property
    def status(self) -> str:
        """Lines for the health page: what is in force, and why the folders are not."""
        catalogue = self.current
        head = f"catalogue {catalogue.version}, generation {catalogue.generation}: {len(catalogue.controls)} controls"
        if not self.problems:
            return f"{head}\n{self._remark}\n" if self._remark else f"{head}\n"
        shown = [f"  {problem}" for problem in self.problems[:SHOWN_PROBLEMS]]
        rest = len(self.problems) - len(shown)
        more = [f"  and {rest} more"] if rest else []
        return "\n".join([f"{head}, the last good one; the folder cannot be used:", *shown, *more, ""])

    async def watch(self, publish: Publish) -> None:
        """Look at the folders for ever; a changed catalogue is published before it is in force."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            seen = await asyncio.to_thread(_fingerprint, self._folders)
            if seen != self._seen:
                await self._take(publish)
                self._seen = seen

    async def _take(self, publish: Publish) -> None:
        try:
            loaded = await asyncio.to_thread(load, *self._folders)
        except CatalogueError as error:
            self.problems = error.problems
            log.error(
                "the catalogue's folder cannot be used, the last good catalogue stays in force",
                problems=error.problems[:SHOWN_PROBLEMS],
                count=len(error.problems),
            )
        else:
            await publish(loaded, self.current)
            self.current, self.problems = loaded, []
            log.info("catalogue changed", controls=len(loaded.controls), digest=loaded.digest)
        self._show()

    def _show(self) -> None:
        custom = self._folders[1:]
        self._remark = nothing_in(custom[0]) if custom else None
        if self._remark:
            log.warning("the folder of custom controls changes nothing", remark=self._remark)
        PROBLEMS.set(len(self.problems))
        for product, plan in self.current.plans.items():
            CONTROLS.labels(product).set(len(plan.controls))


def _fingerprint(folders: list[Path]) -> str:
    """Changes when a YAML file of the folders comes, goes or is written."""
    found = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.y*ml")):
            try:
                state = path.stat()
            except OSError:
                continue
            found.update(f"{path}\0{state.st_ino}\0{state.st_mtime_ns}\0{state.st_size}\n".encode())
    return found.hexdigest()
