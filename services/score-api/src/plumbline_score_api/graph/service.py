"""The Secure Score of one tenant as Graph shows it: the tenant's score, live today, and the controls behind it."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from plumbline_score_api.audit.schemas import Author
from plumbline_score_api.decisions.decision import Decision
from plumbline_score_api.decisions.service import DecisionService, IsWanted
from plumbline_score_api.graph.days import DAY, MOST_DAYS, Controls, Day, DayService
from plumbline_score_api.graph.entities import CONTROL_PROFILE, SECURE_SCORE
from plumbline_score_api.graph.expressions import (
    EntityType,
    ExpressionError,
    parse_filter,
    parse_orderby,
    parse_select,
)
from plumbline_score_api.graph.patching import wish_of
from plumbline_score_api.graph.schemas import CountQuery, ListQuery, ProfilePatch, SelectQuery
from plumbline_score_api.graph.shaping import (
    Groups,
    azure_tenant,
    control_profile,
    control_score,
    former_control_score,
    grouped,
    secure_score,
    services_of,
    standing,
)
from plumbline_score_api.pictures.picture import InstancePicture, Recommendation
from plumbline_score_api.problems import (
    BadRequestError,
    ConflictError,
    InvalidError,
    NotFoundError,
    PreconditionFailedError,
)
from plumbline_score_api.recommendations import cursors
from plumbline_score_api.scores.scoring import total
from plumbline_score_api.scores.service import Scene, ScoreService

Document = dict[str, Any]
Properties = Sequence[str] | None
"""The properties that are asked for; None for all."""

SCORES_IN_PAGE = 90
MOST_SCORES_IN_PAGE = 366
MOST_PROFILES_IN_PAGE = 999
ATTEMPTS = 5


@dataclass(frozen=True)
class GraphNames:
    """What things are called outside: the tenants' GUIDs, and where callers reach the API."""

    azure_tenants: Mapping[str, UUID] = field(default_factory=dict)
    public_url: str | None = None


@dataclass(frozen=True)
class Page:
    """A page: how many there are in all, if that was asked, and the token of the next one."""

    total: int | None
    token: str | None


@dataclass(frozen=True)
class ScorePage(Page):
    """A page of days."""

    days: list[Day]
    properties: Properties


@dataclass(frozen=True)
class ProfilePage(Page):
    """A page of profiles."""

    value: list[Document]
    properties: Properties


@dataclass(frozen=True)
class _Live:
    """The tenant of this moment."""

    guid: str
    today: date
    scene: Scene
    counted: list[InstancePicture]

    @property
    def groups(self) -> Groups:
        """The controls of the instances that count."""
        names = tuple(picture.instance for picture in self.counted)
        return self.scene.picture.once(("graph groups", names), lambda: grouped(self.counted))

    @property
    def profiles(self) -> list[Document]:
        """All profiles by id. Not to be changed: they are kept."""
        groups, names = self.groups, tuple(picture.instance for picture in self.counted)
        return self.scene.picture.once(
            ("graph profiles", names, self.guid),
            lambda: [control_profile(group, self.guid, groups.ranks[group.profile_id]) for group in groups.all],
        )

    @property
    def control_scores(self) -> list[Document]:
        """All controls by id. Not to be changed: they are kept."""
        names = tuple(picture.instance for picture in self.counted)
        return self.scene.picture.once(
            ("graph control scores", names), lambda: [control_score(group) for group in self.groups.all]
        )

    @property
    def day(self) -> Day:
        """Today."""
        points = total(picture.summary.points for picture in self.counted)
        return Day(self.today, points.current, points.maximum)

    @property
    def is_evaluated(self) -> bool:
        """Whether there is a score at all."""
        return any(picture.items for picture in self.counted)


