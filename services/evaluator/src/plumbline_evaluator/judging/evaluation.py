"""Judging one snapshot against the catalogue of its product, chunk by chunk, in flat memory."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plumbline_contracts.datasets import DatasetSchema
from plumbline_contracts.events import (
    ControlResult,
    DatasetState,
    DatasetSummary,
    ExposedEntities,
    ExposedEntity,
    Outcome,
    Row,
    UnknownReason,
)
from pydantic import JsonValue

from plumbline_evaluator.catalogue.model import Control, PropertyCheck, RowCheck
from plumbline_evaluator.expressions import ANSWER_BITS, BELONGS, COMPLIES, Expression, Language, Questionnaire
from plumbline_evaluator.judging.gates import GateJudge, barred
from plumbline_evaluator.judging.judges import Judge, PropertyJudge, SingleJudge
from plumbline_evaluator.judging.plan import RELEASE, CompiledControl, Leaf, ProductPlan
from plumbline_evaluator.judging.populations import CountJudge, PopulationJudge, RowsJudge
from plumbline_evaluator.judging.presence import FieldReader
from plumbline_evaluator.judging.releases import RANKS
from plumbline_evaluator.judging.verdicts import Verdict, combine_all, combine_any, combine_share

Parameters = Mapping[str, Mapping[str, JsonValue]]


@dataclass(frozen=True)
class Limits:
    """How much of the exposed entities travels: per control, and per batch that is handed on."""

    exposed_per_control: int = 10_000
    exposed_per_batch: int = 500


class Evaluation:
    """One evaluation: `take` every chunk of rows, handing on what it returns, then `conclude`.

    Datasets may come in any order and in pieces of any size; the results do not depend on it.
    """

    def __init__(
        self, plan: ProductPlan, digests: Mapping[str, str], parameters: Parameters, limits: Limits | None = None
    ) -> None:
        self._limits = limits or Limits()
        self._digests = digests
        self._exposed: dict[str, list[ExposedEntity]] = defaultdict(list)
        self._ready: list[ExposedEntities] = []
        self._trials = [_Trial(compiled, parameters, self) for compiled in plan.controls]
        self._routes = {name: _Route(name, self._trials, plan.questionnaires.get(name)) for name in plan.dataset_names}
        self.rows_judged = 0

    def take(self, dataset: str, rows: Sequence[Row]) -> list[ExposedEntities]:
        """Judge rows of a dataset; the batches of exposed entities that are full by now."""
        if route := self._routes.get(dataset):
            self.rows_judged += route.take(rows)
        return self._drain()

    def conclude(self, summaries: Iterable[DatasetSummary]) -> Iterator[ExposedEntities | ControlResult]:
        """The rest of the exposed entities and, after those of its own, the result of every control."""
        known = {summary.name: summary for summary in summaries}
        for trial in self._trials:
            verdict = trial.conclude(known)
            self._flush(trial.control.id)
            yield from self._drain()
            yield _result(trial.control, self._digests[trial.control.id], verdict)

    def emit(self, control: str, entity: ExposedEntity) -> None:
        """Take an exposed entity of a control."""
        waiting = self._exposed[control]
        waiting.append(entity)
        if len(waiting) >= self._limits.exposed_per_batch:
            self._flush(control)

    @property
    def exposed_limit(self) -> int:
        """How many exposed entities of one control are listed."""
        return self._limits.exposed_per_control

    def _flush(self, control: str) -> None:
        if waiting := self._exposed.pop(control, None):
            self._ready.append(ExposedEntities(control_id=control, entities=waiting))

    def _drain(self) -> list[ExposedEntities]:
        ready, self._ready = self._ready, []
        return ready


def _result(control: Control, digest: str, verdict: Verdict) -> ControlResult:
    points = round(control.points * verdict.share, 3)
    return ControlResult(
        control_id=control.id,
        control_digest=digest,
        outcome=verdict.outcome,
        reason=verdict.reason,
        explanation=verdict.explanation,
        share=verdict.share,
        points=points,
        max_points=control.points,
        compliant=verdict.compliant,
        total=verdict.total,
        exposed=verdict.exposed,
        exposed_listed=verdict.exposed_listed,
        exposed_digest=verdict.exposed_digest,
        expected=verdict.expected,
        observed=verdict.observed,
        evidence=list(verdict.evidence),
    )


_COMBINATIONS = {"all": combine_all, "any": combine_any, "share": combine_share}


def _summary(summaries: Mapping[str, DatasetSummary], schema: DatasetSchema) -> DatasetSummary:
    """How a dataset was read; one that the snapshot does not name could not be."""
    return summaries.get(schema.name) or DatasetSummary(
        name=schema.name, kind="rows", state=DatasetState.ERROR, source=schema.source
    )


class _Trial:
    """One control under judgement: its gate, its judges, its parameters."""

    def __init__(self, compiled: CompiledControl, parameters: Parameters, evaluation: Evaluation) -> None:
        self.control = compiled.control
        self.refused = _refused_parameter(self.control, parameters.get(self.control.id, {}))
        params = {name: param.default for name, param in self.control.params.items()}
        if self.refused is None:
            params |= parameters.get(self.control.id, {})
        self.gates = [GateJudge(gate, params) for gate in compiled.gates]
        self.judges = [_judge(leaf, params, evaluation) for leaf in compiled.leaves]

    def conclude(self, summaries: Mapping[str, DatasetSummary]) -> Verdict:
        if self.refused is not None:
            return Verdict(Outcome.UNKNOWN, self.refused, reason=UnknownReason.INVALID_PARAMETER)
        if verdict := barred(gate.conclude(_summary(summaries, gate.gate.dataset)) for gate in self.gates):
            return verdict
        parts = [(judge.leaf.name, judge.conclude(_summary(summaries, judge.leaf.dataset))) for judge in self.judges]
        if len(parts) == 1 and not parts[0][0]:
            return parts[0][1]
        assert self.control.check is not None
        return _COMBINATIONS[self.control.check.kind](parts)


def _refused_parameter(control: Control, given: Mapping[str, JsonValue]) -> str | None:
    for name, value in given.items():
        if name not in control.params:
            known = ", ".join(control.params) or "none"
            return f"The connection sets parameter {name}, which {control.id} does not have (it has: {known})."
        if problem := control.params[name].problem_with(value):
            return f"The connection sets parameter {name} of {control.id} to a value that is not allowed: {problem}."
    return None


def _judge(leaf: Leaf, params: Mapping[str, JsonValue], evaluation: Evaluation) -> Judge:
    match leaf.check.kind:
        case "rows":
            return RowsJudge(leaf, params, evaluation.emit, evaluation.exposed_limit)
        case "count":
            return CountJudge(leaf, params, evaluation.emit, evaluation.exposed_limit)
        case "property":
            return PropertyJudge(leaf, params, RANKS)
        case _:
            return SingleJudge(leaf, params)


class _Route:
    """Brings the rows of one dataset to the judges that want them, as cheaply as each allows."""

    def __init__(self, dataset: str, trials: list[_Trial], questionnaire: Questionnaire | None) -> None:
        judges = [judge for trial in trials for judge in trial.judges if judge.leaf.dataset.name == dataset]
        self._gates = [gate for trial in trials for gate in trial.gates if gate.gate.dataset.name == dataset]
        self._properties = _by_property(judges)
        self._releases = (
            [judge for trial in trials for judge in trial.judges if isinstance(judge, PropertyJudge)]
            if dataset == RELEASE
            else []
        )
        self._singles = [judge for judge in judges if isinstance(judge, SingleJudge)]
        self._by_key = _by_key(self._singles)
        self._matching = [j for j in self._singles if not (isinstance(j.leaf.check, RowCheck) and j.leaf.check.key)]
        self._key_field = self._singles[0].leaf.dataset.entity.id if self._by_key else ""  # type: ignore[union-attr]
        populations = [judge for judge in judges if isinstance(judge, PopulationJudge)]
        self._population = _Population(populations, questionnaire) if populations else None
        self._is_for_singles = bool(self._gates or self._singles or self._properties or self._releases)

    def take(self, rows: Sequence[Row]) -> int:
        """Judge rows; how many judgements of rows that made."""
        judged = sum(map(self._take_single, rows)) if self._is_for_singles else 0
        return judged + (self._population.take(rows) if self._population else 0)

    def _take_single(self, row: Row) -> int:
        chosen: list[Any] = [*self._gates, *self._matching]
        if self._by_key:
            chosen += self._by_key.get(str(row.get(self._key_field)), ())
        if self._properties:
            chosen += self._properties.get(str(row.get("name")), ())
        for judge in chosen:
            judge.take(row)
        for release in self._releases:
            rank = row.get("family_rank")
            release.release_rank = rank if isinstance(rank, int) else None
        return len(chosen)


def _by_property(judges: list[Judge]) -> dict[str, list[PropertyJudge]]:
    found: dict[str, list[PropertyJudge]] = defaultdict(list)
    for judge in judges:
        if isinstance(judge, PropertyJudge) and isinstance(judge.leaf.check, PropertyCheck):
            found[judge.leaf.check.property].append(judge)
    return found


def _by_key(judges: list[SingleJudge]) -> dict[str, list[SingleJudge]]:
    found: dict[str, list[SingleJudge]] = defaultdict(list)
    for judge in judges:
        if isinstance(judge.leaf.check, RowCheck) and judge.leaf.check.key:
            found[judge.leaf.check.key].append(judge)
    return found


class _Population:
    """All population judges of one dataset: one activation a row, and one expression that answers for all of them."""

    def __init__(self, judges: list[PopulationJudge], questionnaire: Questionnaire | None) -> None:
        self._judges = judges
        self._questionnaire = questionnaire
        self._language = judges[0].leaf.language
        self._params: dict[str, JsonValue] = {}
        for judge in judges:
            for expression in _expressions(judge):
                self._params |= {variable: judge.params[name] for variable, name in expression.variables.items()}
        fields = {field for judge in judges for field in judge.named_fields}
        self._reader = FieldReader(judges[0].leaf.dataset, fields)
        self._without: dict[frozenset[str], _Remaining | None] = {}

    def take(self, rows: Iterable[Row]) -> int:
        """Judge rows; how many judgements of rows that made."""
        count = 0
        for count, row in enumerate(rows, start=1):  # noqa: B007 - the last number is the count
            data = dict(self._params)
            unusable = self._reader.read(row, data)
            activation = self._language.activation(data)
            remaining = self._remaining(unusable) if unusable else None
            if remaining is not None and remaining.take(row, activation):
                continue
            answers = self._questionnaire.answers(activation) if self._questionnaire and unusable is None else None
            if answers is None:
                self._take_one_by_one(row, activation, unusable or ())
            else:
                self._take_answered(row, answers)
        return count * len(self._judges)

    def _remaining(self, unusable: Sequence[str]) -> "_Remaining | None":
        """What can be asked of rows without these fields; a column that is withheld lacks in every row alike."""
        lacking = frozenset(unusable)
        if lacking not in self._without and len(self._without) < MOST_GAPS:
            self._without[lacking] = _remaining(self._judges, self._language, lacking)
        return self._without.get(lacking)

    def _take_answered(self, row: Row, answers: int) -> None:
        for judge in self._judges:
            if answers & BELONGS:
                judge.take(row, complies=bool(answers & COMPLIES))
            answers >>= ANSWER_BITS

    def _take_one_by_one(self, row: Row, activation: Any, unusable: Sequence[str]) -> None:  # noqa: ANN401
        """What must be asked alone: a question whose fields are unusable, or that fails, leaves the others theirs."""
        for judge in self._judges:
            belongs = _answer(judge.leaf.where, activation, unusable)
            if belongs is None:
                judge.take_undecided(row)
            elif belongs:
                judge.take(row, complies=_answer(judge.leaf.passes, activation, unusable))


MOST_GAPS = 32
"""For so many sets of fields that lack together, the questions that remain are compiled into one."""


@dataclass(frozen=True)
class _Remaining:
    """The judges of rows that lack certain fields: those that cannot tell whether a row belongs, and the others."""

    undecided: Sequence[PopulationJudge]
    asked: Sequence[tuple[PopulationJudge, bool]]
    questionnaire: Questionnaire

    def take(self, row: Row, activation: Any) -> bool:  # noqa: ANN401 - CEL's own object
        """Judge a row; False, and nothing done, when some question has no answer."""
        answers = self.questionnaire.answers(activation)
        if answers is None:
            return False
        for judge in self.undecided:
            judge.take_undecided(row)
        for judge, tells in self.asked:
            if answers & BELONGS:
                judge.take(row, complies=bool(answers & COMPLIES) if tells else None)
            answers >>= ANSWER_BITS
        return True


def _remaining(judges: Sequence[PopulationJudge], language: Language, lacking: frozenset[str]) -> _Remaining | None:
    undecided, asked, questions = [], [], []
    for judge in judges:
        where, passes = judge.leaf.where, judge.leaf.passes
        assert where is not None
        if not where.fields.isdisjoint(lacking):
            undecided.append(judge)
            continue
        tells = passes is not None and passes.fields.isdisjoint(lacking)
        asked.append((judge, tells))
        questions.append((where, passes if tells else None))
    questionnaire = language.questionnaire(questions) if questions else None
    return _Remaining(undecided, asked, questionnaire) if questionnaire else None


def _expressions(judge: PopulationJudge) -> list[Expression]:
    return [expression for expression in (judge.leaf.where, judge.leaf.passes) if expression is not None]


def _answer(expression: Expression | None, activation: Any, unusable: Sequence[str]) -> bool | None:  # noqa: ANN401
    """Whether it holds; None when a field that it names is unusable, or when it cannot be evaluated."""
    if expression is None or not expression.fields.isdisjoint(unusable):
        return None
    return expression.holds(activation)
