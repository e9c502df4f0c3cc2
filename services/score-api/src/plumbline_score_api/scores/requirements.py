"""How a requirement of a framework stands, as far as the controls that are mapped to it show it. Pure."""

from collections.abc import Mapping
from enum import StrEnum

from plumbline_contracts.events import Outcome


class RequirementState(StrEnum):
    """Of the instances in scope: a control fails; else one is unknown; else one passes; else none is judged."""

    FAILED = "failed"
    UNKNOWN = "unknown"
    PASSED = "passed"
    NOT_COVERED = "not_covered"


def state_of(outcomes: Mapping[str, int]) -> RequirementState:
    """The state by the number of controls per outcome. What people decided does not change it."""
    if outcomes.get(Outcome.FAIL.value) or outcomes.get(Outcome.PARTIAL.value):
        return RequirementState.FAILED
    if outcomes.get(Outcome.UNKNOWN.value):
        return RequirementState.UNKNOWN
    return RequirementState.PASSED if outcomes.get(Outcome.PASS.value) else RequirementState.NOT_COVERED
