"""Findings, their exposed entities, and what products say was changed, in MongoDB, as readers see them."""

from datetime import datetime
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase
from plumbline_contracts.events import AuditEntry, ControlResult

Document = dict[str, Any]


def field_of(control_id: str) -> str:
    """A control id as a field's name, in which a dot would be a path."""
    return control_id.replace(".", "~")


class RecommendationRepository:
    """The collections `findings`, `exposed` and `setting_changes`, read only."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._findings, self._exposed = database["findings"], database["exposed"]
        self._setting_changes = database["setting_changes"]

    async def result(self, tenant: str, instance: str, evaluation: str, control_id: str) -> ControlResult | None:
        """The result of a control in an evaluation, with its evidence."""
        name = field_of(control_id)
        mine = {"tenant": tenant, "instance": instance, "evaluation": evaluation}
        query = {**mine, f"results.{name}": {"$exists": True}}
        document = await self._findings.find_one(query, {f"results.{name}": 1})
        return ControlResult.model_validate_json(document["results"][name]) if document else None

    async def exposed(
        self, tenant: str, instance: str, evaluation: str, control_id: str, number: int
    ) -> Document | None:
        """One document of exposed entities; they are numbered from 0."""
        identity = f"{tenant}/{instance}/{evaluation}/{control_id}/{number}"
        return await self._exposed.find_one({"_id": identity, "tenant": tenant})

    async def setting_changes(self, tenant: str, instance: str, since: datetime | None, limit: int) -> list[AuditEntry]:
        """What the product's audit trail said of an instance since a moment, the newest first."""
        query: Document = {"tenant": tenant, "instance": instance}
        if since is not None:
            query["at"] = {"$gte": since}
        found = self._setting_changes.find(query).sort("at", -1).limit(limit)
        return [AuditEntry.model_validate_json(document["body"]) async for document in found]
