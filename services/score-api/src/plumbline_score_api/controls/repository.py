"""The control definitions in MongoDB. They belong to no tenant."""

from collections.abc import Iterable
from typing import Any

from motor.motor_asyncio import AsyncIOMotorDatabase
from plumbline_contracts.events import ControlDefinition

Document = dict[str, Any]
AT_ONCE = 200


class ControlRepository:
    """The collection `controls`, read only."""

    def __init__(self, database: AsyncIOMotorDatabase[Document]) -> None:
        self._controls = database["controls"]

    async def generations(self) -> dict[str, int]:
        """Key (`control_id@digest`) to the generation of the catalogue that last had it."""
        found = self._controls.find({}, {"generation": 1})
        return {document["_id"]: document["generation"] async for document in found}

    async def definitions(self, keys: Iterable[str]) -> dict[str, ControlDefinition]:
        """Definitions by key."""
        names, found = list(keys), dict[str, ControlDefinition]()
        for start in range(0, len(names), AT_ONCE):
            async for document in self._controls.find({"_id": {"$in": names[start : start + AT_ONCE]}}):
                found[document["_id"]] = ControlDefinition.model_validate_json(document["body"])
        return found