class GraphService:
    """Graph's views of one tenant."""

    def __init__(self, scores: ScoreService, decisions: DecisionService, days: DayService, names: GraphNames) -> None:
        self._scores, self._decisions, self._days = scores, decisions, days
        self.names = names

    async def _live(self, tenant: str) -> _Live:
        scene = await self._scores.scene(tenant)
        guid = azure_tenant(tenant, self.names.azure_tenants)
        return _Live(guid, datetime.now(UTC).date(), scene, scene.counted())

    # --- secureScores

    async def scores(self, tenant: str, query: ListQuery) -> ScorePage:
        """A page of days. Raises BadRequestError."""
        properties = _selected(query, SECURE_SCORE)
        size = min(query.top or SCORES_IN_PAGE, MOST_SCORES_IN_PAGE)
        if query.filter is None and query.orderby is None and query.count == "false":
            return await self._latest(tenant, query, properties, size)
        found = await self._matching(tenant, query)
        start = _start(tenant, query, [str(document["id"]) for document, _ in found])
        shown = [day for _, day in found[start : start + size]]
        is_more = start + size < len(found)
        token = _token(tenant, query, found[start + size - 1][0]["id"], start + size) if is_more else None
        return ScorePage(_count(query, len(found)), token, shown, properties)

    async def _latest(self, tenant: str, query: ListQuery, properties: Properties, size: int) -> ScorePage:
        """The page without reading any other day than its own."""
        live = await self._live(tenant)
        newest = (
            _before(_position(tenant, query)[0])
            if query.skiptoken is not None
            else live.today - min(query.skip, MOST_DAYS) * DAY
        )
        oldest = max(newest - size * DAY, live.today - MOST_DAYS * DAY)
        days = await self._between(tenant, live, oldest, min(newest, live.today))
        shown, is_more = days[:size], len(days) > size
        token = _token(tenant, query, f"{live.guid}_{shown[-1].day}", 0) if is_more else None
        return ScorePage(None, token, shown, properties)

    async def _between(self, tenant: str, live: _Live, oldest: date, newest: date) -> list[Day]:
        """The days that there are, the newest first; today's is the one of this moment."""
        found = await self._days.between(tenant, oldest, newest)
        former = [day for day in found if day.day < live.today]
        is_there = newest >= live.today and (live.is_evaluated or bool(found))
        return [live.day, *former] if is_there else former

    async def _matching(self, tenant: str, query: CountQuery) -> list[tuple[Document, Day]]:
        """All days that match, in the order that is asked for, with what can be filtered and sorted by."""
        live = await self._live(tenant)
        days = await self._between(tenant, live, live.today - MOST_DAYS * DAY, live.today)
        services = services_of(live.counted)
        found = [(secure_score(live.guid, day.day, day.current, day.maximum, services, ()), day) for day in days]
        documents = _narrowed([document for document, _ in found], query, SECURE_SCORE)
        by_id = {document["id"]: day for document, day in found}
        return [(document, by_id[document["id"]]) for document in documents]

    async def count_scores(self, tenant: str, query: CountQuery) -> int:
        """How many days match. Raises BadRequestError."""
        return len(await self._matching(tenant, query))

    async def score(self, tenant: str, name: str, query: SelectQuery) -> Document:
        """One day by its id. Raises NotFoundError, BadRequestError."""
        properties = _selected(query, SECURE_SCORE)
        live = await self._live(tenant)
        day = _day_of(live, name)
        days = await self._between(tenant, live, day, day) if day is not None else []
        found = [document async for document in self.documents(tenant, days, properties)]
        if not found:
            raise NotFoundError(f"There is no secure score '{name[:100]}'.")
        return found[0]

    async def documents(self, tenant: str, days: Sequence[Day], properties: Properties) -> AsyncIterator[Document]:
        """The scores of days, one after the other, so that only one of them is held."""
        live = await self._live(tenant)
        services = services_of(live.counted)
        async for day, controls in self._controls(tenant, live, days, properties):
            document = secure_score(live.guid, day.day, day.current, day.maximum, services, controls)
            yield only(document, properties)

    async def _controls(
        self, tenant: str, live: _Live, days: Sequence[Day], properties: Properties
    ) -> AsyncIterator[tuple[Day, list[Document]]]:
        """Days with their controls, made out only when they are asked for."""
        if properties is not None and "controlScores" not in properties:
            for day in days:
                yield day, []
            return
        definitions = {item.control.control_id: item.definition for item in live.scene.picture.ranked}
        async for day, found in self._in_order(tenant, live.today, days):
            if day.day >= live.today:
                yield live.day, live.control_scores
            else:
                yield day, _former(found, definitions)

    async def _in_order(
        self, tenant: str, today: date, days: Sequence[Day]
    ) -> AsyncIterator[tuple[Day, Controls | None]]:
        """Days in the order given, with what stood on former ones. Only the newest first is one at a time."""
        ordered = sorted(days, key=lambda each: each.day, reverse=True)
        walk = self._days.with_controls(tenant, today, ordered)
        if ordered == list(days):
            async for pair in walk:
                yield pair
            return
        found = {day.day: controls async for day, controls in walk}
        for day in days:
            yield day, found[day.day]

    # --- secureScoreControlProfiles

    async def profiles(self, tenant: str, query: ListQuery) -> ProfilePage:
        """A page of profiles. Raises BadRequestError."""
        properties = _selected(query, CONTROL_PROFILE)
        found = _narrowed((await self._live(tenant)).profiles, query, CONTROL_PROFILE)
        size = min(query.top or MOST_PROFILES_IN_PAGE, MOST_PROFILES_IN_PAGE)
        start = _start(tenant, query, [str(document["id"]) for document in found])
        is_more = start + size < len(found)
        token = _token(tenant, query, found[start + size - 1]["id"], start + size) if is_more else None
        shown = [only(document, properties) for document in found[start : start + size]]
        return ProfilePage(_count(query, len(found)), token, shown, properties)

    async def count_profiles(self, tenant: str, query: CountQuery) -> int:
        """How many profiles match. Raises BadRequestError."""
        return len(_narrowed((await self._live(tenant)).profiles, query, CONTROL_PROFILE))

    async def profile(self, tenant: str, name: str, query: SelectQuery) -> Document:
        """One profile by its id, or by our control's. Raises NotFoundError, BadRequestError."""
        properties = _selected(query, CONTROL_PROFILE)
        live = await self._live(tenant)
        group = live.groups.find(name)
        if group is None:
            raise _no_profile(name)
        return only(control_profile(group, live.guid, live.groups.ranks[group.profile_id]), properties)

    async def decide(self, tenant: str, who: Author, name: str, patch: ProfilePatch) -> None:
        """Decide about a control on every instance that counts. Raises NotFoundError, ConflictError.

        Where some instances could not be decided about, the others are; sending it again does the rest.
        """
        group = (await self._live(tenant)).groups.find(name)
        if group is None:
            raise _no_profile(name)
        failed = [item.instance for item in group.items if not await self._decide(tenant, who, item, patch)]
        if failed:
            done = len(group.items) - len(failed)
            raise ConflictError(
                f"Decided for {done} of {len(group.items)} instances; others are changing {', '.join(failed[:20])}. "
                "Send it again."
            )

    async def _decide(self, tenant: str, who: Author, item: Recommendation, patch: ProfilePatch) -> bool:
        """Decide on one instance, from what stands there at that moment; whether it stands now or is gone."""
        instance, control_id = item.instance, item.control.control_id
        for _ in range(ATTEMPTS):
            try:
                known = standing(await self._decisions.one(tenant, instance, control_id))
                wish = wish_of(patch, known, datetime.now(UTC))
                if wish is not None:
                    await self._decisions.decide(tenant, who, instance, control_id, wish, _unless_changed(known))
            except (PreconditionFailedError, ConflictError):
                continue
            except NotFoundError:
                return True
            return True
        return False


