"""One judge per compiled check: takes the rows of its dataset, then concludes with a verdict."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from plumbline_contracts.datasets import DatasetSchema
from plumbline_contracts.events import (
    DatasetError,
    DatasetState,
    DatasetSummary,
    Evidence,
    MissingField,
    Outcome,
    Row,
    UnknownReason,
)
from pydantic import JsonValue

from plumbline_evaluator.catalogue.model import AppliesWhen, DocumentCheck, PropertyCheck, RowCheck
from plumbline_evaluator.expressions import Expression, quoted
from plumbline_evaluator.judging.plan import RANK, Leaf
from plumbline_evaluator.judging.presence import FieldReader
from plumbline_evaluator.judging.verdicts import GRANT, Verdict, decided, explained, sentence

Params = Mapping[str, JsonValue]

_REASON_OF_STATE = {
    DatasetState.DENIED: UnknownReason.MISSING_PERMISSION,
    DatasetState.ERROR: UnknownReason.COLLECTION_ERROR,
    DatasetState.TRUNCATED: UnknownReason.TRUNCATED,
}
_SHOWN_CHARACTERS = 300
_BOOLEANS = ("true", "false")


def shown(value: JsonValue) -> str:
    """A value as a sentence shows it, cut at 300 characters."""
    if isinstance(value, list):
        text = ", ".join(map(shown, value))
    else:
        text = str(value).lower() if isinstance(value, bool) else str(value)
    cut = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
    return "".join(map(_printable, cut)) or "(empty)"


def _printable(character: str) -> str:
    """The character, unless it would steer a terminal or the direction of writing."""
    return character if character.isprintable() else "�"


def _pairs(values: Mapping[str, JsonValue], separator: str) -> str:
    return separator.join(f"{name} = {shown(value)}" for name, value in values.items() if value is not None)


def unreadable(schema: DatasetSchema, summary: DatasetSummary) -> Verdict:
    """The verdict when a dataset was not read: NOT_APPLICABLE with proof, else UNKNOWN with the permission to grant."""
    error = summary.error
    said = f" ({error.message})" if error else ""
    if summary.state in (DatasetState.NOT_LICENSED, DatasetState.UNSUPPORTED):
        what = "is not licensed" if summary.state is DatasetState.NOT_LICENSED else "does not exist in this release"
        return Verdict(Outcome.NOT_APPLICABLE, f"{schema.source} {what} on this instance{said}.")
    if summary.state is DatasetState.DENIED:
        text = f"{schema.source} could not be read{said}.{_grant(error)}"
        return Verdict(Outcome.UNKNOWN, text, reason=UnknownReason.MISSING_PERMISSION)
    text = f"{schema.source} could not be read{said}. It is tried again with the next collection."
    return Verdict(Outcome.UNKNOWN, text, reason=_REASON_OF_STATE[summary.state])


def _grant(error: DatasetError | None) -> str:
    """What to grant; nothing where the collector named nothing, because what is named there would not help."""
    return f"{GRANT}{error.permission}: {error.remedy}." if error and error.permission and error.remedy else ""


def granting(summary: DatasetSummary) -> str:
    """What to grant so that a dataset is read whole, as a sentence behind another one; empty if that is not known."""
    return _grant(summary.error)


def missing_field(schema: DatasetSchema, missing: MissingField) -> Verdict:
    """The verdict when a field was withheld from every row."""
    if missing.state in (DatasetState.NOT_LICENSED, DatasetState.UNSUPPORTED):
        text = f"{schema.name}.{missing.field} does not exist on this instance: {missing.error.message}."
        return Verdict(Outcome.NOT_APPLICABLE, text)
    reason = _REASON_OF_STATE.get(missing.state, UnknownReason.MISSING_FIELD)
    grant = _grant(missing.error) if missing.state == DatasetState.DENIED else ""
    source = schema.fields[missing.field].counts or schema.source
    text = f"{source} was read without {missing.field} ({missing.error.message}).{grant}"
    return Verdict(Outcome.UNKNOWN, text, reason=reason)


def unusable_fields(schema: DatasetSchema, names: Sequence[str]) -> str:
    """What could not be used of an answer that was read, and what it is made of, as a clause."""
    described = (f"{name} ({schema.fields[name].source.removeprefix('derived from ')})" for name in names)
    return f"a usable {', '.join(described)}; the release or edition may not have it, and no right is known to show it"


class Judge(ABC):
    """Judges one check of one control on one snapshot."""

    def __init__(self, leaf: Leaf, params: Params) -> None:
        self.leaf = leaf
        self.params = params
        self.expected = leaf.check.expected.format(**{name: shown(value) for name, value in params.items()})

    @abstractmethod
    def _conclude(self, summary: DatasetSummary) -> Verdict:
        """The verdict, once all rows of a readable dataset were taken."""

    def conclude(self, summary: DatasetSummary) -> Verdict:
        """The verdict on a dataset in whatever state, with expectation and evidence."""
        verdict = self._blocked(summary) or self._conclude(summary)
        observed = {name: value for name, value in self._evidence().items() if value is not None}
        evidence = Evidence(
            dataset=summary.name,
            source=self._source(),
            state=summary.state,
            read_at=summary.read_at,
            observed=observed,
        )
        text = _pairs(observed, "; ") or None
        return Verdict(
            **{
                **vars(verdict),
                "expected": self.expected,
                "observed": verdict.observed or text,
                "evidence": (evidence,),
            }
        )

    def _evidence(self) -> Mapping[str, JsonValue]:
        return {}

    def _source(self) -> str:
        """Where what is judged stands."""
        return self.leaf.dataset.source

    def _blocked(self, summary: DatasetSummary) -> Verdict | None:
        for missing in summary.missing_fields:
            if missing.field in self._needed_fields:
                return missing_field(self.leaf.dataset, missing)
        if summary.state not in (DatasetState.OK, DatasetState.TRUNCATED):
            return unreadable(self.leaf.dataset, summary)
        return None

    @property
    def _needed_fields(self) -> frozenset[str]:
        """The dataset fields without which the check decides nothing."""
        return self.named_fields

    @property
    def named_fields(self) -> frozenset[str]:
        """The dataset fields that the check's expressions name."""
        expressions = [self.leaf.passes, self.leaf.where, *(band for band, _ in self.leaf.partial)]
        return frozenset().union(*(expression.fields for expression in expressions if expression))

    def _truncated(self, name: str, summary: DatasetSummary) -> Verdict:
        """UNKNOWN, because `name` may be among the rows that could not be read."""
        source, grant = self.leaf.dataset.source, granting(summary)
        text = f"{source} was read in part only, without {name}; whether that is absent cannot be decided.{grant}"
        return Verdict(Outcome.UNKNOWN, text, reason=UnknownReason.TRUNCATED)

    def _values(self, *expressions: Expression | None) -> dict[str, JsonValue]:
        found: dict[str, JsonValue] = {}
        for expression in expressions:
            if expression:
                found |= {variable: self.params[name] for variable, name in expression.variables.items()}
        return found


