"""What an event tells of a finding besides its lifecycle. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from plumbline_contracts.events import ControlDefinition, ControlResult, ExposedEntity, Insights, Product
from pydantic import JsonValue

from plumbline_score_api.decisions.decision import Decision


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """An instance as events name it. `org_id` is the product's own id of it, where that is known."""

    id: str
    product: Product
    url: str | None = None
    org_id: str | None = None
    insights: Insights = Insights.ON


@dataclass(frozen=True, slots=True)
class Facts:
    """What an event tells besides its lifecycle.

    `result` is the one that counts, None for what is gone. Of `entities` those with the first 20 ids are told; their
    names, and those of authors, only if `names_are_allowed`, because they are personal data. `decision` is the one in
    force. `parameters` are the control's thresholds in force. `api_url` is where people reach the score API.
    """

    tenant: str
    instance: InstanceFacts
    definition: ControlDefinition
    result: ControlResult | None
    product_version: str
    evaluation_id: str | None = None
    snapshot_id: str | None = None
    entities: Sequence[ExposedEntity] = ()
    decision: Decision | None = None
    parameters: Mapping[str, JsonValue] = field(default_factory=dict)
    api_url: str | None = None
    names_are_allowed: bool = False
