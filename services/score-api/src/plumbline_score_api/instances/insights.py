"""Which instances count: exactly one `main` per tenant and product."""

from plumbline_contracts.events import Insights, Product

from plumbline_score_api.instances.repository import Document, InsightsRepository, choices_of
from plumbline_score_api.problems import ConflictError, InvalidError

ATTEMPTS = 10


def chosen(entries: list[Document], instance: str, insights: Insights) -> list[Document]:
    """The choices after a person's for an instance. A new `main` turns the former one to `on`, for good. Pure."""
    others = [entry for entry in entries if entry["instance"] != instance]
    if insights is Insights.MAIN:
        turned = {"insights": Insights.ON.value, "by_person": True}
        others = [entry | turned if entry["insights"] == Insights.MAIN else entry for entry in others]
    known = next((entry for entry in entries if entry["instance"] == instance), {"instance": instance, "stated": None})
    return [*others, known | {"insights": insights.value, "by_person": True}]


def registered(entries: list[Document], instance: str, stated: Insights | None) -> list[Document]:
    """The choices when the connections file states `stated` for an instance, or is silent. Pure.

    What a person chose stands. Of the rest the one that the file calls `main` is it, else the first that it is silent
    about; the others are what the file says, else off. So the order in which instances come does not matter.
    """
    known = any(entry["instance"] == instance for entry in entries)
    new = {"instance": instance, "insights": Insights.OFF.value, "by_person": False}
    said = {"stated": stated.value if stated else None}
    listed = [
        entry | said if entry["instance"] == instance else entry for entry in (entries if known else [*entries, new])
    ]
    main = _main(listed)
    return [entry if entry["by_person"] else entry | {"insights": _by_file(entry, main)} for entry in listed]


def _main(entries: list[Document]) -> str | None:
    """The instance that is to be main; the present one when several could be."""
    by_file = [entry for entry in entries if not entry["by_person"]]
    for entry in entries:
        if entry["by_person"] and entry["insights"] == Insights.MAIN:
            return str(entry["instance"])
    by_file.sort(key=lambda entry: entry["insights"] != Insights.MAIN)
    for wish in (Insights.MAIN.value, None):
        for entry in by_file:
            if entry.get("stated") == wish:
                return str(entry["instance"])
    return str(by_file[0]["instance"]) if by_file else None


def _by_file(entry: Document, main: str | None) -> str:
    if entry["instance"] == main:
        return Insights.MAIN.value
    stated = entry.get("stated")
    return Insights.ON.value if stated == Insights.MAIN else str(stated or Insights.OFF.value)


class InsightsService:
    """Changes the choices with compare-and-set."""

    def __init__(self, repository: InsightsRepository) -> None:
        self._repository = repository

    async def read(self, tenant: str, product: Product) -> dict[str, Insights]:
        """Instance to insights."""
        return choices_of((await self._repository.read(tenant, product))[1])

    async def introduce(self, tenant: str, product: Product, instance: str) -> None:
        """An instance was seen, but not what the connections file says of it. Raises ConflictError on a race."""
        if instance not in await self.read(tenant, product):
            await self.register(tenant, product, instance, None)

    async def register(self, tenant: str, product: Product, instance: str, stated: Insights | None) -> None:
        """The connections file states `stated` for an instance. Raises ConflictError on a race."""
        for _ in range(ATTEMPTS):
            revision, entries = await self._repository.read(tenant, product)
            wanted = registered(entries, instance, stated)
            if wanted == entries or await self._repository.replace(tenant, product, revision, wanted):
                return
        raise ConflictError("The insights are being changed by others; try again.")

    async def choose(self, tenant: str, product: Product, instance: str, insights: Insights) -> None:
        """A person's choice. Raises InvalidError when nothing would be main, ConflictError on a race."""
        for _ in range(ATTEMPTS):
            revision, entries = await self._repository.read(tenant, product)
            wanted = chosen(entries, instance, insights)
            if Insights.MAIN not in choices_of(wanted).values():
                raise InvalidError(f"{instance} is the main instance; make another one main first.")
            if wanted == entries or await self._repository.replace(tenant, product, revision, wanted):
                return
        raise ConflictError("The insights are being changed by others; try again.")