def _absent(outcome: Outcome, found: str, expected: str) -> Verdict:
    """The verdict that a control states for what is not there; `found` says that it is not."""
    if outcome is Outcome.UNKNOWN:
        text = f"{sentence(found)}, and what is in force then is not documented."
        return Verdict(outcome, text, reason=UnknownReason.MISSING_FIELD)
    if outcome is Outcome.NOT_APPLICABLE:
        return Verdict(outcome, f"{sentence(found)}, so this control does not apply here.")
    share = 1.0 if outcome is Outcome.PASS else 0.0
    return Verdict(outcome, explained(share, found, expected), share=share)


def selecting_fields(selection: RowCheck | AppliesWhen, schema: DatasetSchema) -> frozenset[str]:
    """The fields that tell which row a check or a condition is about; none for a document."""
    return frozenset({schema.entity.id} if selection.key is not None and schema.entity else selection.match)


def is_selected(selection: RowCheck | AppliesWhen, schema: DatasetSchema, row: Row) -> bool | None:
    """Whether a row is the one that a check or a condition is about; a document always is.

    None when the row lacks a field that would tell, and none of the others says that it is another.
    """
    if selection.key is not None:
        return schema.entity is not None and row.get(schema.entity.id) == selection.key
    found = [row.get(field) for field in selection.match]
    if any(
        value is not None and value != wanted for value, wanted in zip(found, selection.match.values(), strict=True)
    ):
        return False
    return None if None in found else True


