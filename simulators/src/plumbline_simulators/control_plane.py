"""The simulator's own routes below `/__simulator`: settings, faults, counters. No real product has them."""

import difflib
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from plumbline_simulators.faults import CONTROL_PLANE, EFFECTS, KINDS, Fault, FaultBox

log = logging.getLogger(__name__)


class UnknownSettingError(ValueError):
    """No setting of this name."""


class Settable(Protocol):
    """An org whose settings can be changed."""

    def settings(self) -> dict[str, Any]:
        """Every setting by the name that `change` takes."""

    def change(self, name: str, value: Any) -> None:  # noqa: ANN401 - any JSON
        """Change one setting and write the audit trail.

        Raises UnknownSettingError, and ValueError when the value does not fit.
        """

    def expire_tokens(self) -> None:
        """Make every issued token invalid."""


class Changes:
    """What was changed while running, kept in a file so that it survives a restart."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._made: dict[str, Any] = self._read(path) if path and path.is_file() else {}

    @staticmethod
    def _read(path: Path) -> dict[str, Any]:
        """The kept changes; a damaged file is put aside, and the org is as it was seeded."""
        try:
            made = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(made, dict):
                raise ValueError("expected an object of settings")
        except ValueError as error:
            aside = path.replace(path.with_suffix(".damaged"))
            log.warning("%s is damaged (%s) and was moved to %s; all settings are as seeded", path, error, aside)
            return {}
        return made

    def replay(self, org: Settable) -> None:
        """Make all kept changes again; those that no longer fit are left out."""
        for name, value in list(self._made.items()):
            try:
                org.change(name, value)
            except ValueError as error:
                log.warning("the kept change of %s to %r is left out: %s", name, value, error)
                del self._made[name]

    def keep(self, name: str, value: Any) -> None:  # noqa: ANN401 - any JSON
        """Remember a change."""
        self._made[name] = value
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft = self._path.with_suffix(".new")
            draft.write_text(json.dumps(self._made))
            draft.replace(self._path)


def _unknown(name: str, org: Settable) -> JSONResponse:
    nearest = difflib.get_close_matches(name, org.settings().keys(), n=5, cutoff=0.5)
    hint = f"; did you mean {', '.join(nearest)}?" if nearest else "; `plumbline simulate get INSTANCE` shows all"
    return JSONResponse({"error": f"no setting {name}{hint}"}, 404)


def routes(org: Settable, box: FaultBox, requests: Counter[str], changes: Changes) -> list[Route]:
    """The control plane's routes."""

    async def state(_: Request) -> Response:
        return JSONResponse({"settings": org.settings(), "faults": [vars(fault) for fault in box.faults]})

    async def put_setting(request: Request) -> Response:
        name = request.path_params["name"]
        try:
            value = (await request.json())["value"]
            org.change(name, value)
        except UnknownSettingError:
            return _unknown(name, org)
        except (ValueError, KeyError, TypeError) as error:
            return JSONResponse({"error": str(error)}, 422)
        try:
            changes.keep(name, value)
        except OSError as error:
            return JSONResponse({"error": f"{name} is changed, but that could not be kept: {error}"}, 507)
        return JSONResponse({"name": name, "value": org.settings().get(name, value)})

    async def get_faults(_: Request) -> Response:
        return JSONResponse({"kinds": EFFECTS, "faults": [vars(fault) for fault in box.faults]})

    async def put_faults(request: Request) -> Response:
        try:
            wanted = [Fault(**entry) for entry in await request.json()]
        except (ValueError, TypeError) as error:
            return JSONResponse({"error": f"expected a list of faults: {error}"}, 422)
        if unknown := [fault.kind for fault in wanted if fault.kind not in KINDS]:
            return JSONResponse({"error": f"no fault {unknown[0]}; there are: {', '.join(KINDS)}"}, 422)
        box.faults[:] = wanted
        return JSONResponse({"faults": len(wanted)})

    async def delete_faults(_: Request) -> Response:
        box.faults.clear()
        return Response(status_code=204)

    async def counters(_: Request) -> Response:
        return JSONResponse(dict(requests))

    return [
        Route(f"{CONTROL_PLANE}/state", state),
        Route(f"{CONTROL_PLANE}/settings/{{name:path}}", put_setting, methods=["PUT"]),
        Route(f"{CONTROL_PLANE}/faults", get_faults),
        Route(f"{CONTROL_PLANE}/faults", put_faults, methods=["PUT"]),
        Route(f"{CONTROL_PLANE}/faults", delete_faults, methods=["DELETE"]),
        Route(f"{CONTROL_PLANE}/requests", counters),
    ]
