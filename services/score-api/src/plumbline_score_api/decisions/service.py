"""Deciding: one, many, templates; reopening by evidence and expiring by time.

Every change is one write of an instance's document, or the tenant's for templates, guarded by its revision; on
conflict everything is worked out anew from what stands then. The audit entry is part of that write.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from plumbline_contracts import ids

from plumbline_score_api.audit.repository import AuditRepository
from plumbline_score_api.audit.schemas import SYSTEM, Action, AuditEntry, Author
from plumbline_score_api.decisions.decision import (
    RESOLVED,
    Decision,
    Ended,
    Status,
    contradiction,
    end,
    expired,
    shown,
    speaking,
    stands_on_evidence,
)
from plumbline_score_api.decisions.repository import Book, DecisionRepository
from plumbline_score_api.decisions.schemas import StatusBody, TemplateView
from plumbline_score_api.pictures.picture import Control, InstancePicture, Recommendation
from plumbline_score_api.pictures.service import PictureService, Seen
from plumbline_score_api.problems import ConflictError, InvalidError, NotFoundError, PreconditionFailedError

log = structlog.get_logger(__name__)

ATTEMPTS = 10
KNOWN_KEPT = timedelta(days=1)
"""How long the entities of a decision that nobody made in the end are kept: longer than making one takes."""
IsWanted = Callable[[Recommendation], bool]


class EvidenceGoneError(Exception):
    """The evaluation was replaced, and its exposed entities deleted, while they were being read."""


@dataclass(frozen=True)
class Changed:
    """What became of a wish for one control of an instance."""

    item: Recommendation
    is_changed: bool


@dataclass(frozen=True)
class Reopening:
    """An evaluation contradicts a decision."""

    control_id: str
    decision_id: str
    detail: str


class DecisionService:
    """Decisions of all tenants."""

    def __init__(self, repository: DecisionRepository, pictures: PictureService, audit: AuditRepository) -> None:
        self._repository, self._pictures, self._audit = repository, pictures, audit

    # --- people

    async def one(self, tenant: str, instance: str, control: str) -> Recommendation:
        """A recommendation as it is now, by control id or alias. Raises NotFoundError."""
        picture = await self._pictures.instance(tenant, instance)
        return _found(picture, instance, control)

    async def decide(
        self,
        tenant: str,
        who: Author,
        instance: str,
        control: str,
        wish: StatusBody | None,
        is_wanted: IsWanted = lambda _: True,
    ) -> Recommendation:
        """Decide about one control of an instance; with no wish, take the instance's own decision back.

        Raises NotFoundError, InvalidError, ConflictError, and PreconditionFailedError when what stands is not wanted.
        """
        refuse_past(wish)
        (changed,) = await self._change(tenant, who, instance, [control], wish, is_wanted)
        if changed is None:
            raise NotFoundError(f"No recommendation {control} on an instance {instance}.")
        return changed.item

    async def decide_some(
        self, tenant: str, who: Author, instance: str, controls: list[str], wish: StatusBody
    ) -> list[Changed | None]:
        """Decide about some controls of one instance in one step; None for those that are not there.

        Raises ConflictError.
        """
        return await self._change(tenant, who, instance, controls, wish, lambda _: True)

    async def _change(
        self, tenant: str, who: Author, instance: str, controls: list[str], wish: StatusBody | None, is_wanted: IsWanted
    ) -> list[Changed | None]:
        for _ in range(ATTEMPTS):
            book = await self._repository.book(tenant, instance)
            picture = await self._pictures.instance(tenant, instance)
            if picture is None or picture.version.evaluation is None:
                return [None for _ in controls]
            if picture.version.decisions != book.revision:
                continue
            items = [picture.find(control) for control in controls]
            if any(item is not None and not is_wanted(item) for item in items):
                raise PreconditionFailedError("The status is not the one you know; read it again.")
            present = {item.control.control_id: item for item in items if item is not None}
            try:
                changed = await self._wished(tenant, who, present.values(), book, wish)
            except EvidenceGoneError:
                continue
            if changed and not await self._write(tenant, who, book, changed, present):
                continue
            await self._catch_up(tenant, instance, picture)
            return await self._after(tenant, instance, items, set(changed))
        raise ConflictError(f"The statuses of {instance} are being changed by others; try again.")

    async def _after(
        self, tenant: str, instance: str, items: list[Recommendation | None], changed: set[str]
    ) -> list[Changed | None]:
        """The recommendations as they are now; as they were where a control vanished at this moment."""
        now = await self._pictures.instance(tenant, instance)
        found: list[Changed | None] = []
        for item in items:
            name = item.control.control_id if item is not None else ""
            new = now.find(name) if now is not None else None
            found.append(Changed(new or item, name in changed) if item is not None else None)
        return found

    async def _wished(
        self, tenant: str, who: Author, items: Iterable[Recommendation], book: Book, wish: StatusBody | None
    ) -> dict[str, Decision]:
        """The decisions that change, with the entities they know of kept already."""
        now, changed = datetime.now(UTC), {}
        for item in items:
            known = book.decisions.get(item.control.control_id)
            wanted = _wanted(item.control.control_id, known, who, wish, now)
            if wanted is None:
                continue
            if wanted.status is not None:
                wanted = await self._with_evidence(tenant, item, wanted, now)
            changed[item.control.control_id] = wanted
        return changed

    async def _with_evidence(self, tenant: str, item: Recommendation, decision: Decision, at: datetime) -> Decision:
        """The decision with what is seen now. Raises EvidenceGoneError."""
        control = item.control
        if decision.status in RESOLVED and control.exposed_listed:
            known = await self._repository.exposed(tenant, item.instance, item.evaluation, control.control_id)
            if not known:
                raise EvidenceGoneError
            names = (tenant, item.instance, control.control_id, decision.decision_id)
            await self._repository.keep_known(*names, known, at)
        return decision.model_copy(update={"evidence": control.seen(item.evaluation)})

    async def _write(
        self, tenant: str, who: Author, book: Book, changed: dict[str, Decision], items: Mapping[str, Recommendation]
    ) -> bool:
        news = [_entry(who, items[control], decision) for control, decision in changed.items()]
        done = await self._repository.replace(tenant, book, changed, news)
        if done:
            await self.tell(tenant, book.instance)
        return done

    async def _catch_up(self, tenant: str, instance: str, picture: InstancePicture) -> None:
        """When the readers were switched to a new evaluation meanwhile, what was decided meets it now."""
        now = await self._pictures.instance(tenant, instance)
        if now is not None and now.version.evaluation != picture.version.evaluation:
            await self.align(tenant, instance)

    # --- templates

    async def templates(self, tenant: str) -> list[TemplateView]:
        """All templates, by control id."""
        book = await self._repository.book(tenant, None)
        return [template_view(d) for _, d in sorted(book.decisions.items()) if d.status is not None]

    async def template(self, tenant: str, control: str) -> TemplateView:
        """The template of a control. Raises NotFoundError."""
        book = await self._repository.book(tenant, None)
        found = book.decisions.get(await self._control_id(tenant, control))
        if found is None or found.status is None:
            raise NotFoundError(f"{control} has no template.")
        return template_view(found)

    async def set_template(
        self,
        tenant: str,
        who: Author,
        control: str,
        wish: StatusBody | None,
        is_wanted: Callable[[TemplateView | None], bool] = lambda _: True,
    ) -> TemplateView | None:
        """Decide about a control on all instances, present and future; with no wish, take that back.

        Raises NotFoundError, InvalidError, ConflictError, PreconditionFailedError.
        """
        refuse_past(wish)
        control_id, now = await self._control_id(tenant, control), datetime.now(UTC)
        for _ in range(ATTEMPTS):
            book = await self._repository.book(tenant, None)
            known = book.decisions.get(control_id)
            standing = template_view(known) if known is not None and known.status is not None else None
            if not is_wanted(standing):
                raise PreconditionFailedError("The template is not the one you know; read it again.")
            wanted = _wanted(control_id, known, who, wish, now)
            if wanted is None:
                return standing
            news = [_template_entry(who, known, wanted)]
            if await self._repository.replace(tenant, book, {control_id: wanted}, news):
                await self.tell(tenant, None)
                await self.spread(tenant)
                return template_view(wanted) if wanted.status is not None else None
        raise ConflictError("The templates are being changed by others; try again.")

    async def spread(self, tenant: str) -> None:
        """Give every instance its copy of the templates, with the evidence that it has now."""
        for instance in (await self._pictures.tenant(tenant)).instances:
            await self.align(tenant, instance)

    async def _control_id(self, tenant: str, control: str) -> str:
        """The id of a control that the tenant has, by id or alias. Raises NotFoundError."""
        for picture in (await self._pictures.tenant(tenant)).instances.values():
            if (found := picture.find(control)) is not None:
                return found.control.control_id
        raise NotFoundError(f"No instance has a control {control}.")

    # --- evidence and time

    async def contradicted(
        self, tenant: str, instance: str, evaluation: str, controls: Iterable[Control]
    ) -> list[Reopening]:
        """Which decisions an evaluation reopens. Its exposed entities are written; readers may not see it yet."""
        books = await self._repository.books(tenant, [instance, None])
        return await self._contradicted(tenant, books[instance], books[None], evaluation, controls)

    async def _contradicted(
        self, tenant: str, book: Book, templates: Book, evaluation: str, controls: Iterable[Control]
    ) -> list[Reopening]:
        instance, found = str(book.instance), []
        for control in controls:
            own, template = (each.decisions.get(control.control_id) for each in (book, templates))
            decision = speaking(own, template)
            if decision is not None and stands_on_evidence(decision, evaluation):
                why = await self._contradiction(tenant, instance, decision, control, evaluation)
                if why is not None:
                    found.append(Reopening(control.control_id, decision.decision_id, why))
        return found

    async def _contradiction(
        self, tenant: str, instance: str, decision: Decision, control: Control, evaluation: str
    ) -> str | None:
        then, now = decision.evidence, control.seen(evaluation)
        assert then is not None
        known: frozenset[str] = frozenset()
        exposed: frozenset[str] = frozenset()
        if control.exposed:
            names = (tenant, instance, control.control_id)
            if then.exposed:
                known = await self._repository.known(*names, decision.decision_id)
            exposed = await self._repository.exposed(tenant, instance, evaluation, control.control_id)
        return contradiction(then, now, known, exposed)

    async def align(self, tenant: str, instance: str) -> None:
        """Write down what the current evaluation makes of the instance's decisions. Doing it again changes nothing.

        Those that it contradicts are reopened; templates that are new here get the instance's copy. Raises
        ConflictError.
        """
        for _ in range(ATTEMPTS):
            seen = await self._pictures.seen(tenant, instance)
            if seen is None or seen.picture.version.evaluation is None:
                return
            if not seen.book.revision and not seen.templates.revision:
                return  # nobody ever decided anything
            book = seen.book
            try:
                changed, news = await self._aligned(tenant, seen)
            except EvidenceGoneError:
                continue
            if not changed or await self._repository.replace(tenant, book, changed, news):
                if changed or book.outbox:
                    await self.tell(tenant, instance)
                await self._forget(tenant, instance, {**book.decisions, **changed})
                return
        raise ConflictError(f"The decisions of {instance} are being changed by others; try again.")

    async def _aligned(self, tenant: str, seen: Seen) -> tuple[dict[str, Decision], list[AuditEntry]]:
        """The decisions that change, with their audit entries."""
        picture, book = seen.picture, seen.book
        now, key, changed, news = datetime.now(UTC), str(picture.version.evaluation), {}, []
        controls = [item.control for item in picture.items]
        reopenings = await self._contradicted(tenant, book, seen.templates, key, controls)
        details = {each.control_id: each for each in reopenings}
        for item in picture.items:
            control_id, decision = item.control.control_id, item.decision
            own = book.decisions.get(control_id)
            if decision is None or not (decision.holds or decision == own):
                if own is not None and own.holds and not own.is_own:  # a copy whose template is gone
                    changed[control_id] = own.model_copy(update={"status": None, "revision": own.revision + 1})
            elif own != decision:  # the template itself speaks: the instance has no copy yet
                copy = decision.model_copy(
                    update={"template": decision.decision_id, "revision": own.revision + 1 if own else 1}
                )
                changed[control_id] = await self._with_evidence(tenant, item, copy, now)
            elif decision.holds and (decision.decision_id == item.reopened or control_id in details):
                detail = details[control_id].detail if control_id in details else "The evidence changed."
                changed[control_id] = end(decision, Ended.REOPENED, now, detail)
                news.append(_ended_entry(item, decision, changed[control_id]))
        return changed, news

    async def _forget(self, tenant: str, instance: str, decisions: Mapping[str, Decision]) -> None:
        """Drop the known entities of decisions that do not hold any more."""
        keep = [decision.decision_id for decision in decisions.values() if decision.holds]
        await self._repository.forget_known(tenant, instance, keep, datetime.now(UTC) - KNOWN_KEPT)

    async def expire(self, tenant: str, instance: str | None, now: datetime) -> None:
        """End what has expired up to now, on an instance or, with None, of the templates. Raises ConflictError."""
        for _ in range(ATTEMPTS):
            book = await self._repository.book(tenant, instance)
            ended = {control: expired(decision, now) for control, decision in book.decisions.items()}
            changed = {control: decision for control, decision in ended.items() if decision != book.decisions[control]}
            if not changed:
                return
            picture = await self._pictures.instance(tenant, instance) if instance is not None else None
            news = [_expiry_entry(picture, book.decisions[control], after) for control, after in changed.items()]
            if await self._repository.replace(tenant, book, changed, news):
                await self.tell(tenant, instance)
                return
        raise ConflictError("The decisions are being changed by others; try again.")

    async def drop(self, tenant: str, instance: str) -> None:
        """Delete the decisions of an instance; the audit trail tells of them still. Raises ConflictError."""
        for _ in range(ATTEMPTS):
            book = await self._repository.book(tenant, instance)
            await self._audit.add(tenant, book.outbox)
            if await self._repository.drop(tenant, book):
                return
        raise ConflictError(f"The decisions of {instance} are being changed by others; try again.")

    async def tell(self, tenant: str, instance: str | None) -> None:
        """Bring the audit entries that wait with the decisions to the audit trail."""
        book = await self._repository.book(tenant, instance)
        await self._audit.add(tenant, book.outbox)
        await self._repository.told(tenant, book)


def refuse_past(wish: StatusBody | None) -> None:
    """Raise InvalidError for a decision that would have ended already."""
    if wish is not None and wish.expires_at is not None and wish.expires_at <= datetime.now(UTC):
        raise InvalidError("`expires_at` is not in the future.")


def template_view(decision: Decision) -> TemplateView:
    """A template as it is shown."""
    return TemplateView.model_validate(decision, from_attributes=True)


def _found(picture: InstancePicture | None, instance: str, control: str) -> Recommendation:
    item = picture.find(control) if picture is not None else None
    if item is None:
        raise NotFoundError(f"No recommendation {control} on an instance {instance}.")
    return item


def _wanted(
    control_id: str, known: Decision | None, who: Author, wish: StatusBody | None, now: datetime
) -> Decision | None:
    """The decision after a person's wish; None when it would say nothing new."""
    revision = known.revision + 1 if known is not None else 1
    if wish is None:
        if known is None or known.status is None or known.template is not None:
            return None
        return Decision(
            decision_id=ids.random_id(),
            control_id=control_id,
            revision=revision,
            status=None,
            author=who.name,
            decided_at=now,
        )
    wanted = Decision(
        decision_id=ids.random_id(),
        control_id=control_id,
        revision=revision,
        author=who.name,
        decided_at=now,
        **{**wish.model_dump(include={"note", "assignee", "reason", "expires_at"}), "status": Status(wish.status)},
    )
    is_same = known is not None and known.template is None and known.says(wanted)
    return None if is_same else wanted


