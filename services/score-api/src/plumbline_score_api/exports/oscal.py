"""An instance's evaluation as OSCAL assessment results. Pure.

https://pages.nist.gov/OSCAL-Reference/models/v1.1.3/assessment-results/json-outline/

Each control of ours is an observation. Each NIST SP 800-53 control that some of them are mapped to is a finding, which
is satisfied when all of them pass: what could not be read satisfies nothing, and what people decided changes no state,
but is told. Every id follows from what it names, so the same evaluation gives the same document.
"""

import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from plumbline_contracts.events import ControlResult, Evidence, Outcome

from plumbline_score_api.decisions.decision import Status
from plumbline_score_api.pictures.picture import InstancePicture, Recommendation

Json = dict[str, Any]
OSCAL_VERSION = "1.1.3"
NIST = "nist_800_53_r5"
NAMESPACE = uuid.UUID("8d1f2f5e-5a0c-5b7e-9c55-3f6d4f0e7a11")
PROPERTIES = "urn:plumbline:oscal"
_NIST_ID = re.compile(r"([A-Z]{2})-0*(\d+)(?:\(0*(\d+)\))?")
_UNDECIDED = (Status.TO_ADDRESS, Status.COMPLETED)


def assessment_results(tenant: str, picture: InstancePicture, results: Mapping[str, ControlResult]) -> Json:
    """The document. `results` is by control id, of the picture's evaluation, which there must be."""
    assert picture.evaluated_at is not None
    names = _Names(tenant, picture)
    return {
        "assessment-results": {
            "uuid": names.of("document", names.version),
            "metadata": _metadata(tenant, picture, names),
            "import-ap": {"href": f"#{names.of('plan')}"},
            "results": [_result(picture, results, names)],
            "back-matter": {"resources": [_plan(names)]},
        }
    }


def nist_id(text: str) -> str | None:
    """An id such as `AC-2(3)` as OSCAL's catalogue has it, `ac-2.3`; None for anything else."""
    found = _NIST_ID.fullmatch(text)
    if found is None:
        return None
    family, number, enhancement = found.groups()
    return f"{family.lower()}-{number}" + (f".{enhancement}" if enhancement else "")


class _Names:
    """UUIDs that follow from what they name."""

    def __init__(self, tenant: str, picture: InstancePicture) -> None:
        version = picture.version
        self.version = f"{version.evaluation}.{version.decisions}.{version.templates}"
        self._instance = f"{tenant}/{picture.instance}"
        self._evaluation = f"{self._instance}/{version.evaluation}"

    def of(self, *parts: str) -> str:
        """Of a thing of the instance that evaluations share."""
        return str(uuid.uuid5(NAMESPACE, "/".join([self._instance, *parts])))

    def now(self, *parts: str) -> str:
        """Of a thing of this evaluation."""
        return str(uuid.uuid5(NAMESPACE, "/".join([self._evaluation, *parts])))


def _metadata(tenant: str, picture: InstancePicture, names: _Names) -> Json:
    moments = [item.changed_at for item in picture.items]
    assert picture.evaluated_at is not None
    return {
        "title": f"Configuration of {picture.product.value} instance {picture.instance}",
        "last-modified": _time(max([picture.evaluated_at, *moments])),
        "version": names.version,
        "oscal-version": OSCAL_VERSION,
        "roles": [{"id": "asset-owner", "title": "Who owns the instance"}],
        "parties": [{"uuid": names.of("tenant"), "type": "organization", "name": tenant}],
        "responsible-parties": [{"role-id": "asset-owner", "party-uuids": [names.of("tenant")]}],
    }


def _plan(names: _Names) -> Json:
    return {
        "uuid": names.of("plan"),
        "title": "Plumbline control catalogue",
        "description": "There is no assessment plan document: every control of the catalogue is judged on every "
        "snapshot of the instance's configuration, without a person.",
    }


def _result(picture: InstancePicture, results: Mapping[str, ControlResult], names: _Names) -> Json:
    assert picture.evaluated_at is not None
    items = [item for item in picture.items if item.control.control_id in results]
    mapped = _by_nist_id(items)
    found = {
        "uuid": names.now("result"),
        "title": f"Evaluation {picture.version.evaluation}",
        "description": "Automated evaluation of the configuration that a read-only collection saw.",
        "start": _time(picture.evaluated_at),
        "end": _time(max([picture.evaluated_at, *(item.control.evaluated_at for item in items)])),
        "local-definitions": _definitions(picture, names),
        "reviewed-controls": _reviewed(mapped),
        "observations": [_observation(item, results[item.control.control_id], names) for item in items],
        "findings": [each for name in mapped if (each := _finding(name, mapped[name], names))],
    }
    return {name: value for name, value in found.items() if value}  # OSCAL has no empty lists


def _definitions(picture: InstancePicture, names: _Names) -> Json:
    instance = {
        "uuid": names.of("instance"),
        "type": "service",
        "title": picture.instance,
        "description": f"The {picture.product.value} instance {picture.instance}.",
        "status": {"state": "operational"},
    }
    tool = {
        "uuid": names.of("tool"),
        "type": "software",
        "title": "Plumbline",
        "description": "Reads the configuration and judges it.",
        "status": {"state": "operational"},
    }
    platform = {"uuid": names.of("platform"), "uses-components": [{"component-uuid": names.of("tool")}]}
    return {
        "components": [instance],
        "assessment-assets": {"components": [tool], "assessment-platforms": [platform]},
    }


