"""Findings in MongoDB, all of one evaluation."""

from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase
from plumbline_contracts.events import ControlResult

Document = dict[str, Any]


class ExportRepository:
    """The collection `findings`, read only."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._findings = database["findings"]

    async def results(self, tenant: str, instance: str, evaluation: str) -> dict[str, ControlResult]:
        """Control id to result; nothing when the evaluation is forgotten."""
        query = {"tenant": tenant, "instance": instance, "evaluation": evaluation}
        found = self._findings.find(query, {"results": 1})
        bodies = [body async for document in found for body in document["results"].values()]
        return {each.control_id: each for each in map(ControlResult.model_validate_json, bodies)}
