"""Exports over a real connection: flat memory, clients that leave, answers that break."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from plumbline_contracts.events import ExposedEntity, Outcome
from plumbline_score_api import app as composition
from plumbline_score_api.app import Database
from plumbline_score_api.projection.evaluations import Evaluation
from plumbline_score_api.projection.repository import EXPOSED_PER_DOCUMENT, ProjectionRepository

from tests.integration.score_api.events import Judged, definition, result
from tests.integration.score_api.in_process import upkeep_of
from tests.integration.score_api.stage import Running, Stage
from tests.polling import until

CONTROLS = [f"C-{number:02d}" for number in range(20)]
PER_CONTROL = 5_000
EXPOSED = "/v1/exports/exposed-entities"


async def _fill(database: Database, _: Any) -> None:
    """100,000 exposed entities, of which every 500 are the same: written as the projection writes them."""
    await composition.prepare(database)
    projection, repository = upkeep_of(database).projection, ProjectionRepository(database)
    await projection.take_definitions([definition(control) for control in CONTROLS])
    judged = Judged(1, [result(control, Outcome.FAIL, exposed=PER_CONTROL) for control in CONTROLS])
    parts = judged.parts()
    for part in parts:
        await projection.take_part(part.model_copy(update={"exposed": []}))
    entities = [
        ExposedEntity(id=f"{n:018d}", name=f"user{n}@contoso.example", type="salesforce/user", detail={"idle_days": n})
        for n in range(EXPOSED_PER_DOCUMENT)
    ]
    for control in CONTROLS:
        slices = [(control, number, entities) for number in range(PER_CONTROL // EXPOSED_PER_DOCUMENT)]
        await repository.write_exposed("contoso", Evaluation.of(parts[-1]), slices)


@pytest.fixture
def served(stage: Stage) -> tuple[Running, httpx.Client]:
    """The API with 100,000 exposed entities."""
    stage.ask(_fill)
    return stage.serve()


def _peak_bytes(running: Running) -> int:
    text = Path(f"/proc/{running.process.pid}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in text.splitlines() if line.startswith("VmHWM")))


def _read(client: httpx.Client, chunks: list[bytes], **params: str) -> None:
    """Read an export; what came stands in `chunks`, whatever happens."""
    with client.stream("GET", EXPOSED, params={"format": "ndjson", **params}) as answer:
        assert answer.status_code == 200
        chunks.extend(answer.iter_raw())


def _lines(chunks: list[bytes]) -> int:
    return sum(chunk.count(b"\n") for chunk in chunks)


def test_a_hundred_thousand_entities_take_no_more_memory_than_five_thousand(
    served: tuple[Running, httpx.Client],
) -> None:
    running, client = served
    few: list[bytes] = []
    many: list[bytes] = []
    _read(client, few, control=CONTROLS[0])
    before = _peak_bytes(running)
    _read(client, many)
    assert (_lines(few), _lines(many)) == (PER_CONTROL, len(CONTROLS) * PER_CONTROL)
    assert (_peak_bytes(running) - before) / sum(map(len, many)) < 0.2


def test_a_client_that_leaves_ends_the_export(served: tuple[Running, httpx.Client]) -> None:
    running, client = served
    for _ in range(6):  # more than one tenant may have at once
        with client.stream("GET", EXPOSED) as answer:
            assert answer.status_code == 200
            next(answer.iter_raw())
        until(
            lambda: running.metric("plumbline_score_api_exports_running") == 0, within_seconds=20, what="it has ended"
        )
    assert running.metric('plumbline_score_api_exports_total{end="left",what="exposed-entities"}') == 6
    assert client.get("/v1/products").status_code == 200


def test_an_answer_that_fails_on_the_way_breaks_the_connection(
    stage: Stage, served: tuple[Running, httpx.Client]
) -> None:
    running, client = served

    async def spoil(database: Database, _: Any) -> None:
        await database["exposed"].update_many({"control_id": CONTROLS[-1]}, {"$set": {"body": "{broken"}})

    stage.ask(spoil)
    chunks: list[bytes] = []
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
        _read(client, chunks)
    assert 50_000 < _lines(chunks) < len(CONTROLS) * PER_CONTROL
    assert running.metric('plumbline_score_api_exports_total{end="broken",what="exposed-entities"}') == 1
    assert client.get("/v1/products").status_code == 200
    assert [line["what"] for line in running.lines("export broke off")] == ["exposed-entities"]
    assert "{broken" not in json.dumps(running.lines("request failed"))
