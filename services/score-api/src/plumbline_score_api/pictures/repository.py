"""What pictures are made of, in MongoDB: pointers, controls, definitions."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase
from plumbline_contracts.events import ControlDefinition, Product

from plumbline_score_api.pictures.control import CONTROLS, Control

Document = dict[str, Any]
_POINTER = {
    "instance": 1, "product": 1, "current.key": 1, "current.evaluated_at": 1, "current.reopened": 1,
    "current.stale_at": 1, "current.clock": 1,
}  # fmt: skip
_CONNECTED = {"is_disconnected": {"$ne": True}}
AT_ONCE = 100


@dataclass(frozen=True)
class Pointer:
    """Which evaluation of an instance readers see; `reopened` is control id to the decision that it contradicts.

    `stale_at` is when the instance becomes stale as a whole, `clock` up to when time has done its work.
    """

    instance: str
    product: Product
    evaluation: str | None
    evaluated_at: datetime | None
    reopened: dict[str, str] = field(default_factory=dict)
    stale_at: datetime | None = None
    clock: datetime | None = None


class PictureRepository:
    """The collections `instances`, `pictures` and `controls`, read only."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._instances, self._pictures = database["instances"], database["pictures"]
        self._controls = database["controls"]

    async def pointers(self, tenant: str) -> list[Pointer]:
        """Of every instance of the tenant, by name."""
        found = self._instances.find({"tenant": tenant, **_CONNECTED}, _POINTER).sort("_id", 1)
        return [_pointer(document) async for document in found]

    async def pointer(self, tenant: str, instance: str) -> Pointer | None:
        """Of one instance."""
        mine = {"_id": f"{tenant}/{instance}", "tenant": tenant, **_CONNECTED}
        document = await self._instances.find_one(mine, _POINTER)
        return _pointer(document) if document else None

    async def controls(self, tenant: str, evaluations: Iterable[tuple[str, str]]) -> dict[str, list[Control]]:
        """Evaluation to its controls, of pairs (instance, evaluation); what is forgotten is left out."""
        identities = [f"{tenant}/{instance}/{evaluation}" for instance, evaluation in evaluations]
        found: dict[str, list[Control]] = {}
        for start in range(0, len(identities), AT_ONCE):
            query = {"_id": {"$in": identities[start : start + AT_ONCE]}, "tenant": tenant}
            async for document in self._pictures.find(query):
                found[document["evaluation"]] = CONTROLS.validate_json(document["body"])
        return found

    async def definitions(self, keys: Iterable[str]) -> dict[str, ControlDefinition]:
        """Definitions by `control_id@digest`; they belong to no tenant."""
        found = self._controls.find({"_id": {"$in": list(keys)}})
        return {document["_id"]: ControlDefinition.model_validate_json(document["body"]) async for document in found}


def _pointer(document: Document) -> Pointer:
    current = document.get("current") or {}
    return Pointer(
        instance=document["instance"],
        product=Product(document["product"]),
        evaluation=current.get("key"),
        evaluated_at=current.get("evaluated_at"),
        reopened={entry["control_id"]: entry["decision_id"] for entry in current.get("reopened", [])},
        stale_at=current.get("stale_at"),
        clock=current.get("clock"),
    )