def _unless_changed(known: Decision | None) -> IsWanted:
    return lambda item: standing(item) == known


def only(document: Document, properties: Properties) -> Document:
    """The properties that are asked for."""
    return document if properties is None else {name: document[name] for name in properties}


def _former(controls: Controls | None, definitions: Mapping[str, Any]) -> list[Document]:
    """The controls of a former day by name; none where they are not known any more."""
    found = [
        former_control_score(name, states, definitions.get(name)) for name, states in sorted((controls or {}).items())
    ]
    return sorted(found, key=lambda document: str(document["controlName"]))


def _no_profile(name: str) -> NotFoundError:
    return NotFoundError(f"There is no secure score control profile '{name[:100]}'.")


def _selected(query: SelectQuery, entity: EntityType) -> Properties:
    try:
        return parse_select(query.select, entity) if query.select is not None else None
    except ExpressionError as error:
        raise BadRequestError(str(error)) from error


def _narrowed(documents: Iterable[Document], query: CountQuery, entity: EntityType) -> list[Document]:
    """What matches, in the order that is asked for. Raises BadRequestError."""
    try:
        matches = parse_filter(query.filter, entity) if query.filter is not None else None
        orderby = query.orderby if isinstance(query, ListQuery) else None
        keys = parse_orderby(orderby, entity) if orderby is not None else []
    except ExpressionError as error:
        raise BadRequestError(str(error)) from error
    found = [document for document in documents if matches is None or matches(document)]
    for key, descends in reversed(keys):
        found.sort(key=key, reverse=descends)
    return found


def _count(query: ListQuery, number: int) -> int | None:
    return number if query.count == "true" else None


# --- paging: a token names the last entity of a page, and its place for when that one is gone


def _scope(tenant: str, query: ListQuery) -> str:
    return f"graph of {tenant} {query.filter} {query.orderby} {query.count}"


def _token(tenant: str, query: ListQuery, last: str, place: int) -> str:
    return cursors.encode(_scope(tenant, query), last, place)


def _position(tenant: str, query: ListQuery) -> tuple[str, int]:
    try:
        last, place = cursors.decode(str(query.skiptoken), _scope(tenant, query), str, int)
    except InvalidError as error:
        raise BadRequestError("The value of '$skiptoken' is not one of this list.") from error
    return str(last), int(place)


def _start(tenant: str, query: ListQuery, names: Sequence[str]) -> int:
    if query.skiptoken is None:
        return query.skip
    last, place = _position(tenant, query)
    return names.index(last) + 1 if last in names else max(0, place)


def _before(name: str) -> date:
    """The day before that of an id. Raises BadRequestError."""
    try:
        return date.fromisoformat(name.rpartition("_")[2]) - timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise BadRequestError("The value of '$skiptoken' is not one of this list.") from error


def _day_of(live: _Live, name: str) -> date | None:
    """The day that an id of this tenant names; None for any other id."""
    guid, _, text = name.rpartition("_")
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    is_ours = guid.lower() == live.guid and text == found.isoformat()
    return found if is_ours and live.today - MOST_DAYS * DAY <= found <= live.today else None
