"""Holds instances against each other."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from plumbline_contracts.events import ControlDefinition

from plumbline_score_api.comparisons.comparing import Pair, Standing, pairs, place, standings
from plumbline_score_api.comparisons.schemas import (
    ComparedControl,
    ComparedInstance,
    ComparisonQuery,
    ControlAmongPeers,
    InstanceComparison,
    PeerComparison,
    PeerScore,
    PeersQuery,
)
from plumbline_score_api.history.changing import State, Totals, states_of, totals_of
from plumbline_score_api.history.schemas import shown
from plumbline_score_api.history.service import HistoryService, Moment
from plumbline_score_api.history.slices import Slice
from plumbline_score_api.pictures.picture import InstancePicture
from plumbline_score_api.problems import InvalidError
from plumbline_score_api.recommendations import cursors
from plumbline_score_api.scores.schemas import ScopeQuery
from plumbline_score_api.scores.service import Scene, ScoreService
from plumbline_score_api.zones.zone import ZoneLimits


class _Keyed(Protocol):
    @property
    def key(self) -> str: ...


T = TypeVar("T", bound=_Keyed)


class ComparisonService:
    """Comparisons of one tenant's instances."""

    def __init__(self, scores: ScoreService, history: HistoryService) -> None:
        self._scores, self._history = scores, history

    async def instances(self, tenant: str, instance: str, other: str, query: ComparisonQuery) -> InstanceComparison:
        """Two instances control by control. Raises NotFoundError, InvalidError."""
        part, scene = _slice(query), await self._scores.scene(tenant)
        one, two = (_picture(scene, name) for name in (instance, other))
        if one.product is not two.product:
            raise InvalidError(f"{instance} and {other} are not of one product.")
        then = await self._moment(tenant, two, query.at)
        found = pairs(_within(part, states_of(one)), _within(part, then.states))
        chosen = [pair for pair in found if pair.is_different or not query.differences]
        asked = (query.category, query.framework, query.at, query.differences)
        page, cursor = _page(chosen, query, f"comparison of {tenant} {instance} {other} {asked}")
        definitions = _definitions(one, two)
        this, that = (part.sums(totals).score for totals in (totals_of(one), then.totals))
        return InstanceComparison(
            product=one.product,
            this=_side(one.instance, None, totals_of(one), part, scene.limits),
            other=_side(two.instance, query.at, then.totals, part, scene.limits),
            points=round(this.current - that.current, 3),
            different=sum(pair.is_different for pair in found),
            total=len(chosen),
            items=[_compared(pair, definitions) for pair in page],
            next_cursor=cursor,
        )

    async def peers(self, tenant: str, instance: str, query: PeersQuery) -> PeerComparison:
        """An instance against the tenant's others of the product. Raises NotFoundError, InvalidError."""
        part, scene = _slice(query), await self._scores.scene(tenant)
        one = _picture(scene, instance)
        others = [each for each in scene.of(one.product) if each is not one and each.version.evaluation is not None]
        found = standings(_within(part, states_of(one)), [_within(part, states_of(each)) for each in others])
        asked = (query.category, query.framework)
        page, cursor = _page(found, query, f"peers of {tenant} {instance} {asked}")
        reached = {each.instance: part.sums(totals_of(each)).score.percentage for each in others}
        best = max(reached, key=lambda name: (reached[name], name), default=None)
        this, definitions = _side(one.instance, None, totals_of(one), part, scene.limits), _definitions(one)
        return PeerComparison(
            product=one.product,
            this=this,
            peers=len(others),
            place=place(this.score.percentage, reached.values()),
            average_percentage=round(sum(reached.values()) / len(reached), 2) if reached else None,
            best=PeerScore(instance=best, percentage=reached[best]) if best is not None else None,
            total=len(found),
            items=[_among_peers(each, definitions[each.control_id]) for each in page],
            next_cursor=cursor,
        )

    async def _moment(self, tenant: str, picture: InstancePicture, at: datetime | None) -> Moment:
        """What an instance was at a moment; None is now. Raises InvalidError."""
        if at is None:
            return Moment(states_of(picture), totals_of(picture))
        if at > datetime.now(UTC):
            raise InvalidError("`at` lies in the future.")
        return await self._history.moment(tenant, picture.instance, at)


def _slice(query: PeersQuery) -> Slice:
    if query.category is not None and query.framework is not None:
        raise InvalidError("Give either `category` or `framework`.")
    return Slice(query.category.value if query.category is not None else None, query.framework)


def _picture(scene: Scene, instance: str) -> InstancePicture:
    return scene.chosen(ScopeQuery(instance=instance))[0]


def _within(part: Slice, states: Mapping[str, State]) -> dict[str, State]:
    return {name: state for name, state in states.items() if part.holds(state)}


def _page(found: Sequence[T], query: PeersQuery, scope: str) -> tuple[Sequence[T], str | None]:
    """A page of what is sorted by key, and the cursor of the next one. Raises InvalidError."""
    after = str(cursors.decode(query.cursor, scope, str)[0]) if query.cursor else None
    start = 0 if after is None else bisect_right(found, after, key=lambda each: each.key)
    page = found[start : start + query.limit]
    is_more = start + query.limit < len(found)
    return page, cursors.encode(scope, page[-1].key) if is_more else None


def _definitions(*pictures: InstancePicture) -> dict[str, ControlDefinition]:
    return {item.control.control_id: item.definition for picture in reversed(pictures) for item in picture.items}


def _side(instance: str, at: datetime | None, totals: Totals, part: Slice, limits: ZoneLimits) -> ComparedInstance:
    return ComparedInstance(instance=instance, at=at, score=shown(part.sums(totals).score, limits))


def _compared(pair: Pair, definitions: Mapping[str, ControlDefinition]) -> ComparedControl:
    definition = definitions.get(pair.control_id)
    return ComparedControl(
        control_id=pair.control_id,
        title=definition.title if definition is not None else None,
        severity=definition.severity if definition is not None else None,
        this=pair.one,
        other=pair.other,
        points=pair.points,
        is_different=pair.is_different,
    )


def _among_peers(standing: Standing, definition: ControlDefinition) -> ControlAmongPeers:
    return ControlAmongPeers(
        control_id=standing.control_id,
        title=definition.title,
        severity=definition.severity,
        this=standing.state,
        peers=standing.peers,
        passing=standing.passing,
        average_points=standing.average,
        best_points=standing.best,
        behind=standing.behind,
    )
