"""A bare FastAPI application that answers from memory, in the server of the score API.

`python -m tests.bench.bare_api PORT FOLDER`: `GET /NAME` answers the bytes of the file NAME of the folder as JSON.
"""

import sys
from pathlib import Path

import uvloop
from fastapi import FastAPI, Response
from plumbline_score_api import app as composition
from plumbline_score_api.settings import Settings


def _app(folder: Path) -> FastAPI:
    app = FastAPI()
    bodies = {file.name: file.read_bytes() for file in folder.iterdir()}

    @app.get("/{name}")
    async def from_memory(name: str) -> Response:
        return Response(bodies[name], media_type="application/json")

    return app


def main(port: int, folder: Path) -> None:
    """Serve until a signal."""
    settings = Settings.model_validate({"port": port})
    uvloop.run(composition.http_server(_app(folder), settings).serve(sockets=[composition.listen(settings)]))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
