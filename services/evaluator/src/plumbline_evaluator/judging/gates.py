"""Whether a control applies to an instance: its `applies_when` on one snapshot."""

from collections.abc import Iterable, Mapping

from plumbline_contracts.events import DatasetState, DatasetSummary, Outcome, Row, UnknownReason
from pydantic import JsonValue

from plumbline_evaluator.expressions import quoted
from plumbline_evaluator.judging.judges import (
    granting,
    is_selected,
    missing_field,
    selecting_fields,
    unreadable,
    unusable_fields,
)
from plumbline_evaluator.judging.plan import Gate
from plumbline_evaluator.judging.presence import FieldReader
from plumbline_evaluator.judging.verdicts import Verdict


def barred(verdicts: Iterable[Verdict | None]) -> Verdict | None:
    """The verdict that keeps a control from being judged: one condition that does not hold is enough.

    Without one, a condition that cannot be decided leaves the control UNKNOWN.
    """
    found = [verdict for verdict in verdicts if verdict]
    return next((verdict for verdict in found if verdict.outcome is Outcome.NOT_APPLICABLE), next(iter(found), None))


class GateJudge:
    """Judges one condition. Of several rows that are selected, one that meets it is enough."""

    def __init__(self, gate: Gate, params: Mapping[str, JsonValue]) -> None:
        self.gate = gate
        self._data = {variable: params[name] for variable, name in gate.expression.variables.items()}
        self._reader = FieldReader(gate.dataset, gate.expression.fields)
        self._answers: set[bool | None] = set()
        self._needed = gate.expression.fields | selecting_fields(gate.condition, gate.dataset)

    def take(self, row: Row) -> None:
        """Take a row of the dataset."""
        selected = is_selected(self.gate.condition, self.gate.dataset, row)
        if selected is not False:
            self._answers.add(self._answer(row) if selected else None)

    def _answer(self, row: Row) -> bool | None:
        data = dict(self._data)
        unusable = self._reader.read(row, data)
        return None if unusable else self.gate.expression.holds(self.gate.language.activation(data))

    def conclude(self, summary: DatasetSummary) -> Verdict | None:
        """None when the condition holds."""
        is_partial = summary.state is DatasetState.TRUNCATED
        if self.gate.dataset.kind == "document" and is_partial:
            return self._partly_read(summary)
        if True in self._answers:
            return None
        if withheld := self._withheld(summary):
            return withheld
        if None in self._answers:
            return self._unclear(f"was read without {unusable_fields(self.gate.dataset, sorted(self._needed))}")
        if self._answers:
            return self._not_applicable()
        return self._unseen(summary)

    def _unseen(self, summary: DatasetSummary) -> Verdict:
        """What follows when no row was the one that is asked about."""
        if summary.state is DatasetState.TRUNCATED:
            return self._partly_read(summary)
        if summary.state is not DatasetState.OK:
            return unreadable(self.gate.dataset, summary)
        return self._unclear("is empty") if self.gate.dataset.kind == "document" else self._not_applicable()

    def _not_applicable(self) -> Verdict:
        why = self.gate.condition.reason or f"{quoted(self.gate.expression.text)} does not hold for this instance"
        return Verdict(Outcome.NOT_APPLICABLE, f"This control does not apply here: {why}.")

    def _withheld(self, summary: DatasetSummary) -> Verdict | None:
        """What is known of a field that was withheld: the right that shows it, or that it is not there."""
        named = (each for each in summary.missing_fields if each.field in self._needed)
        return next((missing_field(self.gate.dataset, each) for each in named), None)

    def _partly_read(self, summary: DatasetSummary) -> Verdict:
        source, grant = self.gate.dataset.source, granting(summary)
        text = f"Whether this control applies could not be decided: {source} was read in part only.{grant}"
        return Verdict(Outcome.UNKNOWN, text, reason=UnknownReason.TRUNCATED)

    def _unclear(self, why: str) -> Verdict:
        text = f"Whether this control applies could not be decided: {self.gate.dataset.name} {why}."
        return Verdict(Outcome.UNKNOWN, text, reason=UnknownReason.MISSING_FIELD)
