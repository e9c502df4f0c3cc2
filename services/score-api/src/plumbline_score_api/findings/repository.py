"""What events tell of findings besides their lifecycle, in MongoDB, and requests to tell everything again."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase
from plumbline_contracts.events import ControlResult, ExposedEntity
from pydantic import TypeAdapter
from pydantic_core import from_json

from plumbline_score_api.recommendations.repository import field_of

Document = dict[str, Any]
_ENTITIES = TypeAdapter(list[ExposedEntity])
_CONTEXT = {"status": 1, "current.key": 1, "current.evaluation_id": 1, "current.snapshot_id": 1}


@dataclass(frozen=True)
class Context:
    """An instance and what was measured, as far as it is still there. The mappings are by control id."""

    url: str | None = None
    evaluation_id: str | None = None
    snapshot_id: str | None = None
    results: Mapping[str, ControlResult] = field(default_factory=dict)
    entities: Mapping[str, list[ExposedEntity]] = field(default_factory=dict)


@dataclass(frozen=True)
class Replay:
    """A request to tell the findings of an instance again. `since` is the oldest last event of those that are told."""

    tenant: str
    instance: str
    request: str
    since: datetime | None


class FindingRepository:
    """The collections `instances`, `findings` and `exposed`, read only, and `finding_replays`."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._instances = database["instances"]
        self._findings, self._exposed = database["findings"], database["exposed"]
        self._replays = database["finding_replays"]

    async def context(
        self, tenant: str, instance: str, evaluation: str | None, controls: Iterable[str], exposing: Iterable[str]
    ) -> Context:
        """What is known of some controls in an evaluation; nothing measured once that is forgotten.

        `exposing` are those that have exposed entities.
        """
        wanted = sorted(set(controls))
        mine = {"_id": f"{tenant}/{instance}", "tenant": tenant}
        found, results, entities = await asyncio.gather(
            self._instances.find_one(mine, _CONTEXT),
            self._results(tenant, instance, evaluation, wanted),
            self._entities(tenant, instance, evaluation, sorted(set(exposing))),
        )
        document = found or {}
        current = document.get("current") or {}
        is_current = current.get("key") == evaluation
        return Context(
            url=from_json(document["status"])["url"] if document.get("status") else None,
            evaluation_id=current.get("evaluation_id") if is_current else None,
            snapshot_id=current.get("snapshot_id") if is_current else None,
            results=results,
            entities=entities,
        )

    async def _results(
        self, tenant: str, instance: str, evaluation: str | None, wanted: list[str]
    ) -> dict[str, ControlResult]:
        if evaluation is None:
            return {}
        query = {"tenant": tenant, "evaluation": evaluation, "instance": instance}
        found = self._findings.find(query, {f"results.{field_of(name)}": 1 for name in wanted})
        bodies = [body async for document in found for body in document.get("results", {}).values()]
        return {each.control_id: each for each in map(ControlResult.model_validate_json, bodies)}

    async def _entities(
        self, tenant: str, instance: str, evaluation: str | None, wanted: list[str]
    ) -> dict[str, list[ExposedEntity]]:
        """The first exposed entities of each."""
        if evaluation is None or not wanted:
            return {}
        names = [f"{tenant}/{instance}/{evaluation}/{name}/0" for name in wanted]
        found = self._exposed.find({"_id": {"$in": names}, "tenant": tenant})
        return {document["control_id"]: _ENTITIES.validate_json(document["body"]) async for document in found}

    # --- requests to tell everything again

    async def request(self, tenant: str, instances: Iterable[str], request: str, since: datetime | None) -> None:
        """Ask for a replay; a later request for an instance takes the place of an earlier one."""
        for name in instances:
            fields = {"tenant": tenant, "instance": name, "request": request, "since": since}
            await self._replays.replace_one({"_id": f"{tenant}/{name}"}, fields, upsert=True)

    async def requested(self) -> list[Replay]:
        """What is asked for and not done, in the order of the instances: all tenants', for the projector alone."""
        found = self._replays.find({}).sort("_id", 1)
        return [Replay(d["tenant"], d["instance"], d["request"], d["since"]) async for d in found]

    async def waiting(self, tenant: str, request: str) -> int:
        """Of how many instances a request is not done."""
        return await self._replays.count_documents({"tenant": tenant, "request": request})

    async def withdraw(self, tenant: str, request: str) -> int:
        """Drop what of a request is not done; of how many instances."""
        done = await self._replays.delete_many({"tenant": tenant, "request": request})
        return int(done.deleted_count)

    async def replayed(self, tenant: str, replay: Replay) -> None:
        """A replay is done."""
        name = f"{tenant}/{replay.instance}"
        await self._replays.delete_one({"_id": name, "tenant": tenant, "request": replay.request})
