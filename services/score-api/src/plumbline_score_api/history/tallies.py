"""What some time brought: points gained and lost, findings that fail or are mended, risks accepted. Pure."""

from collections.abc import Callable, Iterable

from plumbline_contracts.events import Outcome

from plumbline_score_api.decisions.decision import Status
from plumbline_score_api.history.changing import SYSTEM, ControlChange, DayTally, InsightsChange, State, Tally
from plumbline_score_api.history.slices import WHOLE, Slice

_FAILING = (Outcome.FAIL, Outcome.PARTIAL)


def day_tally(changes: list[ControlChange], insights: list[InsightsChange], *, is_first: bool) -> DayTally:
    """What changes brought. With an instance's first evaluation nothing fails newly: that is where it begins."""
    states = [state for change in changes for state in (change.before, change.after) if state is not None]
    categories = {state.category for state in states}.union(*(change.categories for change in insights))
    frameworks = {name for state in states for name in state.frameworks}.union(*(c.frameworks for c in insights))

    def tally(part: Slice) -> Tally:
        return tally_of(part.changes(changes), part.insights(insights), is_first=is_first)

    return DayTally(
        whole=tally(WHOLE),
        categories={name: tally(Slice(category=name)) for name in sorted(categories)},
        frameworks={name: tally(Slice(framework=name)) for name in sorted(frameworks)},
    )


def tally_of(changes: Iterable[ControlChange], insights: Iterable[InsightsChange], *, is_first: bool) -> Tally:
    """What changes brought."""
    found, points = list(changes), [change.points for change in insights]
    points += [change.points for change in found]
    ended = [change for change in found if _is_accepted(change.before) and not _is_accepted(change.after)]

    def count(happened: Callable[[ControlChange], bool]) -> int:
        return 0 if is_first else sum(map(happened, found))

    return Tally(
        gained=round(sum(each for each in points if each > 0), 3),
        lost=round(-sum(each for each in points if each < 0), 3),
        newly_failing=count(lambda c: _fails(c.after) and not _fails(c.before)),
        regressed=count(lambda c: _fails(c.after) and _passes(c.before)),
        mended=count(lambda c: _passes(c.after) and c.before is not None and not _passes(c.before)),
        newly_accepted=sum(_is_accepted(c.after) and not _is_accepted(c.before) for c in found),
        acceptances_ended=len(ended),
        acceptances_expired=sum(change.by == SYSTEM for change in ended),
    )


def _fails(state: State | None) -> bool:
    return state is not None and state.outcome in _FAILING


def _passes(state: State | None) -> bool:
    return state is not None and state.outcome is Outcome.PASS


def _is_accepted(state: State | None) -> bool:
    return state is not None and state.status is Status.RISK_ACCEPTED