def _by_nist_id(items: Iterable[Recommendation]) -> dict[str, list[Recommendation]]:
    """OSCAL control id to what is mapped to it, in order of the ids."""
    groups: dict[str, list[Recommendation]] = {}
    for item in items:
        for name in dict.fromkeys(map(nist_id, item.definition.frameworks.get(NIST, []))):
            if name is not None:
                groups.setdefault(name, []).append(item)
    return dict(sorted(groups.items()))


def _reviewed(mapped: Iterable[str]) -> Json:
    chosen = [{"control-id": name} for name in mapped]
    if not chosen:
        return {"control-selections": [{"description": "No control is mapped to NIST SP 800-53.", "include-all": {}}]}
    return {"control-selections": [{"description": "NIST SP 800-53 Revision 5", "include-controls": chosen}]}


def _observation(item: Recommendation, result: ControlResult, names: _Names) -> Json:
    control, definition = item.control, item.definition
    facts: dict[str, str | None] = {
        "control-id": control.control_id,
        "outcome": control.outcome.value,
        "reason": control.reason.value if control.reason else None,
        "severity": definition.severity.value,
        "status": item.status.value,
        "points": f"{control.points:g}",
        "max-points": f"{control.max_points:g}",
        "exposed": str(control.exposed) if control.exposed else None,
        "stale-since": _time(control.stale_since) if control.stale_since else None,
    }
    mapped = [(name, each) for name, ids in sorted(definition.frameworks.items()) for each in ids]
    found = {
        "uuid": names.now("observation", control.control_id),
        "title": _line(definition.title) or control.control_id,
        "description": control.explanation,
        "props": _props([*facts.items(), *mapped]),
        "methods": ["TEST"],
        "types": ["finding"],
        "origins": [{"actors": [{"type": "tool", "actor-uuid": names.of("tool")}]}],
        "subjects": [{"subject-uuid": names.of("instance"), "type": "component"}],
        "relevant-evidence": [_evidence(each) for each in result.evidence],
        "collected": _time(control.evaluated_at),
        "remarks": _remarks(result),
    }
    return {name: value for name, value in found.items() if value}


def _evidence(evidence: Evidence) -> Json:
    facts: dict[str, str | None] = {
        "dataset": evidence.dataset,
        "source": evidence.source,
        "state": evidence.state.value,
        "read-at": _time(evidence.read_at) if evidence.read_at else None,
        "check": evidence.name,
        "outcome": evidence.outcome.value if evidence.outcome else None,
    }
    return {
        "description": f"Read from {evidence.source} ({evidence.dataset}).",
        "props": _props(facts.items()),
    }


def _remarks(result: ControlResult) -> str:
    parts = {"Expected": result.expected, "Observed": result.observed}
    return "\n\n".join(f"{name}: {value}" for name, value in parts.items() if value)


def _finding(name: str, items: list[Recommendation], names: _Names) -> Json | None:
    """None when none of the controls applies to the instance."""
    outcomes = {item.control.outcome for item in items} - {Outcome.NOT_APPLICABLE}
    if not outcomes:
        return None
    state, reason = _state(outcomes)
    decided = [_decided(item) for item in items if item.status not in _UNDECIDED]
    return {
        "uuid": names.now("finding", name),
        "title": f"{name.upper()} as far as the instance's configuration shows it",
        "description": _counted(items),
        "target": {
            "type": "statement-id",
            "target-id": f"{name}_smt",
            "status": {"state": state, "reason": reason},
        },
        "related-observations": [
            {"observation-uuid": names.now("observation", item.control.control_id)} for item in items
        ],
        **({"remarks": "\n\n".join(decided)} if decided else {}),
    }


def _state(outcomes: set[Outcome]) -> tuple[str, str]:
    if outcomes == {Outcome.PASS}:
        return "satisfied", "pass"
    is_failing = outcomes & {Outcome.FAIL, Outcome.PARTIAL}
    return "not-satisfied", "fail" if is_failing else "other"


def _counted(items: list[Recommendation]) -> str:
    told = {
        outcome: sorted(item.control.control_id for item in items if item.control.outcome is outcome)
        for outcome in Outcome
    }
    return " ".join(f"{outcome.value}: {', '.join(names)}." for outcome, names in told.items() if names)


def _decided(item: Recommendation) -> str:
    decision = item.decision
    by = f" by {decision.author} at {_time(decision.decided_at)}" if decision is not None else ""
    until = f", until {_time(decision.expires_at)}" if decision is not None and decision.expires_at else ""
    return f"{item.control.control_id}: {item.status.value}{by}{until}."


def _props(facts: Iterable[tuple[str, str | None]]) -> list[Json]:
    """Properties; those without a value are left out."""
    lines = [(name, _line(value)) for name, value in facts if value]
    return [{"name": name, "ns": PROPERTIES, "value": value} for name, value in lines if value]


def _line(text: str) -> str:
    """Text on one line and without blanks around it, as OSCAL wants titles and values."""
    return " ".join(text.split())


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