def _detail(decision: Decision) -> str | None:
    parts = {"assignee": decision.assignee, "reason": decision.reason}
    told = [f"{name}: {value}" for name, value in parts.items() if value is not None]
    if decision.expires_at is not None:
        told.append(f"until {decision.expires_at:%Y-%m-%d %H:%M} UTC")
    return "; ".join(told) or None


def _entry(who: Author, item: Recommendation, after: Decision) -> AuditEntry:
    """A person decided, or took a decision back. Where none of his holds, a template may."""
    status = shown(item.control.outcome, after) if after.status is not None else None
    return AuditEntry(
        entry_id=f"{after.decision_id}.set",
        at=after.decided_at,
        who=who.name,
        identity=who.identity,
        action=Action.STATUS_SET if after.status is not None else Action.STATUS_CLEARED,
        instance=item.instance,
        control_id=item.control.control_id,
        before=item.status,
        after=status if status is not Status.COMPLETED else after.status,
        note=after.note,
        detail=_detail(after),
    )


def _template_entry(who: Author, before: Decision | None, after: Decision) -> AuditEntry:
    return AuditEntry(
        entry_id=f"{after.decision_id}.set",
        at=after.decided_at,
        who=who.name,
        identity=who.identity,
        action=Action.TEMPLATE_SET if after.status is not None else Action.TEMPLATE_CLEARED,
        control_id=after.control_id,
        before=before.status if before is not None else None,
        after=after.status,
        note=after.note,
        detail=_detail(after),
    )