class SingleJudge(Judge):
    """Judges one row: a document, or the row that a key selects. Of several that differ, the worst decides."""

    def __init__(self, leaf: Leaf, params: Params) -> None:
        super().__init__(leaf, params)
        self._row: Row | None = None
        self._others: list[Row] = []
        self._unclear = False

    def take(self, row: Row) -> None:
        """Take a row of the dataset; what is selected is kept, each row once."""
        check = self.leaf.check
        if isinstance(check, RowCheck) and not (selected := is_selected(check, self.leaf.dataset, row)):
            self._unclear = self._unclear or selected is None
            return
        if self._row is None:
            self._row = row
        elif row != self._row and row not in self._others and len(self._others) < MOST_TWINS:
            self._others.append(row)

    @property
    def _needed_fields(self) -> frozenset[str]:
        check = self.leaf.check
        selecting = selecting_fields(check, self.leaf.dataset) if isinstance(check, RowCheck) else frozenset()
        return self.named_fields | selecting

    def _source(self) -> str:
        """The dataset's object, or those whose rows its fields count."""
        sources = {self.leaf.dataset.fields[name].counts for name in self.named_fields}
        counted = sorted(filter(None, sources))
        return ", ".join(counted) if len(counted) == len(sources) and counted else super()._source()

    def _evidence(self) -> Mapping[str, JsonValue]:
        if self._row is None:
            return {}
        check = self.leaf.check
        names = check.observed if isinstance(check, DocumentCheck) and check.observed else sorted(self.named_fields)
        return {name: self._row.get(name) for name in names}

    def _name(self) -> str:
        """The document or, as people know it, the row: its own name if seen, else the sub-check's or the key."""
        check, entity = self.leaf.check, self.leaf.dataset.entity
        if not isinstance(check, RowCheck):
            return self._source()
        seen = self._row.get(entity.name) if self._row and entity else None
        return shown(seen or check.subject or self.leaf.name or check.key or ", ".join(check.match.values()))

    def _what(self) -> str:
        source = self._source()
        return f"{self._name()} in {source}" if isinstance(self.leaf.check, RowCheck) else source

    def _found(self) -> str:
        where = f"for {self._what()}" if isinstance(self.leaf.check, RowCheck) else f"in {self._what()}"
        return f"found {_pairs(self._evidence(), ' and ')} {where}"

    def _conclude(self, summary: DatasetSummary) -> Verdict:
        check = self.leaf.check
        assert isinstance(check, DocumentCheck | RowCheck)
        if self._row is None:
            return self._nothing(check, summary)
        if isinstance(check, DocumentCheck) and summary.state is DatasetState.TRUNCATED:
            return self._partly_read(summary)
        return self._worst() if self._others else self._judge_row(self._row)

    def _nothing(self, check: DocumentCheck | RowCheck, summary: DatasetSummary) -> Verdict:
        """The verdict when no row was the one that was looked for."""
        if summary.state is DatasetState.TRUNCATED:
            return self._truncated(self._name(), summary)
        if self._unclear:
            names = ", ".join(sorted(self._needed_fields - self.named_fields))
            text = (
                f"{self.leaf.dataset.source} has rows without {names}, so whether it has {self._name()} is not known."
            )
            return Verdict(Outcome.UNKNOWN, text, reason=UnknownReason.MISSING_FIELD)
        return _absent(check.absent, f"found no {self._what()}", self.expected)

    def _partly_read(self, summary: DatasetSummary) -> Verdict:
        """A document sums up what was read: a part of it proves nothing."""
        seen = _pairs(self._evidence(), "; ")
        found = f"; what was found may not be all: {seen}" if seen else ""
        text = f"{self.leaf.dataset.source} was read in part only{found}.{granting(summary)}"
        return Verdict(Outcome.UNKNOWN, text, reason=UnknownReason.TRUNCATED)

    def _worst(self) -> Verdict:
        """The verdict on the row that decides: one that fails, else one that cannot be judged, else the lowest."""
        assert self._row is not None
        rows = [self._row, *self._others]
        verdicts = [self._judge_row(row) for row in rows]
        place = min(range(len(rows)), key=lambda at: (_SEVERITY.get(verdicts[at].outcome, 2), verdicts[at].share))
        verdict = self._judge_row(rows[place])
        found = f"{len(rows)} rows that differ are named so; the worst decides. "
        return replace(verdict, explanation=found + verdict.explanation)

    def _judge_row(self, row: Row) -> Verdict:
        self._row = row
        data = self._values(self.leaf.passes, *(band for band, _ in self.leaf.partial))
        unusable = FieldReader(self.leaf.dataset, self.named_fields).read(self._row, data)
        if unusable:
            text = f"{self._what()} was read without {unusable_fields(self.leaf.dataset, unusable)}."
            return Verdict(Outcome.UNKNOWN, text, reason=UnknownReason.MISSING_FIELD)
        return judge_values(self.leaf, self.leaf.language.activation(data), self._found(), self.expected)


MOST_TWINS = 20
"""How many further rows of one name are kept, if they differ."""
_SEVERITY = {Outcome.FAIL: 0, Outcome.UNKNOWN: 1}


def judge_values(leaf: Leaf, activation: Any, found: str, expected: str) -> Verdict:  # noqa: ANN401 - CEL's object
    """PASS, a band, or FAIL of one set of values; UNKNOWN when the expression cannot be evaluated."""
    for expression, share in [(leaf.passes, 1.0), *leaf.partial]:
        assert expression is not None
        holds = expression.holds(activation)
        if holds is None:
            why = expression.why_not(activation)
            text = f"{sentence(found)}, but {quoted(expression.text)} could not be evaluated: {why}."
            return Verdict(Outcome.UNKNOWN, text, reason=UnknownReason.EXPRESSION_ERROR)
        if holds:
            return Verdict(decided(share), explained(share, found, expected), share=share)
    return Verdict(Outcome.FAIL, explained(0, found, expected))


