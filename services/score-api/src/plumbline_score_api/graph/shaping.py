"""Recommendations as Graph shows them: one control of all instances that count, with the sums over them. Pure.

Fields that Graph documents as HTML are written as HTML here, with everything that comes from elsewhere escaped.
"""

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from plumbline_contracts.events import ControlDefinition, Outcome, Product, Severity

from plumbline_score_api.decisions.decision import Decision, Status
from plumbline_score_api.history.changing import State
from plumbline_score_api.pictures.picture import InstancePicture, Recommendation
from plumbline_score_api.scores.scoring import total

Document = dict[str, Any]

SERVICES = {Product.SALESFORCE: "MDA_SF", Product.SERVICENOW: "MDA_SNOW"}
ENABLED = {Product.SALESFORCE: "HasSalesforce", Product.SERVICENOW: "HasServiceNow"}
ALIAS_PREFIX = "MDA_"
VENDOR = {"provider": "SecureScore", "providerVersion": None, "subProvider": None, "vendor": "Plumbline"}
DEFAULT_STATE = "Default"
STATES: Mapping[Status, str] = {
    Status.RISK_ACCEPTED: "Ignored",
    Status.RESOLVED_THIRD_PARTY: "ThirdParty",
    Status.RESOLVED_ALTERNATE_MITIGATION: "Reviewed",
}
"""What Graph calls a status; all others are `Default` to it."""

FRAMEWORKS = {
    "attack": "MITRE ATT&CK® for Enterprise",
    "cis_v8": "CIS Critical Security Controls",
    "csa_sscf": "CSA SaaS Security Capability Framework",
    "iso_27001_2022": "ISO/IEC 27001:2022 Annex A",
    "nist_800_53_r5": "NIST SP 800-53 Revision 5",
    "salesforce_health_check": "Salesforce Health Check, Baseline Standard",
    "sbs": "Security Benchmark for Salesforce",
    "servicenow_hardening": "ServiceNow Instance Security Hardening Settings",
    "soc2": "SOC 2 Trust Services Criteria",
}
"""The names of the catalogue's frameworks; others go by their id."""

THREATS = {
    "account_breach": "Account breach",
    "data_deletion": "Data Deletion",
    "data_exfiltration": "Data Exfiltration",
    "data_spillage": "Data Spillage",
    "elevation_of_privilege": "Elevation of Privilege",
    "malicious_insider": "Malicious Insider",
    "password_cracking": "Password Cracking",
    "phishing_or_whaling": "Phishing or Whaling",
    "spoofing": "Spoofing",
}
_TIERS = {
    Severity.MEDIUM: "Defense in Depth",
    Severity.LOW: "Advanced",
    Severity.INFORMATIONAL: "Advanced",
}
_DECIDED = {
    Status.PLANNED: "Planned.",
    Status.RISK_ACCEPTED: "The risk is accepted.",
    Status.RESOLVED_THIRD_PARTY: "Resolved through a third party.",
    Status.RESOLVED_ALTERNATE_MITIGATION: "Resolved through an alternate mitigation.",
}
_OUTCOMES = {
    Outcome.PASS: "Compliant.",
    Outcome.PARTIAL: "Partly compliant.",
    Outcome.FAIL: "Not compliant.",
    Outcome.NOT_APPLICABLE: "Not applicable.",
    Outcome.UNKNOWN: "Not known.",
}
MOST_INSTANCES_TOLD = 20
"""How many instances are told apart in a sentence; the rest are counted."""


def azure_tenant(tenant: str, configured: Mapping[str, UUID]) -> str:
    """The tenant's GUID: the configured one, else one that is made of its id and is always the same."""
    return str(configured.get(tenant) or uuid5(NAMESPACE_URL, f"urn:plumbline:tenant:{tenant}"))


def profile_name(definition: ControlDefinition) -> str:
    """Microsoft's id for its own controls, ours for the rest."""
    alias = next((alias for alias in definition.aliases if alias.startswith(ALIAS_PREFIX)), None)
    return alias or definition.control_id


@dataclass(frozen=True)
class Group:
    """One control on the instances that count."""

    profile_id: str
    definition: ControlDefinition
    items: tuple[Recommendation, ...]

    @property
    def control_id(self) -> str:
        """Our id."""
        return self.definition.control_id

    @cached_property
    def current(self) -> float:
        """Points achieved, over the instances."""
        return total(item.points for item in self.items).current

    @cached_property
    def maximum(self) -> float:
        """Points possible, over the instances that the control applies to."""
        return total(item.points for item in self.items).maximum


