"""Which instances count: exactly one `main` per tenant and product."""

from datetime import UTC, datetime

from plumbline_contracts import ids
from plumbline_contracts.events import Insights, Product

from plumbline_score_api.audit.repository import AuditRepository
from plumbline_score_api.audit.schemas import Action, AuditEntry, Author
from plumbline_score_api.instances.disconnection import Disconnection
from plumbline_score_api.instances.repository import Document, InsightsRepository, choices_of
from plumbline_score_api.problems import ConflictError, InvalidError

ATTEMPTS = 10
CONNECTIONS_FILE = "connections file"
"""Who chose where no person did."""


def chosen(
    entries: list[Document], instance: str, insights: Insights, who: Author, note: str | None = None
) -> list[Document]:
    """The choices after a person's for an instance. A new `main` turns the former one to `on`, for good. Pure."""
    author = {"by_person": True, "by": who.name, "note": note}
    others = [entry for entry in entries if entry["instance"] != instance]
    if insights is Insights.MAIN:
        turned = {"insights": Insights.ON.value, **author}
        others = [entry | turned if entry["insights"] == Insights.MAIN else entry for entry in others]
    known = next((entry for entry in entries if entry["instance"] == instance), {"instance": instance, "stated": None})
    return [*others, known | {"insights": insights.value, **author}]


def registered(entries: list[Document], instance: str, stated: Insights | None) -> list[Document]:
    """The choices when the connections file states `stated` for an instance, or is silent. Pure.

    What a person chose stands. Of the rest the one that the file calls `main` is it, else the first that it is silent
    about; the others are what the file says, else off. So the order in which instances come does not matter.
    """
    entries = [entry for entry in entries if entry["instance"] != instance or not entry.get("is_gone")]
    known = any(entry["instance"] == instance for entry in entries)
    new = {"instance": instance, "insights": Insights.OFF.value, "by_person": False}
    said = {"stated": stated.value if stated else None}
    listed = [
        entry | said if entry["instance"] == instance else entry for entry in (entries if known else [*entries, new])
    ]
    main = _main(listed)
    return [
        entry if entry["by_person"] or entry.get("is_gone") else entry | {"insights": _by_file(entry, main)}
        for entry in listed
    ]


def left(entries: list[Document], instance: str, who: Author, note: str) -> list[Document]:
    """The choices after an instance was disconnected. It stays among them as `is_gone`, and off. Pure.

    If it was main another one is: as the file says, else one that counts, else the first.
    """
    if not any(entry["instance"] == instance for entry in entries):
        return entries
    gone = {"instance": instance, "stated": None, "insights": Insights.OFF.value, "by_person": False, "is_gone": True}
    others = [entry for entry in entries if entry["instance"] != instance]
    there = sorted(
        (entry for entry in others if not entry.get("is_gone")), key=lambda entry: entry["insights"] != Insights.ON
    )
    if there and Insights.MAIN not in choices_of(there).values():
        heir = _main(there) or there[0]["instance"]
        turned = {"insights": Insights.MAIN.value, "by": who.name, "note": f"{instance} was disconnected."}
        others = [entry | turned if entry["instance"] == heir else entry for entry in others]
    return [*others, gone | {"by": who.name, "note": note}]