class PropertyJudge(Judge):
    """Judges the value of one system property, or the documented value in force when its row is absent."""

    def __init__(self, leaf: Leaf, params: Params, ranks: Mapping[str, int]) -> None:
        super().__init__(leaf, params)
        self._ranks = ranks
        self._seen: list[str | None] = []
        self.release_rank: int | None = None

    def take(self, row: Row) -> None:
        """Take the property's row; there may be several of one name."""
        value = row.get("value")
        self._seen.append(value if isinstance(value, str) else None)

    @property
    def _check(self) -> PropertyCheck:
        assert isinstance(self.leaf.check, PropertyCheck)
        return self.leaf.check

    def _evidence(self) -> Mapping[str, JsonValue]:
        values = [value for value in self._seen if value is not None]
        return {self._check.property: values[0] if len(values) == 1 else list(values)} if values else {}

    def _conclude(self, summary: DatasetSummary) -> Verdict:
        check = self._check
        texts = [text.strip() for text in self._seen if text is not None]
        if len(texts) != len(self._seen):
            remedy = self.leaf.dataset.remedy
            text = f"{check.property} was read without its value. Grant {self.leaf.dataset.permission}: {remedy}."
            return Verdict(Outcome.UNKNOWN, text, reason=UnknownReason.MISSING_FIELD)
        present = [text for text in texts if text or check.type != "int"]
        if not present:
            return (
                self._truncated(check.property, summary)
                if summary.state is DatasetState.TRUNCATED
                else self._judge_absent()
            )
        verdicts = [self._judge_text(text, self._found(text)) for text in dict.fromkeys(present)]
        worst = min(verdicts, key=lambda verdict: (verdict.share, verdict.outcome is Outcome.UNKNOWN))
        if len(verdicts) == 1:
            return worst
        text = f"{check.property} has {len(present)} rows with different values; the worst counts. {worst.explanation}"
        return replace(worst, explanation=text)

    def _found(self, text: str) -> str:
        """One value as it stands there."""
        neither = ", which is neither true nor false" if self._is_neither(text) else ""
        return f"found {self._check.property} = {shown(text)}{neither}"

    def _is_neither(self, text: str) -> bool:
        """Whether a switch has a text of which nobody says what it means; it complies with nothing then."""
        return self._check.type == "bool" and text.strip().lower() not in _BOOLEANS

    def _judge_absent(self) -> Verdict:
        check, absent = self._check, self._check.absent
        value, outcome = absent.value, absent.outcome
        if absent.releases and self.release_rank is None:
            text = f"{check.property} is absent, and the release that decides its value could not be read."
            return Verdict(Outcome.UNKNOWN, text, reason=UnknownReason.MISSING_FIELD)
        for band in absent.releases:
            if self._is_within(band.since, band.until):
                value, outcome = band.value, band.outcome
                break
        found = f"the property {check.property} is absent"
        if outcome is not None:
            return _absent(outcome, found, self.expected)
        assert value is not None
        return self._judge_text(value, f"{found}, so {shown(value)} is in force")

    def _is_within(self, since: str | None, until: str | None) -> bool:
        rank = self.release_rank or 0
        return (since is None or rank >= self._ranks[since]) and (until is None or rank < self._ranks[until])

    def _judge_text(self, text: str, found: str) -> Verdict:
        value: JsonValue = text
        if self._is_neither(text):
            return Verdict(Outcome.FAIL, explained(0, found, self.expected))
        if self._check.type == "bool":
            value = text.strip().lower() == "true"
        elif self._check.type == "list":
            value = [item.strip() for item in text.split(",") if item.strip()]
        elif self._check.type == "int":
            try:
                value = int(text)
            except ValueError:
                message = f"{sentence(found)}, which is not a number."
                return Verdict(Outcome.UNKNOWN, message, reason=UnknownReason.MISSING_FIELD)
        assert self.leaf.passes is not None
        data = {"value": value, **self._values(self.leaf.passes)}
        if RANK in self.leaf.passes.fields:
            if self.release_rank is None:
                message = f"{sentence(found)}, and the release that decides what is expected could not be read."
                return Verdict(Outcome.UNKNOWN, message, reason=UnknownReason.MISSING_FIELD)
            data[RANK] = self.release_rank
        return judge_values(self.leaf, self.leaf.language.activation(data), found, self.expected)
