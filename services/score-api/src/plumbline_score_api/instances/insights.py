"""Which instances count: exactly one `main` per tenant and product."""

from plumbline_contracts.events import Insights, Product

from plumbline_score_api.instances.repository import Document, InsightsRepository, choices_of
from plumbline_score_api.problems import ConflictError, InvalidError

ATTEMPTS = 10


def chosen(entries: list[Document], instance: str, insights: Insights, *, by_person: bool) -> list[Document]:
    """The choices after one for an instance. A new `main` turns the former one to `on`. Pure."""
    others = [entry for entry in entries if entry["instance"] != instance]
    if insights is Insights.MAIN:
        others = [
            entry | {"insights": Insights.ON.value} if entry["insights"] == Insights.MAIN else entry for entry in others
        ]
    return [*others, {"instance": instance, "insights": insights.value, "by_person": by_person}]


def registered(entries: list[Document], instance: str, stated: Insights | None) -> list[Document]:
    """The choices when the connections file states `stated` for an instance. Pure.

    What a person chose stands. The first instance of a product is `main`; the file moves `main` only from where the
    file, or nobody, put it.
    """
    known = next((entry for entry in entries if entry["instance"] == instance), None)
    main = next((entry for entry in entries if entry["insights"] == Insights.MAIN), None)
    if known is not None and (known["by_person"] or stated is None or stated == known["insights"]):
        return entries
    if main is None:
        return chosen(entries, instance, Insights.MAIN, by_person=False)
    if stated is Insights.MAIN and main["by_person"]:
        return chosen(entries, instance, Insights.ON, by_person=False)
    if known is not None and known["insights"] == Insights.MAIN and stated is not Insights.MAIN:
        return entries
    return chosen(entries, instance, stated or Insights.OFF, by_person=False)


class InsightsService:
    """Changes the choices with compare-and-set."""

    def __init__(self, repository: InsightsRepository) -> None:
        self._repository = repository

    async def read(self, tenant: str, product: Product) -> dict[str, Insights]:
        """Instance to insights."""
        return choices_of((await self._repository.read(tenant, product))[1])

    async def register(self, tenant: str, product: Product, instance: str, stated: Insights | None) -> None:
        """An instance was seen, with what the connections file says of it."""
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
            if insights is not Insights.MAIN and choices_of(entries).get(instance) is Insights.MAIN:
                raise InvalidError(f"{instance} is the main instance; make another one main first.")
            if await self._repository.replace(
                tenant, product, revision, chosen(entries, instance, insights, by_person=True)
            ):
                return
        raise ConflictError("The insights are being changed by others; try again.")