@dataclass(frozen=True)
class Groups:
    """All controls of the instances that count, by profile id."""

    all: tuple[Group, ...]

    @cached_property
    def ranks(self) -> dict[str, int]:
        """Profile id to its place, the most worthwhile first, from 1."""
        ordered = sorted(self.all, key=lambda group: min(item.rank_key for item in group.items))
        return {group.profile_id: place for place, group in enumerate(ordered, start=1)}

    def find(self, name: str) -> Group | None:
        """A control by profile id, else by our id."""
        return self._by_profile.get(name) or self._by_control.get(name)

    @cached_property
    def _by_profile(self) -> dict[str, Group]:
        return {group.profile_id: group for group in self.all}

    @cached_property
    def _by_control(self) -> dict[str, Group]:
        return {group.control_id: group for group in self.all}


def grouped(pictures: Iterable[InstancePicture]) -> Groups:
    """The controls of instances. Where they were judged by several definitions, the newest speaks."""
    found: dict[str, list[Recommendation]] = {}
    for picture in pictures:
        for item in picture.items:
            found.setdefault(item.control.control_id, []).append(item)
    groups: dict[str, Group] = {}
    for control_id, items in sorted(found.items()):
        definition = max((item.definition for item in items), key=lambda each: each.catalogue_generation)
        name = profile_name(definition)
        free = name if name not in groups and (name == control_id or name not in found) else control_id
        groups[free] = Group(free, definition, tuple(items))
    return Groups(tuple(group for _, group in sorted(groups.items())))


# --- secureScore


def secure_score(
    guid: str, day: date, current: float, maximum: float, services: Sequence[str], controls: Iterable[Document]
) -> Document:
    """The score of a day."""
    return {
        "id": f"{guid}_{day.isoformat()}",
        "azureTenantId": guid,
        "activeUserCount": 0,
        "createdDateTime": f"{day.isoformat()}T00:00:00Z",
        "currentScore": current,
        "enabledServices": list(services),
        "licensedUserCount": 0,
        "maxScore": maximum,
        "averageComparativeScores": [],
        "controlScores": list(controls),
        "vendorInformation": dict(VENDOR),
    }


def services_of(pictures: Iterable[InstancePicture]) -> list[str]:
    """What is connected and counts."""
    products = {picture.product for picture in pictures}
    return [name for product, name in ENABLED.items() if product in products]


def control_score(group: Group) -> Document:
    """A control of today."""
    items = group.items
    counted = [(c.compliant, c.total) for c in (item.control for item in items) if c.compliant is not None and c.total]
    found: Document = {
        "controlCategory": group.definition.category,
        "controlName": group.profile_id,
        "description": _escaped(group.definition.description),
        "score": group.current,
        "implementationStatus": _told([(item.instance, _sentence(item)) for item in items]),
        "lastSynced": moment(min(item.control.evaluated_at for item in items)),
        "scoreInPercentage": _percentage(group.current, group.maximum, [item.control.outcome for item in items]),
    }
    judged = [item.control.outcome for item in items if item.control.outcome is not Outcome.NOT_APPLICABLE]
    if counted:
        found["count"] = str(sum(int(compliant) for compliant, _ in counted))
        found["total"] = str(sum(int(each) for _, each in counted))
    elif judged:
        found["on"] = str(all(outcome is Outcome.PASS for outcome in judged)).lower()
    return found


def former_control_score(name: str, states: Mapping[str, State], definition: ControlDefinition | None) -> Document:
    """A control of a former day, from what is kept of it: outcome, status and points per instance."""
    current = round(sum(state.current for state in states.values()), 3)
    maximum = round(sum(state.maximum for state in states.values()), 3)
    return {
        "controlCategory": definition.category if definition is not None else None,
        "controlName": profile_name(definition) if definition is not None else name,
        "description": _escaped(definition.description) if definition is not None else None,
        "score": current,
        "implementationStatus": _told(
            [(name, _joined(_OUTCOMES[state.outcome], state.status)) for name, state in sorted(states.items())]
        ),
        "lastSynced": None,
        "scoreInPercentage": _percentage(current, maximum, [state.outcome for state in states.values()]),
    }


def _percentage(current: float, maximum: float, outcomes: Iterable[Outcome]) -> float:
    """Of the possible points; where none are possible 100 or 0, by whether everything that is judged passes."""
    if maximum:
        return round(100 * current / maximum, 2)
    judged = [outcome for outcome in outcomes if outcome is not Outcome.NOT_APPLICABLE]
    return 100.0 if judged and all(outcome is Outcome.PASS for outcome in judged) else 0.0


def _sentence(item: Recommendation) -> str:
    control = item.control
    if control.outcome is Outcome.NOT_APPLICABLE:
        found = f"Not applicable. {control.explanation}"
    else:
        found = control.explanation or _OUTCOMES[control.outcome]
    if control.stale_since is not None:
        found = f"{found} It could not be read since {moment(control.stale_since)}."
    return _joined(found, item.status)


