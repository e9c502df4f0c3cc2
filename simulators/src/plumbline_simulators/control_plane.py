"""The simulator's own routes below `/__simulator`: settings, faults, counters. No real product has them."""

import difflib
import json
from collections import Counter
from pathlib import Path
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from plumbline_simulators.faults import CONTROL_PLANE, KINDS, Fault, FaultBox


class UnknownSettingError(KeyError):
    """No setting of this name."""


class Settable(Protocol):
    """An org whose settings can be changed."""

    def settings(self) -> dict[str, Any]:
        """Every setting by the name that `change` takes."""

    def change(self, name: str, value: Any) -> None:  # noqa: ANN401 - any JSON
        """Change one setting and write the audit trail. Raises UnknownSettingError."""

    def expire_tokens(self) -> None:
        """Make every issued token invalid."""


class Changes:
    """What was changed while running, kept in a file so that it survives a restart."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._made: dict[str, Any] = json.loads(path.read_text()) if path and path.is_file() else {}

    def replay(self, org: Settable) -> None:
        """Make all kept changes again."""
        for name, value in self._made.items():
            org.change(name, value)

    def keep(self, name: str, value: Any) -> None:  # noqa: ANN401 - any JSON
        """Remember a change."""
        self._made[name] = value
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft = self._path.with_suffix(".new")
            draft.write_text(json.dumps(self._made))
            draft.replace(self._path)


def _nearest(name: str, org: Settable) -> list[str]:
    return difflib.get_close_matches(name, org.settings().keys(), n=5, cutoff=0.3)


def routes(org: Settable, box: FaultBox, requests: Counter[str], changes: Changes) -> list[Route]:
    """The control plane's routes."""

    async def state(_: Request) -> Response:
        return JSONResponse({"settings": org.settings(), "faults": [vars(fault) for fault in box.faults]})

    async def put_setting(request: Request) -> Response:
        name, value = request.path_params["name"], (await request.json())["value"]
        try:
            org.change(name, value)
        except UnknownSettingError:
            return JSONResponse({"error": f"no setting {name}", "nearest": _nearest(name, org)}, 404)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, 422)
        changes.keep(name, value)
        return JSONResponse({"name": name, "value": value})

    async def put_faults(request: Request) -> Response:
        wanted = [Fault(**entry) for entry in await request.json()]
        if unknown := [fault.kind for fault in wanted if fault.kind not in KINDS]:
            return JSONResponse({"error": f"no fault {unknown[0]}", "kinds": list(KINDS)}, 422)
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
        Route(f"{CONTROL_PLANE}/faults", put_faults, methods=["PUT"]),
        Route(f"{CONTROL_PLANE}/faults", delete_faults, methods=["DELETE"]),
        Route(f"{CONTROL_PLANE}/requests", counters),
    ]
