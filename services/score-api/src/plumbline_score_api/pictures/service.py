"""Pictures, kept in memory by their versions: what is asked for again is read again only where something changed.

Nothing that is derived is stored: an answer is made of the evaluations and decisions that a request finds, so two
answers can never disagree. What is kept here is bounded, and only saves making the same picture twice.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from plumbline_contracts.events import ControlDefinition

from plumbline_score_api.decisions.decision import Decision
from plumbline_score_api.decisions.repository import Book, DecisionRepository
from plumbline_score_api.keys.schemas import Restriction
from plumbline_score_api.pictures.bodies import Bodies
from plumbline_score_api.pictures.picture import Control, InstancePicture, Version, paint
from plumbline_score_api.pictures.repository import PictureRepository, Pointer
from plumbline_score_api.pictures.tenant import TenantPicture
from plumbline_score_api.problems import UnavailableError
from plumbline_score_api.sharing import SharedReads

MOST_ITEMS = 300_000
MOST_INSTANCES = 8
"""Who asks for one instance asks again at once, and then for another."""
MOST_DEFINITIONS = 20_000
ATTEMPTS = 10


class ForgottenError(Exception):
    """The evaluation was replaced twice while it was being read."""


@dataclass(frozen=True)
class Seen:
    """An instance, its own decisions and the templates."""

    picture: InstancePicture
    book: Book
    templates: Book


class PictureService:
    """Pictures of all tenants."""

    def __init__(
        self, repository: PictureRepository, decisions: DecisionRepository, *, most_instances: int = MOST_INSTANCES
    ) -> None:
        self._repository, self._decisions, self._most_instances = repository, decisions, most_instances
        self._learned: OrderedDict[tuple[str, str, str], list[Control]] = OrderedDict()
        self._tenants: OrderedDict[str, TenantPicture] = OrderedDict()
        self._instances: OrderedDict[tuple[str, str], InstancePicture] = OrderedDict()
        self._definitions: OrderedDict[str, ControlDefinition] = OrderedDict()
        self._looks: SharedReads[str, TenantPicture] = SharedReads(self._look)
        self.bodies = Bodies()
        """Answers about the pictures."""

    async def tenant(self, tenant: str, within: Restriction | None = None) -> TenantPicture:
        """All instances of a tenant as they are now; those that a restriction admits."""
        return (await self._looks.get(tenant)).within(within)

    async def _look(self, tenant: str) -> TenantPicture:
        for _ in range(ATTEMPTS):
            revisions = await self._decisions.revisions(tenant)
            pointers = await self._repository.pointers(tenant)
            versions = {pointer.instance: _version(pointer, revisions) for pointer in pointers}
            known = self._tenants.get(tenant)
            if known is not None and known.versions == versions:
                self._tenants.move_to_end(tenant)
                return known
            try:
                return await self._repaint(tenant, pointers, versions)
            except ForgottenError:
                continue
        raise UnavailableError("The instances change faster than they can be read; try again.")

    async def instance(self, tenant: str, instance: str) -> InstancePicture | None:
        """One instance as it is now; None when it is not there."""
        seen = await self.seen(tenant, instance)
        return seen.picture if seen is not None else None

    async def seen(self, tenant: str, instance: str) -> Seen | None:
        """One instance as it is now, with the decisions that it is made of; None when it is not there."""
        for _ in range(ATTEMPTS):
            books = await self._decisions.books(tenant, [instance, None])
            pointer = await self._repository.pointer(tenant, instance)
            if pointer is None:
                return None
            known = self._known(tenant, pointer)
            if known is not None and known.version == _version(pointer, _revisions(books)):
                return Seen(known, books[instance], books[None])
            try:
                old = {instance: known} if known is not None else {}
                (picture,) = await self._paint(tenant, [pointer], books, books[None], old)
            except ForgottenError:
                continue
            self._keep_instance(tenant, picture)
            return Seen(picture, books[instance], books[None])
        raise UnavailableError(f"The instance {instance} changes faster than it can be read; try again.")

    def learn(self, tenant: str, instance: str, evaluation: str, controls: list[Control]) -> None:
        """Keep the controls of an evaluation that were just written: they need not be read."""
        self._learned[tenant, instance, evaluation] = controls
        if len(self._learned) > self._most_instances:
            self._learned.popitem(last=False)

    async def controls(self, tenant: str, instance: str, evaluation: str) -> dict[str, Control]:
        """The controls of an evaluation that readers see, or saw last, by control id."""
        controls = self._learned.get((tenant, instance, evaluation))
        if controls is None:
            read = await self._repository.controls(tenant, [(instance, evaluation)])
            controls = read.get(evaluation, [])
        return {control.control_id: control for control in controls}

    async def _repaint(self, tenant: str, pointers: list[Pointer], versions: Mapping[str, Version]) -> TenantPicture:
        """The picture with what changed painted anew."""
        known = self._tenants.get(tenant)
        old = known.instances if known is not None else {}
        changed = [p for p in pointers if p.instance not in old or old[p.instance].version != versions[p.instance]]
        books = await self._decisions.books(tenant, [None, *(pointer.instance for pointer in changed)])
        painted = await self._paint(tenant, changed, books, books[None], old)
        fresh = {picture.instance: picture for picture in painted}
        names = [pointer.instance for pointer in pointers]
        picture = TenantPicture({name: fresh.get(name) or old[name] for name in names})
        self._keep(tenant, picture)
        return picture

    async def _paint(
        self,
        tenant: str,
        pointers: list[Pointer],
        books: Mapping[str | None, Book],
        templates: Book,
        old: Mapping[str, InstancePicture],
    ) -> list[InstancePicture]:
        """Pictures of instances. Raises ForgottenError."""
        controls = await self._controls(tenant, pointers, old)
        definitions = await self._defined({c.key for found in controls.values() for c in found})
        return [
            _picture(pointer, controls.get(pointer.instance, []), definitions, books[pointer.instance], templates)
            for pointer in pointers
        ]

    async def _controls(
        self, tenant: str, pointers: list[Pointer], old: Mapping[str, InstancePicture]
    ) -> dict[str, list[Control]]:
        """Instance to its controls, from an old picture of the same evaluation where there is one."""
        found, missing = {}, []
        for pointer in pointers:
            known = old.get(pointer.instance)
            if pointer.evaluation is None:
                continue
            learned = self._learned.get((tenant, pointer.instance, pointer.evaluation))
            if learned is not None:
                found[pointer.instance] = learned
            elif known is not None and known.version.evaluation == pointer.evaluation:
                found[pointer.instance] = [item.control for item in known.items]
            else:
                missing.append((pointer.instance, pointer.evaluation))
        read = await self._repository.controls(tenant, missing) if missing else {}
        if any(evaluation not in read for _, evaluation in missing):
            raise ForgottenError
        return found | {instance: read[evaluation] for instance, evaluation in missing}

    async def definitions(self, keys: Iterable[str]) -> Mapping[str, ControlDefinition]:
        """Definitions by `control_id@digest`, as far as they are there."""
        wanted = set(keys)
        missing = wanted - self._definitions.keys()
        if missing:
            self._definitions.update(await self._repository.definitions(missing))
        found = {key: self._definitions[key] for key in wanted if key in self._definitions}
        while len(self._definitions) > max(MOST_DEFINITIONS, len(wanted)):
            self._definitions.popitem(last=False)
        return found

    async def _defined(self, keys: Iterable[str]) -> Mapping[str, ControlDefinition]:
        """Definitions of all keys. Raises UnavailableError."""
        wanted = set(keys)
        found = await self.definitions(wanted)
        if len(found) < len(wanted):
            raise UnavailableError("Control definitions are missing in the database; restart a projector to read them.")
        return found

    def _known(self, tenant: str, pointer: Pointer) -> InstancePicture | None:
        """A picture of the very evaluation that the pointer names."""
        known = self._instances.get((tenant, pointer.instance))
        return known if known is not None and known.evaluated_at == pointer.evaluated_at else None

    def _keep_instance(self, tenant: str, picture: InstancePicture) -> None:
        self._instances.pop((tenant, picture.instance), None)
        self._instances[tenant, picture.instance] = picture
        if len(self._instances) > self._most_instances:
            self._instances.popitem(last=False)

    def _keep(self, tenant: str, picture: TenantPicture) -> None:
        self._tenants[tenant] = picture
        self._tenants.move_to_end(tenant)
        size = sum(each.size for each in self._tenants.values())
        while size > MOST_ITEMS and len(self._tenants) > 1:
            _, dropped = self._tenants.popitem(last=False)
            size -= dropped.size


def _revisions(books: Mapping[str | None, Book]) -> dict[str | None, int]:
    return {instance: book.revision for instance, book in books.items()}


def _version(pointer: Pointer, revisions: Mapping[str | None, int]) -> Version:
    decisions, templates = revisions.get(pointer.instance, 0), revisions.get(None, 0)
    return Version(pointer.evaluation, decisions, templates, pointer.clock)


def _picture(
    pointer: Pointer,
    controls: list[Control],
    definitions: Mapping[str, ControlDefinition],
    book: Book,
    templates: Book,
) -> InstancePicture:
    version = Version(pointer.evaluation, book.revision, templates.revision, pointer.clock)
    own: Mapping[str, Decision] = book.decisions
    return paint(
        pointer.instance,
        pointer.product,
        version,
        pointer.evaluated_at,
        controls,
        definitions,
        own,
        templates.decisions,
        pointer.reopened,
        pointer.stale_at,
    )