def _joined(sentence: str, status: Status) -> str:
    return f"{sentence} {_DECIDED[status]}" if status in _DECIDED else sentence


def _told(sentences: Sequence[tuple[str, str]]) -> str:
    """What stands on each instance; the instance is named where there are several."""
    if len(sentences) == 1:
        return _escaped(sentences[0][1])
    named = [f"{name}: {sentence}" for name, sentence in sentences[:MOST_INSTANCES_TOLD]]
    left = len(sentences) - len(named)
    return _escaped("\n".join([*named, f"And {left} more instances."] if left else named))


# --- secureScoreControlProfile


def control_profile(group: Group, guid: str, rank: int) -> Document:
    """A control as people know it, and what was decided about it."""
    definition = group.definition
    remediation = definition.remediation
    return {
        "id": group.profile_id,
        "actionType": "Config",
        "actionUrl": remediation.links[0].url if remediation.links else None,
        "azureTenantId": guid,
        "complianceInformation": _compliance(definition.frameworks),
        "controlCategory": definition.category,
        "controlName": group.profile_id,
        "controlStateUpdates": [state_update(group)],
        "deprecated": definition.status == "retired",
        "implementationCost": definition.implementation_cost.capitalize(),
        "lastModifiedDateTime": moment(max(item.changed_at for item in group.items)),
        "maxScore": group.maximum,
        "rank": rank,
        "remediation": _steps(definition),
        "remediationImpact": _escaped(remediation.side_effects or "No side effects are known."),
        "service": SERVICES[definition.product],
        "threats": [THREATS.get(threat, threat) for threat in definition.threats],
        "tier": _tier(group),
        "title": definition.title,
        "userImpact": definition.user_impact.capitalize(),
        "vendorInformation": dict(VENDOR),
    }


def _tier(group: Group) -> str:
    is_of_microsoft = group.profile_id.startswith(ALIAS_PREFIX)
    return "Core" if is_of_microsoft else _TIERS.get(group.definition.severity, "Core")


def _compliance(frameworks: Mapping[str, Sequence[str]]) -> list[Document]:
    return [
        {
            "certificationName": FRAMEWORKS.get(name, name),
            "certificationControls": [{"name": each, "url": None} for each in ids],
        }
        for name, ids in sorted(frameworks.items())
    ]


def _steps(definition: ControlDefinition) -> str:
    """What to do, as HTML."""
    remediation = definition.remediation
    parts = ["<ol>", *(f"<li>{_escaped(step)}</li>" for step in remediation.steps), "</ol>"]
    if remediation.verify:
        parts.append(f"<p>{_escaped(remediation.verify)}</p>")
    if remediation.links:
        links = (f'<li><a href="{html.escape(k.url)}">{_escaped(k.title)}</a></li>' for k in remediation.links)
        parts += ["<ul>", *links, "</ul>"]
    return "".join(parts)


def graph_state(decision: Decision | None) -> str:
    """What Graph calls a decision."""
    if decision is None or not decision.holds or decision.status is None:
        return DEFAULT_STATE
    return STATES.get(decision.status, DEFAULT_STATE)


def standing(item: Recommendation) -> Decision | None:
    """The decision that holds of a recommendation; None also where the evaluation has just contradicted it."""
    decision = item.decision
    if decision is None or not decision.holds or decision.decision_id == item.reopened:
        return None
    return decision


def state_update(group: Group) -> Document:
    """What was decided, as the only entry: clients read the first one or the last.

    Where it is not the same state on all instances it is `Default`, and the comment tells them apart.
    """
    states = {item.instance: graph_state(standing(item)) for item in group.items}
    decisions = [
        item.decision for item in group.items if item.decision is not None and item.decision.status is not None
    ]
    last = max(decisions, key=lambda decision: decision.ended_at or decision.decided_at, default=None)
    if last is None:
        return _update(DEFAULT_STATE, None, None, None, None)
    is_one = len(set(states.values())) == 1
    if not is_one:
        comment: str | None = "; ".join(
            f"{name}: {state}" for name, state in list(states.items())[:MOST_INSTANCES_TOLD]
        )
        return _update(DEFAULT_STATE, comment, None, last.author, last.decided_at)
    if last.ended is not None:
        return _update(next(iter(states.values())), last.ended_detail, None, "system", last.ended_at)
    return _update(next(iter(states.values())), last.note, last.assignee, last.author, last.decided_at)


def _update(state: str, comment: str | None, assignee: str | None, by: str | None, at: datetime | None) -> Document:
    return {
        "assignedTo": assignee,
        "comment": comment,
        "state": state,
        "updatedBy": by,
        "updatedDateTime": moment(at) if at is not None else None,
    }


def moment(at: datetime) -> str:
    """In UTC, to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)
