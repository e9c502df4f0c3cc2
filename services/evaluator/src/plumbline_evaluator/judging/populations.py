"""Judges of populations: they see every row of a dataset and conclude with a share or a count."""

from abc import abstractmethod
from bisect import insort
from collections.abc import Callable
from dataclasses import replace

from plumbline_contracts.datasets import DatasetSchema
from plumbline_contracts.events import DatasetState, DatasetSummary, ExposedEntity, Outcome, Row, UnknownReason
from plumbline_contracts.ids import EntityDigest

from plumbline_evaluator.catalogue.model import Bound, CountCheck, RowsCheck
from plumbline_evaluator.judging.judges import Judge, Params, granting, shown
from plumbline_evaluator.judging.plan import Leaf
from plumbline_evaluator.judging.verdicts import Verdict, decided, explained, sentence

Emit = Callable[[str, ExposedEntity], None]

NAMES_IN_A_SENTENCE = 3


class PopulationJudge(Judge):
    """Base of the judges that see every row. The expressions are evaluated for all of them together, elsewhere."""

    def __init__(self, leaf: Leaf, params: Params, emit: Emit, limit: int) -> None:
        super().__init__(leaf, params)
        self._emit = emit
        self._limit = limit
        self.total = 0
        self.unjudged = 0
        self.listed = 0
        self.digest = EntityDigest()
        self._first: list[str] = []
        self._detail_fields = sorted(self.named_fields)
        self._schema: DatasetSchema = leaf.dataset
        assert leaf.dataset.entity is not None
        self._entity = leaf.dataset.entity

    @abstractmethod
    def take(self, row: Row, complies: bool | None) -> None:
        """Take a row of the population; `complies` is None when it cannot be judged."""

    def take_undecided(self, row: Row) -> None:
        """Take a row of which it is not known whether it belongs to the population."""
        self.total += 1
        self.unjudged += 1
        self.expose(row)

    def expose(self, row: Row) -> None:
        """Count a row as exposed, and list it (id, name and the fields that were judged) while the limit allows."""
        entity_id, name = str(row.get(self._entity.id, "")), str(row.get(self._entity.name, ""))
        self.digest.add(entity_id)
        self._remember(name or entity_id)
        if self.listed < self._limit:
            self.listed += 1
            detail = {field: row.get(field) for field in self._detail_fields}
            entity = ExposedEntity(id=entity_id, name=name, type=self._entity.type, detail=detail)
            self._emit(self.leaf.control, entity)

    def _remember(self, name: str) -> None:
        """Keep the names that come first in the alphabet, whatever the order of the rows, each once."""
        if (len(self._first) < NAMES_IN_A_SENTENCE or name < self._first[-1]) and name not in self._first:
            insort(self._first, name)
            del self._first[NAMES_IN_A_SENTENCE:]

    def _number(self, bound: Bound | None) -> int | None:
        """A bound as a number: itself, or the value of the parameter that it names."""
        if isinstance(bound, str):
            value = self.params[bound.removeprefix("params.")]
            assert isinstance(value, int)
            return value
        return bound

    def _names(self) -> str:
        return f" (first: {', '.join(map(shown, self._first))})" if self._first else ""

    @property
    @abstractmethod
    def population(self) -> str:
        """What the members of the population are called, in the plural."""

    def _none_judged(self, counted: Verdict) -> Verdict:
        text = (
            f"None of {self.total} {self.population} in {self._schema.source} could be judged: "
            "fields are missing, or hold what the check cannot take."
        )
        return replace(counted, outcome=Outcome.UNKNOWN, explanation=text, reason=UnknownReason.MISSING_FIELD)