def _ended_entry(item: Recommendation, before: Decision, after: Decision) -> AuditEntry:
    assert after.ended_at is not None
    return AuditEntry(
        entry_id=f"{before.decision_id}.{item.instance}.reopened",
        at=after.ended_at,
        who=SYSTEM.name,
        identity=SYSTEM.identity,
        action=Action.STATUS_REOPENED,
        instance=item.instance,
        control_id=item.control.control_id,
        before=before.status,
        after=shown(item.control.outcome, after),
        detail=after.ended_detail,
    )


def _expiry_entry(picture: InstancePicture | None, before: Decision, after: Decision) -> AuditEntry:
    assert after.ended_at is not None
    item = picture.find(before.control_id) if picture is not None else None
    instance = picture.instance if picture is not None else None
    return AuditEntry(
        entry_id=f"{before.decision_id}.{instance or 'template'}.expired",
        at=after.ended_at,
        who=SYSTEM.name,
        identity=SYSTEM.identity,
        action=Action.STATUS_EXPIRED if instance is not None else Action.TEMPLATE_EXPIRED,
        instance=instance,
        control_id=before.control_id,
        before=before.status,
        after=shown(item.control.outcome, after) if item is not None else Status.TO_ADDRESS,
        detail=after.ended_detail,
    )
