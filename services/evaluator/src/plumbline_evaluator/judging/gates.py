"""Whether a control applies to an instance: its `applies_when` on one snapshot."""

from collections.abc import Iterable, Mapping

from plumbline_contracts.events import DatasetState, DatasetSummary, Outcome, Row, UnknownReason
from pydantic import JsonValue

from plumbline_evaluator.judging.judges import is_selected, unreadable
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

    def take(self, row: Row) -> None:
        """Take a row of the dataset."""
        if is_selected(self.gate.condition, self.gate.dataset, row):
            self._answers.add(self._answer(row))

    def _answer(self, row: Row) -> bool | None:
        data = dict(self._data)
        unusable = self._reader.read(row, data)
        return None if unusable else self.gate.expression.holds(self.gate.language.activation(data))

    def conclude(self, summary: DatasetSummary) -> Verdict | None:
        """None when the condition holds."""
        schema = self.gate.dataset
        if schema.kind == "document" and summary.state is DatasetState.TRUNCATED:
            return self._partly_read()
        if True in self._answers:
            return None
        if None in self._answers:
            return self._unclear("was read without the field that says it")
        if self._answers:
            return self._not_applicable()
        if summary.state is not DatasetState.OK:
            return unreadable(schema, summary) if summary.state is not DatasetState.TRUNCATED else self._partly_read()
        return self._unclear("is empty") if schema.kind == "document" else self._not_applicable()

    def _not_applicable(self) -> Verdict:
        why = self.gate.condition.reason or f"`{self.gate.expression.text}` does not hold for this instance"
        return Verdict(Outcome.NOT_APPLICABLE, f"This control does not apply here: {why}.")

    def _partly_read(self) -> Verdict:
        text = f"Whether this control applies could not be decided: {self.gate.dataset.source} was read in part only."
        return Verdict(Outcome.UNKNOWN, text, reason=UnknownReason.TRUNCATED)

    def _unclear(self, why: str) -> Verdict:
        text = f"Whether this control applies could not be decided: {self.gate.dataset.name} {why}."
        return Verdict(Outcome.UNKNOWN, text, reason=UnknownReason.MISSING_FIELD)