def _main(entries: list[Document]) -> str | None:
    """The instance that is to be main; the present one when several could be."""
    by_file = [entry for entry in entries if not entry["by_person"] and not entry.get("is_gone")]
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

    def __init__(self, repository: InsightsRepository, audit: AuditRepository) -> None:
        self._repository, self._audit = repository, audit

    async def read(self, tenant: str, product: Product) -> dict[str, Insights]:
        """Instance to insights."""
        return choices_of((await self._repository.read(tenant, product))[1])

    async def read_all(self, tenant: str) -> dict[Product, dict[str, Insights]]:
        """Product to instance to insights."""
        found = await self._repository.read_all(tenant)
        return {product: choices_of(found.get(product, [])) for product in Product}

    async def read_with_authors(
        self, tenant: str, product: Product
    ) -> tuple[dict[str, Insights], dict[str, tuple[str | None, str | None]]]:
        """Instance to insights, and instance to who chose and why."""
        entries = (await self._repository.read(tenant, product))[1]
        authors = {entry["instance"]: (entry.get("by") or CONNECTIONS_FILE, entry.get("note")) for entry in entries}
        return choices_of(entries), authors

    async def introduce(self, tenant: str, product: Product, instance: str) -> None:
        """An instance was seen, but not what the connections file says of it. Raises ConflictError on a race."""
        entries = (await self._repository.read(tenant, product))[1]
        if not any(entry["instance"] == instance and not entry.get("is_gone") for entry in entries):
            await self.register(tenant, product, instance, None)

    async def register(self, tenant: str, product: Product, instance: str, stated: Insights | None) -> None:
        """The connections file states `stated` for an instance. Raises ConflictError on a race."""
        for _ in range(ATTEMPTS):
            revision, entries = await self._repository.read(tenant, product)
            wanted = registered(entries, instance, stated)
            if wanted == entries or await self._repository.replace(tenant, product, revision, wanted):
                return
        raise ConflictError("The insights are being changed by others; try again.")

    async def choose(
        self, tenant: str, product: Product, instance: str, insights: Insights, who: Author, note: str | None = None
    ) -> None:
        """A person's choice. Raises InvalidError when nothing would be main, ConflictError on a race."""
        for _ in range(ATTEMPTS):
            revision, entries = await self._repository.read(tenant, product)
            wanted = chosen(entries, instance, insights, who, note)
            if Insights.MAIN not in choices_of(wanted).values():
                raise InvalidError(f"{instance} is the main instance; make another one main first.")
            news = _news(choices_of(entries), choices_of(wanted), who, note)
            if not news and _is_by_person(entries, instance):
                return
            if await self._repository.replace(tenant, product, revision, wanted, news):
                await self.tell(tenant, product)
                return
        raise ConflictError("The insights are being changed by others; try again.")

    async def leave(self, tenant: str, disconnection: Disconnection) -> None:
        """An instance was disconnected. Doing it again changes nothing. Raises ConflictError on a race."""
        product, instance, who = disconnection.product, disconnection.instance, disconnection.author
        note = f"Disconnected. {disconnection.note or ''}".rstrip()
        for _ in range(ATTEMPTS):
            revision, entries = await self._repository.read(tenant, product)
            if any(entry["instance"] == instance and entry.get("is_gone") for entry in entries):
                return
            wanted = left(entries, instance, who, note)
            before = {name: choice for name, choice in choices_of(entries).items() if name != instance}
            after = {name: choice for name, choice in choices_of(wanted).items() if name != instance}
            news = _news(before, after, who, f"{instance} was disconnected.")
            if wanted == entries or await self._repository.replace(tenant, product, revision, wanted, news):
                await self.tell(tenant, product)
                return
        raise ConflictError("The insights are being changed by others; try again.")

    async def tell(self, tenant: str, product: Product) -> None:
        """Bring the audit entries that wait with the choices to the audit trail."""
        revision, entries = await self._repository.outbox(tenant, product)
        await self._audit.add(tenant, entries)
        await self._repository.told(tenant, product, revision)


def _is_by_person(entries: list[Document], instance: str) -> bool:
    return any(entry["instance"] == instance and entry["by_person"] for entry in entries)


def _news(before: dict[str, Insights], after: dict[str, Insights], who: Author, note: str | None) -> list[AuditEntry]:
    """The audit entries of a choice: of the instance, and of the former main one."""
    now = datetime.now(UTC)
    return [
        AuditEntry(
            entry_id=ids.random_id(),
            at=now,
            who=who.name,
            identity=who.identity,
            action=Action.INSIGHTS_SET,
            instance=instance,
            before=before.get(instance),
            after=insights,
            note=note,
        )
        for instance, insights in sorted(after.items())
        if before.get(instance) is not insights
    ]