class RowsJudge(PopulationJudge):
    """The share of a population that complies."""

    def __init__(self, leaf: Leaf, params: Params, emit: Emit, limit: int) -> None:
        super().__init__(leaf, params, emit, limit)
        self.compliant = 0

    @property
    def _check(self) -> RowsCheck:
        assert isinstance(self.leaf.check, RowsCheck)
        return self.leaf.check

    @property
    def population(self) -> str:
        return self._check.population

    @property
    def _target(self) -> int:
        return self._number(self._check.target_percent) or 100

    def take(self, row: Row, complies: bool | None) -> None:
        self.total += 1
        if complies:
            self.compliant += 1
            return
        self.unjudged += complies is None
        self.expose(row)

    def _counted(self) -> Verdict:
        return Verdict(
            Outcome.UNKNOWN,
            "",
            compliant=self.compliant,
            total=self.total,
            exposed=self.total - self.compliant,
            exposed_listed=self.listed,
            exposed_digest=self.digest.hex() if self.digest.count else None,
        )

    def _conclude(self, summary: DatasetSummary) -> Verdict:
        counted = self._counted()
        if summary.state is DatasetState.TRUNCATED and (self.compliant or not self.total):
            seen = self._seen()
            text = f"{self._schema.source} was read in part only; {seen}; {self._wanted()}."
            text += granting(summary)
            return replace(counted, explanation=text, reason=UnknownReason.TRUNCATED)
        if not self.total:
            return self._nobody()
        if self.unjudged == self.total:
            return self._none_judged(counted)
        share = min(1.0, 100 * self.compliant / (self.total * self._target))
        return replace(counted, outcome=decided(share), explanation=self._explanation(share), share=share)

    def _seen(self) -> str:
        if not self.total:
            return f"what was read has no {self.population}"
        verb = "complies" if self.compliant == 1 else "comply"
        return f"of what was read, {self.compliant} of {self.total} {self.population} {verb}"

    def _wanted(self) -> str:
        of = "each" if self._target == 100 else f"at least {self._target} %"
        return f"expected of {of}: {self.expected}"

    def _explanation(self, share: float) -> str:
        failing, population = self.total - self.compliant, self.population
        if share >= 1:
            verb = "complies" if self.compliant == 1 else "comply"
            return f"As expected: {self.compliant} of {self.total} {population} {verb} ({self._wanted()})."
        text = f"{failing} of {self.total} {population} {self._check.exposed}{self._names()}; {self._wanted()}."
        return f"{text} {self._about_unjudged()}" if self.unjudged else text

    def _about_unjudged(self) -> str:
        counts = "counts" if self.unjudged == 1 else "count"
        return f"{self.unjudged} of them could not be judged, and {counts} as exposed."

    def _nobody(self) -> Verdict:
        absent = self._check.absent
        found, share = f"this instance has no {self.population}", 1.0 if absent is Outcome.PASS else 0.0
        is_judged = absent in (Outcome.PASS, Outcome.FAIL)
        unknown = ", and without any nothing can be judged" if absent is Outcome.UNKNOWN else ""
        text = explained(share, found, self.expected, of="each") if is_judged else f"{sentence(found)}{unknown}."
        reason = UnknownReason.MISSING_FIELD if absent is Outcome.UNKNOWN else None
        return Verdict(absent, text, share=share, reason=reason, compliant=0, total=0)


class CountJudge(PopulationJudge):
    """How many rows match, against bands. They are exposed only when there are too many, so they wait for the end."""

    def __init__(self, leaf: Leaf, params: Params, emit: Emit, limit: int) -> None:
        self._waiting: list[ExposedEntity] = []
        super().__init__(leaf, params, lambda _, entity: self._waiting.append(entity), limit)
        self._publish = emit
        self._reference = 0

    @property
    def _check(self) -> CountCheck:
        assert isinstance(self.leaf.check, CountCheck)
        return self.leaf.check

    @property
    def population(self) -> str:
        return self._check.population

    def take(self, row: Row, complies: bool | None) -> None:
        """Take a row that matches or, with a reference population, a row of that."""
        self._reference += 1
        if self._check.of is not None and complies is not True:
            if complies is None:
                self.take_undecided(row)
            return
        self.total += 1
        self.expose(row)

    def _highest(self, maximum: Bound | None, percent: Bound | None) -> int | None:
        high, part = self._number(maximum), self._number(percent)
        return high if part is None else max(high or 0, part * self._reference // 100)

    def _share(self, count: int) -> float:
        for band in self._check.bands:
            low, high = self._number(band.minimum), self._highest(band.maximum, band.maximum_percent)
            if (low is None or count >= low) and (high is None or count <= high):
                return band.share
        return 0.0

    def _reachable(self, count: int) -> set[float]:
        """The shares that are possible when `count` or more rows match; a part of an unknown number may be any."""
        if self._check.of is not None:
            return {0.0, *(band.share for band in self._check.bands)}
        edges = {count}
        for band in self._check.bands:
            low, high = self._number(band.minimum), self._number(band.maximum)
            edges |= {edge for edge in (low, None if high is None else high + 1) if edge is not None and edge > count}
        return {self._share(edge) for edge in edges}

    def _found(self) -> str:
        if self.total != 1:
            return f"found {self.total or 'no'} {self.population}"
        return f"found 1 {self._check.singular}" if self._check.singular else f"found 1 ({self.population})"

    def _conclude(self, summary: DatasetSummary) -> Verdict:
        counted = Verdict(Outcome.UNKNOWN, "", total=self.total)
        if summary.state is DatasetState.TRUNCATED and self._reachable(self.total) != {self._share(self.total)}:
            seen = f"of what was read, {self._found()}; expected: {self.expected}"
            text = f"{self._schema.source} was read in part only; {seen}.{granting(summary)}"
            return replace(counted, explanation=text, reason=UnknownReason.TRUNCATED)
        if self.total and self.unjudged == self.total:
            return self._none_judged(counted)
        share = min(self._share(count) for count in range(self.total - self.unjudged, self.total + 1))
        if share == 1:
            return replace(counted, outcome=Outcome.PASS, explanation=self._explanation(share), share=1.0)
        for entity in self._waiting:
            self._publish(self.leaf.control, entity)
        return replace(
            counted,
            outcome=decided(share),
            explanation=self._explanation(share),
            share=share,
            exposed=self.total,
            exposed_listed=self.listed,
            exposed_digest=self.digest.hex() if self.digest.count else None,
        )

    def _explanation(self, share: float) -> str:
        found = self._found() if share >= 1 else self._found() + self._names()
        undecided = f" {self.unjudged} of them may not match; the worst number counts." if self.unjudged else ""
        return explained(share, found, self.expected) + undecided
